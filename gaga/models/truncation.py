"""The price of truncation: how far q(z_t) is from the Gaussian that sampling starts from, in nats per molecule.

By I-MMSE (Guo, Shamai, Verdú 2005) and its form for mismatched denoisers (Verdú 2010, IEEE Trans. Inf. Theory 56),
with L the best denoiser of Gaussian data of the moments' covariance (Wiener) and D any denoiser,

    KL(q(z_t) || matched_t) = 1/2 int_0^snr(t) [E|x - L(z_s)|^2 - mmse(s)] ds
                           >= 1/2 int_0^snr(t) [E|x - L(z_s)|^2 - E|x - D(z_s)|^2] ds,

squares summed over all columns of all atoms. Here D = L + c (D_net - L): the network's denoiser, drawn to the linear
one if its own inaccuracy costs more than it knows, as at the highest noise levels. c in [0, 1] is one number for
each level, fitted on the other half of the molecules, so that nothing is gained by chance.

For a Gaussian g with other moments, on the zero-mean subspace,

    KL(q(z_t) || g_t) = KL(q(z_t) || matched_t) + KL(matched_t || g_t),

averaged over molecules whose sizes, means and covariances are those of the moments; the last term is a closed form.
A network that was trained up to T* < T gives nothing for snr below snr(T*): that part of the integral is left out, and
the sum is still a lower bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Progress, silent
from gaga.core.statistics import bootstrap_mean
from gaga.models.device_rng import exact_device, normals
from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.quadrature import Grid
from gaga.models.sampling.engine import parameters_of
from gaga.models.training.objective import stream_key
from gaga.models.truncation_config import TruncationConfig
from gaga.models.wiener import Wiener, divergence, information, linear_mmse
from gaga.noise import ReferenceGaussian, ReferenceKind

STREAM = 2  # of random numbers, besides the objective's for training and validation


@dataclass(frozen=True, kw_only=True, eq=False)
class TruncationResult:
    """KL divergences in nats per molecule, lower bounds all, for S steps and R reference Gaussians.

    Attributes:
        timesteps: the steps, [S].
        T, max_t: steps of the schedule, and the last one that the model was trained on.
        references: names of the Gaussians.
        nats, low, high: KL(q(z_t) || g_t) with its bootstrap interval over molecules at `level`, [S, R]; if the
            model knows nothing of the step (`known`), the closed form alone.
        gaussian: of that KL(matched_t || g_t), a closed form, [S, R].
        alone: KL(q(z_t) || matched_t) with the network's denoiser by itself (c = 1), [S].
        unknown: what every number leaves out, the nats below snr(max_t), lies between 0 and this.
        quadrature: error of the rule on the linear denoiser's error, whose integral is known; largest over steps.
        curve_t, curve: steps (fractions too) and KL(q(z_t) || g_t) at all edges of panels, [P], [P, R].
        node_t, node_snr: where errors were measured, [n].
        linear, network: mean error of the best linear denoiser and of the network's there, [n].
        exact_linear: the former of molecules whose moments are exactly the model's, [n].
        share: c, mean of both halves, [n].
        n_atoms: sizes, [M].
        per_molecule: the part to the matched Gaussian of each molecule, whose mean is the estimate, [M, S].
    """

    timesteps: Int64[np.ndarray, " S"] = field(metadata={"dims": ("timesteps",)})
    T: int
    max_t: int
    references: tuple[str, ...]
    level: float
    nats: Float64[np.ndarray, "S R"] = field(metadata={"unit": "nats", "dims": ("timesteps", "references")})
    low: Float64[np.ndarray, "S R"] = field(metadata={"unit": "nats", "dims": ("timesteps", "references")})
    high: Float64[np.ndarray, "S R"] = field(metadata={"unit": "nats", "dims": ("timesteps", "references")})
    gaussian: Float64[np.ndarray, "S R"] = field(metadata={"unit": "nats", "dims": ("timesteps", "references")})
    alone: Float64[np.ndarray, " S"] = field(metadata={"unit": "nats", "dims": ("timesteps",)})
    unknown: float = field(metadata={"unit": "nats"})
    quadrature: float = field(metadata={"unit": "nats"})
    curve_t: Float64[np.ndarray, " P"] = field(metadata={"dims": ("curve",)})
    curve: Float64[np.ndarray, "P R"] = field(metadata={"unit": "nats", "dims": ("curve", "references")})
    node_t: Float64[np.ndarray, " n"] = field(metadata={"dims": ("nodes",)})
    node_snr: Float64[np.ndarray, " n"] = field(metadata={"dims": ("nodes",)})
    linear: Float64[np.ndarray, " n"] = field(metadata={"dims": ("nodes",)})
    network: Float64[np.ndarray, " n"] = field(metadata={"dims": ("nodes",)})
    exact_linear: Float64[np.ndarray, " n"] = field(metadata={"dims": ("nodes",)})
    share: Float64[np.ndarray, " n"] = field(metadata={"dims": ("nodes",)})
    n_atoms: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecules",)})
    per_molecule: Float64[np.ndarray, "M S"] = field(metadata={"unit": "nats", "dims": ("molecules", "timesteps")})

    @property
    def known(self) -> Bool[np.ndarray, " S"]:
        """Whether the model says anything of KL(q(z_t) || matched_t) at each step, [S].

        All that is to be integrated at T* = `max_t` < T lies beyond it, in steps that the network was not trained on.
        """
        known: Bool[np.ndarray, " S"] = self.timesteps < (self.T + 1 if self.max_t == self.T else self.max_t)
        return known


@dataclass(frozen=True, eq=False)
class Errors:
    """What molecules say of two denoisers at each noise level, as products summed over the columns of all atoms.

    Attributes:
        linear: |x - L|^2, [M, n]. both: (x - L)(x - D), [M, n]. network: |x - D|^2, [M, n].
    """

    linear: Float64[np.ndarray, "M n"]
    both: Float64[np.ndarray, "M n"]
    network: Float64[np.ndarray, "M n"]

    def shares(self) -> Float64[np.ndarray, "2 n"]:
        """c for the molecules of even and of odd number: the least error of L + c (D - L) over the others, in [0, 1].

        A half without others has the network alone.
        """
        towards, apart = self.linear - self.both, self.linear - 2 * self.both + self.network
        others = [(towards[k::2].sum(axis=0), apart[k::2].sum(axis=0)) for k in (1, 0)]
        if len(self.linear) < 2:
            return np.ones((2, self.linear.shape[1]))
        best = [np.divide(a, b, out=np.zeros_like(a), where=b > 0) for a, b in others]
        shares: Float64[np.ndarray, "2 n"] = np.clip(np.stack(best), 0.0, 1.0)
        return shares

    def gains(self, share: Float64[np.ndarray, "2 n"]) -> Float64[np.ndarray, "M n"]:
        """Half of what L + c (D - L) is nearer than L."""
        c = np.resize(share, (len(self.linear), share.shape[1]))
        apart = self.linear - 2 * self.both + self.network
        gain: Float64[np.ndarray, "M n"] = c * (self.linear - self.both) - 0.5 * c**2 * apart
        return gain


@dataclass(frozen=True, eq=False)
class _Batch:
    """Molecules of like sizes: their indices among all, keys of their noise, clean columns in float64, layout."""

    indices: Int64[np.ndarray, " B"]
    keys: Int64[Tensor, " B"]
    x: Float64[Tensor, "A C"]
    layout: Layout


def price(
    model: Model,
    molecules: PackedMolecules,
    config: TruncationConfig = TruncationConfig(),
    *,
    keys: Int64[np.ndarray, " M"] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> TruncationResult:
    """The KL divergence of q(z_t) from each reference Gaussian, from the errors of the model's network.

    Args:
        model: what denoises, and whose moments the Gaussians are made of.
        molecules: held-out ones: on those that the network learnt by heart its error is less than what can be known.
        keys: number of each molecule, by which its noise is drawn at each noise level; by default their order.
        seed: of noise and resamples.
        progress: called with the evaluations of the network, one for each molecule and noise level.

    Raises:
        InvalidInput: a step was not trained, the model holds no moments, a molecule has an element that the model does
            not know, there are no molecules, or the network gives what is not finite.
    """
    if len(molecules) == 0:
        raise InvalidInput("there are no molecules to denoise", remedy="choose another split or data set")
    keys = np.arange(len(molecules)) if keys is None else keys
    steps = config.steps_of(model)
    model.known_moments()
    grid = Grid.between(model.schedule.snr[np.append(steps, model.max_t)])
    products = np.empty((3, len(molecules), len(grid.snr)))
    done = 0
    for batch in _batches(model, molecules, keys, config.batch_size):
        for node, snr in enumerate(grid.snr):
            products[:, batch.indices, node] = _products(model, batch, float(snr), node, seed)
            done += len(batch.indices)
            progress(done, products[0].size)
    return _result(model, config, molecules.n_atoms, grid, Errors(*products), seed)


def _batches(
    model: Model, molecules: PackedMolecules, keys: Int64[np.ndarray, " M"], batch_size: int
) -> Iterator[_Batch]:
    """All molecules, like sizes together."""
    where = exact_device(parameters_of(model).device)
    order = np.argsort(molecules.n_atoms, kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        chosen = molecules.take(indices)
        x = torch.from_numpy(model.space.encode(chosen)).to(where)
        yield _Batch(indices, torch.from_numpy(keys[indices]).to(where), x, Layout.of(chosen.n_atoms, where))


@torch.no_grad()
def _products(model: Model, batch: _Batch, snr: float, node: int, seed: int) -> Float64[np.ndarray, "3 B"]:
    """`Errors` of each molecule at one noise level, all on the same noise."""
    layout, alpha2 = batch.layout, snr / (1 + snr)
    alpha, sigma = np.sqrt(alpha2), np.sqrt(1 - alpha2)
    drawn = normals(stream_key(seed, STREAM), layout.per_atom(batch.keys), layout.place, batch.x.shape[1], node)
    eps = layout.centre(drawn, model.centred_columns)
    z = alpha * batch.x + sigma * eps
    linear = batch.x - Wiener.of(model.known_moments(), alpha2, layout, z.device)(z, layout)
    # D = (z - sigma eps_hat) / alpha, so that x - D = sigma (eps_hat - eps) / alpha, without the difference of x and D.
    network = (sigma / alpha) * (_noise(model, z, snr, layout) - eps)
    pairs = ((linear, linear), (linear, network), (network, network))
    products = torch.stack([layout.sum((a * b).sum(dim=1)) for a, b in pairs]).cpu().numpy()
    if not np.isfinite(products).all():
        raise InvalidInput("the network's output is not finite", received=f"at a signal-to-noise ratio of {snr:.3g}")
    return products


def _noise(model: Model, z: Float64[Tensor, "A C"], snr: float, layout: Layout) -> Float64[Tensor, "A C"]:
    """The network's eps_hat at this noise level, which lies between steps."""
    like = parameters_of(model)
    time = float(model.schedule.time_at(np.array([-np.log(snr)]))[0]) / model.schedule.T
    on_device = layout if like.device == z.device else Layout.of(layout.n_atoms, like.device)
    t = torch.full((len(layout),), time, dtype=like.dtype, device=like.device)
    return model.noise(z.to(like.dtype).to(like.device), t, on_device).to(z.device).double()


