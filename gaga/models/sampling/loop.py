"""The sampler: one loop over a solver's table, from z at T* to molecules.

    symbol    in the code          meaning
    z_k       z                    noisy molecules, packed [A, C]: positions and types, zero mean in each molecule
    eps_hat   eps                  noise that the network predicts in z_k at time t_k (Hoogeboom et al. 2022, section 2)
    D         -                    the molecule that a prediction stands for, (z - sigma eps_hat) / alpha
    -         memory               what a two-step or two-stage method keeps of earlier evaluations
    xi_k      normals(k)           standard normal numbers
    c, m      solver.c_z, .m_z, .. coefficients of the method (`gaga.models.sampling.solvers`)

    z_(k+1)      = c_z z_k - c_eps eps_hat(z_k, t_k) + c_memory memory_k + sigma xi_k
    memory_(k+1) = m_z z_k + m_eps eps_hat(z_k, t_k)

DDPM, DDIM, Heun, DPM-Solver++, its form with noise (sde) and the annealed sampler are this loop with different tables.
It is the readable reference: `gaga sample` runs the same step in batches, threads and CUDA graphs
(`batch.BatchSampler.step`, called by `engine`), and tests hold the two to each other for every method. Change both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.sampling.solvers import Solver


@runtime_checkable
class Edit(Protocol):
    """Changes the molecules at the start and after each step of a solver, such as putting known atoms back."""

    def about(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"], seed: int
    ) -> Float64[np.ndarray, "A E"]:
        """What it has to know of each atom of molecules of these keys and numbers of atoms: E numbers, or none."""
        ...

    def __call__(
        self,
        z: Float[Tensor, "A C"],
        k: int,
        layout: Layout,
        about: Float[Tensor, "A E"],
        normals: Callable[[int], Float[Tensor, "A C"]],
    ) -> Float[Tensor, "A C"]:
        """z_(k+1) as the next step is to find it, with as many columns centred; z_0, the start, with k = -1.

        It runs on the device, behind the recorded step, and must not wait for it. Rows that fill a capacity have an
        `about` of 0. `normals(0)`, `normals(1)`, ... are standard normal numbers, the same each time.
        """
        ...


@runtime_checkable
class Condition(Protocol):
    """What each molecule is asked to be like, such as a property: its context, K numbers for the network.

    The reference that sampling starts from receives it too.
    """

    def context(self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]) -> Float64[np.ndarray, "M K"]:
        """The context of molecules of these keys and numbers of atoms."""
        ...


@runtime_checkable
class Guidance(Protocol):
    """The prediction that a solver uses, made of those of the network (`gaga.models.sampling.guidance`).

    Attributes:
        records: whether it is the same tensor program at every step, so that a CUDA graph can hold it.
    """

    @property
    def records(self) -> bool: ...

    def __call__(
        self,
        model: Model,
        z: Float[Tensor, "A C"],
        t: Float[Tensor, " M"],
        layout: Layout,
        context: Float[Tensor, "M K"] | None,
    ) -> Float[Tensor, "A C"]:
        """Predicted noise in z, centred as `model.noise` is; t in [0, 1]."""
        ...


class _Unguided:
    """The network's own prediction."""

    records = True

    def __call__(
        self,
        model: Model,
        z: Float[Tensor, "A C"],
        t: Float[Tensor, " M"],
        layout: Layout,
        context: Float[Tensor, "M K"] | None,
    ) -> Float[Tensor, "A C"]:
        """As `Guidance`."""
        return model.noise(z, t, layout, context)


UNGUIDED: Guidance = _Unguided()


@dataclass(frozen=True)
class SameForAll:
    """The same context for every molecule."""

    values: tuple[float, ...]

    def context(self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]) -> Float64[np.ndarray, "M K"]:
        """As `Condition`."""
        return np.tile(np.array(self.values, dtype=np.float64), (len(keys), 1))


