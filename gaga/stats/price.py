"""The price of truncation without a network: how far q(z_t) is from its matched Gaussian, from cumulants of the data.

The leading term of an expansion (Edgeworth) of a KL divergence in nats per molecule,

    KL(q(z_t) || matched_t) ~ kappa3^2 / 12 + kappa4^2 / 48,

with kappa the norms of the cumulants that are whitened by the covariance of z_t (`gaga.stats.molecule_cumulants`), for
each number of atoms, then averaged over the molecules. What it is, and what it is not:

- It is neither exact nor a bound. Heavy tails make it too large, about twice at 1 nat, and at small t, where it is many
  nats, it has no meaning: an expansion around the Gaussian says nothing of what is far from it (docs/TSTAR.md).
- A trained network gives a lower bound of the same divergence (I-MMSE, `gaga truncation`). Within a few nats the truth
  lies between.
- It is of the data's own second moments, the `matched` Gaussian. Another Gaussian costs a closed form more.

It needs no network and no noise: cumulants contract as alpha^k, so that the curve is known at every step at once.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Meter, Progress, silent
from gaga.data.features import FeatureSpace
from gaga.noise import Moments, Schedule
from gaga.stats.cumulants import signed_root
from gaga.stats.groups import deal
from gaga.stats.molecule_cumulants import OneSize, PairMeans, of_sizes, pair_means, squares_at
from gaga.stats.price_config import PriceConfig
from gaga.storage.partial import NO_PARTIALS, PartialResults

TERMS = ("positions_c4", "cross_c3", "cross_c4", "types_c3", "types_c4")
UNITS = ("columns", "whitened", "standard")
_NATS = 1 / np.array([48.0, 12.0, 48.0, 12.0, 48.0])
# A number of atoms with fewer molecules than OWN borrows; curves by size are averaged over windows of WINDOW molecules.
OWN, WINDOW = 10, 50
MOST = 50_000  # molecules of one size that are used: what fits into the memory, and more than an estimate needs
_SMALLEST = 1e-9  # of the largest variance of types: below it a direction is none


class PriceStep(NamedTuple):
    """A first step, with fractions, and its interval; None is "later than the last step"."""

    t: float | None
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """Such as "573 (566 to 580)"."""
        if self.t is None:
            return "no step"
        low, high = ("never" if end is None else f"{end:.0f}" for end in (self.low, self.high))
        return f"{self.t:.0f} ({low} to {high})"


@dataclass(frozen=True, kw_only=True, eq=False)
class PriceCurve:
    """Nats per molecule at every step 0..T, with the ends of their bootstrap interval over molecules."""

    nats: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})
    low: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})
    high: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})
    spread: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})


@dataclass(frozen=True, kw_only=True, eq=False)
class PriceResult:
    """The leading term of KL(q(z_t) || matched Gaussian), nats per molecule: an estimate, no bound (see the module).

    S numbers of atoms, T steps, five terms of which the price is the sum.

    Attributes:
        schedule: name of the noise schedule; gamma: its table, gamma_t = -ln snr_t.
        price: averaged over the molecules, with its interval.
        terms: names of the parts; by_term: each part of `price`, [T + 1, 5].
        sizes: numbers of atoms, [S]; molecules: how many there are of each, [S].
        borrowed: whether a size has no cumulants of its own, as it has fewer than ten molecules, [S].
        window: the curve of a size is the mean over sizes at most this far from it, [S].
        nats_by_size, low_by_size, high_by_size: the curves, [S, T + 1].
        squares: squared norms at t = 0 of offdiag Cov (of types) and the five terms, [S, 6], where positions and types
            are divided by their scalar standard deviations; nan if borrowed.
        squares_low, squares_high: their interval, [S, 6]; nan for offdiag.
        variance: of positions per degree of freedom, Å² (unit of the columns), [S]; type_variance: of types, [S].
        n_molecules: of two atoms or more. n_left_out: of one atom. n_pairs: pairs of molecules in all.
        seed, level: of pairs and resamples; of intervals.
    """

    schedule: str
    gamma: Float64[np.ndarray, " T_plus_1"] = field(metadata={"dims": ("t",)})
    price: PriceCurve
    terms: tuple[str, ...]
    by_term: Float64[np.ndarray, "T_plus_1 terms"] = field(metadata={"unit": "nats", "dims": ("t", "terms")})
    sizes: Int64[np.ndarray, " S"] = field(metadata={"unit": "atoms", "dims": ("sizes",)})
    molecules: Int64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    borrowed: NDArray[np.bool_] = field(metadata={"dims": ("sizes",)})
    window: Int64[np.ndarray, " S"] = field(metadata={"unit": "atoms", "dims": ("sizes",)})
    nats_by_size: Float64[np.ndarray, "S T_plus_1"] = field(metadata={"unit": "nats", "dims": ("sizes", "t")})
    low_by_size: Float64[np.ndarray, "S T_plus_1"] = field(metadata={"unit": "nats", "dims": ("sizes", "t")})
    high_by_size: Float64[np.ndarray, "S T_plus_1"] = field(metadata={"unit": "nats", "dims": ("sizes", "t")})
    squares: Float64[np.ndarray, "S 6"] = field(metadata={"dims": ("sizes", "norms")})
    squares_low: Float64[np.ndarray, "S 6"] = field(metadata={"dims": ("sizes", "norms")})
    squares_high: Float64[np.ndarray, "S 6"] = field(metadata={"dims": ("sizes", "norms")})
    variance: Float64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    type_variance: Float64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    n_molecules: int
    n_left_out: int
    n_pairs: int
    seed: int
    level: float

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.gamma) - 1

    @property
    def alpha2(self) -> Float64[np.ndarray, " T_plus_1"]:
        """alpha_t^2."""
        return Schedule(self.schedule, self.gamma).alpha2

    def curve_of(self, n_atoms: int) -> PriceCurve:
        """The curve of the molecules of this number of atoms.

        Raises:
            InvalidInput: the data has no molecule of this size.
        """
        found = np.flatnonzero(self.sizes == n_atoms)
        if not len(found):
            raise InvalidInput("the data has no molecule of this number of atoms", received=n_atoms)
        i = int(found[0])
        nats, low, high = self.nats_by_size[i], self.low_by_size[i], self.high_by_size[i]
        return PriceCurve(nats=nats, low=low, high=high, spread=np.full(len(nats), np.nan))


def tstar_by_price(curve: PriceCurve, tolerance: float) -> PriceStep:
    """The first step from which the price is at most `tolerance` nats and stays so up to T, with its interval.

    Steps are taken from T downwards and the first failure ends it (fixed sequence), so that several steps need no
    correction: from `high` the upper limit of the price is within the tolerance. Between the last step that fails and
    the one above it the price is interpolated on a logarithmic scale. A price that never fails gives 0.

    Raises:
        InvalidInput: the tolerance is not above 0.
    """
    if not 0 < tolerance < math.inf:
        raise InvalidInput("a tolerance is a number of nats above 0", received=tolerance)
    return PriceStep(*(first_step(values, tolerance) for values in (curve.nats, curve.low, curve.high)))


def price(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    moments: Moments,
    config: PriceConfig = PriceConfig(),
    *,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> PriceResult:
    """The price at every step, from pairs of molecules of each number of atoms; the number of threads does not show.

    Args:
        molecules: M molecules; those of one atom are left out, and of one size at most 50,000 are used. Conformers
            count as molecules.
        space: their columns, types centred in each molecule. moments: what whitens them, by number of atoms.
        schedule: the noise. config: how many pairs and resamples. seed: of pairs, orders of atoms and resamples.
        pieces: sizes that an earlier run has finished, and where this one puts its own.

    Raises:
        InvalidInput: no number of atoms has two molecules, or types are not centred.
    """
    if not space.centred_features or space.include_charges:
        raise InvalidInput("cumulants are of positions and centred types", remedy="take a space without charges")
    sizes = dict(of_sizes(molecules.n_atoms))
    counts = np.array([len(indices) for indices in sizes.values()], dtype=np.int64)
    least = OWN if np.any(counts >= OWN) else 2
    own = counts >= least
    if not own.any():
        raise InvalidInput("no number of atoms has two molecules", received=f"{len(molecules)} molecules")
    meter = Meter(progress, int(own.sum()))
    found: list[_OfSize | None] = []
    for (n_atoms, indices), enough in zip(sizes.items(), own, strict=True):
        if not enough:
            found.append(None)
            continue
        kept = pieces.get(str(n_atoms))
        if kept is None:
            if len(indices) > MOST:
                drawn = np.random.default_rng([seed, n_atoms]).permutation(len(indices))[:MOST]
                indices = indices[np.sort(drawn)]
            one = _of_size(molecules.take(indices), space, schedule, moments, config, seed=seed, threads=threads)
            pieces.put(str(n_atoms), vars(one))
        else:
            one = _OfSize(**kept)
        found.append(one)
        meter(1)
    return _result(
        found, np.array(list(sizes), dtype=np.int64), counts, schedule, moments, config, len(molecules), seed
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _OfSize:
    """What one number of atoms gives: parts in nats [T + 1, 5], their sum in each resample [R, T + 1], squares at t = 0
    of the sample and of each resample [1 + R, 6], and the number of pairs."""

    parts: Float64[np.ndarray, "T_plus_1 5"]
    resampled: Float32[np.ndarray, "R T_plus_1"]
    squares: Float64[np.ndarray, "rows 6"]
    n_pairs: NDArray[np.int64]


def _of_size(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    moments: Moments,
    config: PriceConfig,
    *,
    seed: int,
    threads: int,
) -> _OfSize:
    n, n_atoms = len(molecules), int(molecules.n_atoms[0])
    within, _ = moments.of_size(n_atoms)
    v, types = float(within[0, 0]), within[3:, 3:]
    values, vectors = np.linalg.eigh(types)
    kept = values > _SMALLEST * max(float(values.max(initial=0.0)), _SMALLEST)
    c, vectors = values[kept], vectors[:, kept]
    columns = space.encode(molecules).reshape(n, n_atoms, -1)
    whitened = np.concatenate([columns[..., :3] / np.sqrt(v), columns[..., 3:] @ (vectors / np.sqrt(c))], axis=2)
    resampling = deal(n, config.n_resamples, np.random.default_rng([seed, n_atoms]))
    some = OneSize(columns=np.ascontiguousarray(whitened.swapaxes(1, 2)), resampling=resampling)
    means = pair_means(some, config.n_pairs, seed, threads=threads)
    alpha2, sigma2 = schedule.alpha2, schedule.sigma2
    rho = alpha2 * v / (alpha2 * v * means.variance[:, None] + sigma2)
    b = alpha2[:, None] * c / (alpha2[:, None] * c + sigma2[:, None])
    nats = squares_at(means, len(c), n_atoms, rho, b) * _NATS
    return _OfSize(
        parts=nats[0],
        resampled=nats[1:].sum(axis=-1).astype(np.float32),
        squares=_at_zero(means, types, c, n_atoms),
        n_pairs=np.array(means.n_pairs),
    )


def _at_zero(
    means: PairMeans, types: Float64[np.ndarray, "K K"], c: Float64[np.ndarray, " r"], n_atoms: int
) -> Float64[np.ndarray, "rows 6"]:
    """Squared norms without noise, where positions and types are divided by scalar standard deviations."""
    mean = float(np.trace(types)) / len(types) or 1.0  # of one element there is nothing to divide
    rows = squares_at(means, len(c), n_atoms, 1 / means.variance[:, None], (c / mean)[None])[:, 0]
    offdiag = (n_atoms - 1) * float(np.sum(types**2) - np.sum(np.diag(types) ** 2)) / mean**2
    return np.column_stack([np.full(len(rows), offdiag), rows])


def _windows(sizes: Int64[np.ndarray, " S"], counts: Int64[np.ndarray, " S"]) -> Int64[np.ndarray, " S"]:
    """How far around each size, in atoms, there are 50 molecules, or all there are, of sizes with cumulants."""
    needed, widths = min(WINDOW, int(counts.sum())), np.zeros(len(sizes), dtype=np.int64)
    for i, n in enumerate(sizes):
        while counts[np.abs(sizes - n) <= widths[i]].sum() < needed:
            widths[i] += 1
    return widths


def _result(
    found: list[_OfSize | None],
    sizes: Int64[np.ndarray, " S"],
    counts: Int64[np.ndarray, " S"],
    schedule: Schedule,
    moments: Moments,
    config: PriceConfig,
    n_molecules: int,
    seed: int,
) -> PriceResult:
    own = np.array([one is not None for one in found])
    there = [one for one in found if one is not None]
    available = np.where(own, counts, 0)
    window = _windows(sizes, available)
    near = (np.abs(sizes[:, None] - sizes[own]) <= window[:, None]) * counts[own]
    near = near / near.sum(axis=1, keepdims=True)  # [S, own]: what the curve by size is the mean of
    shares = counts / counts.sum()
    # The average over molecules has each size's own cumulants; sizes without any have those of their neighbours.
    average = np.where(own, 0.0, shares) @ near + shares[own]
    parts = np.stack([one.parts for one in there])
    resampled = np.stack([one.resampled for one in there])  # [own, R, T + 1]
    ends = [(1 - config.level) / 2, (1 + config.level) / 2]
    low, high = np.stack([np.quantile(np.tensordot(row, resampled, axes=1), ends, axis=0) for row in near], axis=1)
    squares = np.full((3, len(sizes), 6), np.nan)
    for i, one in enumerate(found):
        if one is not None:
            squares[0, i], squares[1:, i, 1:] = one.squares[0], np.quantile(one.squares[1:, 1:], ends, axis=0)
    by_term = np.tensordot(average, parts, axes=1)
    within = [moments.of_size(int(n))[0] for n in sizes]
    return PriceResult(
        schedule=schedule.name,
        gamma=schedule.gamma,
        price=_curve(by_term.sum(axis=1), np.tensordot(average, resampled, axes=1), ends),
        terms=TERMS,
        by_term=by_term,
        sizes=sizes,
        molecules=counts,
        borrowed=~own,
        window=window,
        nats_by_size=near @ parts.sum(axis=2),
        low_by_size=low,
        high_by_size=high,
        squares=squares[0],
        squares_low=squares[1],
        squares_high=squares[2],
        variance=np.array([float(w[0, 0]) for w in within]),
        type_variance=np.array([float(np.trace(w[3:, 3:])) / (len(w) - 3) for w in within]),
        n_molecules=int(counts.sum()),
        n_left_out=n_molecules - int(counts.sum()),
        n_pairs=sum(int(one.n_pairs) for one in there),
        seed=seed,
        level=config.level,
    )


def _curve(
    nats: Float64[np.ndarray, " T_plus_1"], resampled: Float64[np.ndarray, "R T_plus_1"], ends: list[float]
) -> PriceCurve:
    low, high = np.quantile(resampled, ends, axis=0)
    return PriceCurve(nats=nats, low=low, high=high, spread=resampled.std(axis=0))


def proposition(
    result: PriceResult, weights: tuple[float, float, float] = (1.0, 1 / 6, 1 / 24), units: str = "whitened"
) -> dict[str, Float64[np.ndarray, " T_plus_1"]]:
    """H^(4) of Proposition 3.1 at every step, [T + 1], of positions, of types and of both together.

    The paper prints neither its weights nor its units; the order of two blocks depends on both. Averaged over the
    molecules whose size has cumulants of its own. Positions have no first and no third term, by symmetry.

    Args:
        result: with the norms at t = 0.
        weights: beta, w_3 and w_4.
        units: `columns`, as the columns are (positions in Å, one-hot / 4); `whitened`, over the deviation of each block
            of z_t; `standard`, each block of variance 1 before it is noised.

    Raises:
        InvalidInput: there are no such units.
    """
    own = ~result.borrowed
    shares = result.molecules[own] / result.molecules[own].sum()
    alpha2 = result.alpha2[:, None]
    x, h = (alpha2 * v[own] for v in (result.variance, result.type_variance))
    if units == "whitened":
        x, h = x / (x + 1 - alpha2), h / (h + 1 - alpha2)
    elif units == "standard":
        x = h = alpha2 * np.ones(own.sum())
    elif units != "columns":
        raise InvalidInput("unknown units", received=units, remedy=f"use one of {', '.join(UNITS)}")
    offdiag, p4, c3, c4, t3, t4 = result.squares[own].T
    orders = {
        "positions": (0 * x, 0 * x, p4 * x**4),
        "types": (offdiag * h**2, t3 * h**3, t4 * h**4),
        "both": (offdiag * h**2, c3 * x**2 * h + t3 * h**3, p4 * x**4 + c4 * x**2 * h**2 + t4 * h**4),
    }
    return {
        block: np.asarray(sum(w * signed_root(s) @ shares for w, s in zip(weights, squares, strict=True)))
        for block, squares in orders.items()
    }


def first_step(values: Float64[np.ndarray, " T_plus_1"], eps: float) -> float | None:
    """The step, with a fraction, from which a curve over the steps 0..T stays at or below eps; None if it ends above.

    Between two steps the curve is interpolated on a logarithmic scale. A curve that is never above gives 0.
    """
    fails = np.flatnonzero(~(values <= eps))
    if not len(fails):
        return 0.0
    last = int(fails[-1])
    if last == len(values) - 1:
        return None
    above, below = float(values[last]), float(values[last + 1])
    if below <= 0:  # noise around 0 has no logarithm
        return last + (above - eps) / (above - below)
    return last + math.log(above / eps) / math.log(above / below)