def _result(
    model: Model,
    config: TruncationConfig,
    n_atoms: Int64[np.ndarray, " M"],
    grid: Grid,
    errors: Errors,
    seed: int,
) -> TruncationResult:
    schedule, moments, steps = model.schedule, model.known_moments(), config.steps_of(model)
    snr, last = schedule.snr[steps], schedule.snr[[model.max_t]]
    share = errors.shares()
    gain = errors.gains(share)
    per_molecule = gain @ grid.upto(snr).T
    gaussian = _divergences(model, config, n_atoms, snr)
    nats, low, high = bootstrap_mean(
        per_molecule[:, :, None] + gaussian,
        rng=np.random.default_rng(seed), n_resamples=config.n_resamples, level=config.level,
    )  # fmt: skip
    exact = linear_mmse(moments, n_atoms, grid.snr).mean(axis=0)
    known = (information(moments, n_atoms, snr) - information(moments, n_atoms, last)).mean(axis=0)
    curve = gain.mean(axis=0) @ grid.upto(grid.edges).T
    return TruncationResult(
        timesteps=steps,
        T=schedule.T,
        max_t=model.max_t,
        references=config.references,
        level=config.level,
        nats=nats,
        low=low,
        high=high,
        gaussian=gaussian.mean(axis=0),
        alone=grid.upto(snr) @ errors.gains(np.ones_like(share)).mean(axis=0),
        unknown=float(information(moments, n_atoms, last).mean()),
        quadrature=float(np.abs(0.5 * grid.upto(snr) @ exact - known).max()),
        curve_t=schedule.time_at(-np.log(grid.edges)),
        curve=curve[:, None] + _divergences(model, config, n_atoms, grid.edges).mean(axis=0),
        node_t=schedule.time_at(-np.log(grid.snr)),
        node_snr=grid.snr,
        linear=errors.linear.mean(axis=0),
        network=errors.network.mean(axis=0),
        exact_linear=exact,
        share=share.mean(axis=0),
        n_atoms=n_atoms,
        per_molecule=per_molecule,
    )


def _divergences(
    model: Model, config: TruncationConfig, n_atoms: Int64[np.ndarray, " M"], snr: Float64[np.ndarray, " K"]
) -> Float64[np.ndarray, "M K R"]:
    """KL(matched_t || g_t) of each molecule at each signal-to-noise ratio."""
    moments = model.known_moments()
    gaussians = [ReferenceGaussian(cast(ReferenceKind, kind), moments) for kind in config.references]
    rows = [[divergence(g, n_atoms, float(s / (1 + s))) for g in gaussians] for s in snr]
    return np.moveaxis(np.array(rows), 2, 0)