def reach_of(model: Model, time: Float64[np.ndarray, " K"]) -> Float64[np.ndarray, "K C"]:
    """How far from zero alpha D may be in each column at these times; in positions, from the centre.

    D = (z - sigma eps_hat) / alpha, the molecule that a prediction stands for, may be 15 times as far as the data are
    wide on an axis (the farthest atom of QM9 is at 5) and have 10 times the largest value of a type; and each eps_hat
    may be off by 10, ten times what it is.
    """
    alpha, sigma = model.schedule.alpha_sigma_at(time)
    width = float("inf") if model.moments is None else float(np.sqrt(model.moments.block[0]))
    farthest = np.concatenate([np.full(3, 15 * width), 10 * model.space.largest])
    return np.asarray(alpha[:, None] * farthest + 10 * sigma[:, None])


def bounded(
    eps: Float[Tensor, "A C"],
    z: Float[Tensor, "A C"],
    reach: Float[Tensor, "*one C"],
    level: Float[Tensor, "1"] | float,
) -> Float[Tensor, "A C"]:
    """The predicted noise, changed only if it stands for what no molecule is.

    A network that is asked for more atoms than it was trained on may give ever larger numbers, which would overflow.
    An atom too far is drawn back along its direction from the centre, so that the sampler stays equivariant.

    Args:
        eps, z: predicted noise, and what it was predicted in.
        reach: of this step, see `reach_of`.
        level: sigma.
    """
    there = z - level * eps  # alpha D
    distance = torch.linalg.vector_norm(there[:, :3], dim=1, keepdim=True)
    near = there[:, :3] * (reach[..., :1] / distance)
    types = there[:, 3:].clamp(min=-reach[..., 3:], max=reach[..., 3:])
    beyond = torch.cat([(distance > reach[..., :1]).expand(-1, 3), types != there[:, 3:]], dim=1)
    return torch.where(beyond, (z - torch.cat([near, types], dim=1)) / level, eps)


@torch.no_grad()
def denoise(
    model: Model,
    solver: Solver,
    z: Float[Tensor, "A C"],
    layout: Layout,
    normals: Callable[[int], Float[Tensor, "A C"]],
    edit: Callable[[Float[Tensor, "A C"], int], Float[Tensor, "A C"]] | None = None,
    context: Float[Tensor, "M K"] | None = None,
    guidance: Guidance = UNGUIDED,
) -> Float[Tensor, "A C"]:
    """Molecules from their noisy start, by the steps of a solver.

    Args:
        model: what predicts the noise; float32 or float64, as `z`.
        solver: the method's table (`gaga.models.sampling.solvers.solver_of`).
        z: a draw from the reference at the solver's first time; positions / factor and types, [A, C].
        layout: which rows are the atoms of which molecule.
        normals: standard normal numbers [A, C] for step k = 0, 1, ...
        edit: an `Edit` of z and k, with what else it takes put in; nothing by default.
        context: what a `Condition` gives of each molecule; None without one.
        guidance: what the network's predictions are turned into; by default they stay as they are.

    Returns:
        Positions and types of the molecules, [A, C]. Types are read off by their largest column.
    """
    z, memory = layout.centre(z, model.centred_columns), torch.zeros_like(z)
    z = z if edit is None else edit(z, -1)
    reach, (_, sigma) = torch.from_numpy(reach_of(model, solver.time)), model.schedule.alpha_sigma_at(solver.time)
    for k in range(len(solver)):
        time = z.new_full((len(layout),), float(solver.time[k]) / model.schedule.T)
        eps = bounded(guidance(model, z, time, layout, context), z, reach[k].to(z), float(sigma[k]))
        update = float(solver.c_z[k]) * z - float(solver.c_eps[k]) * eps + float(solver.c_memory[k]) * memory
        if solver.sigma[k] > 0:
            update = update + float(solver.sigma[k]) * layout.centre(normals(k), model.centred_columns)
        if solver.positions_only_last and k == len(solver) - 1:
            update[:, 3:] = z[:, 3:]  # p(x | z_0) moves the positions; the types are those of z_0 (EDM, section 3.2)
        memory = float(solver.m_z[k]) * z + float(solver.m_eps[k]) * eps
        z = layout.centre(update, model.centred_columns)
        if edit is not None:
            z = edit(z, k)
    return z
