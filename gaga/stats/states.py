"""Noised states z_t drawn when they are asked for: of the data, or of a Gaussian that stands for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gaga.base.molecules import PackedMolecules, offsets_of
from gaga.base.rng import normals
from gaga.data.features import FeatureSpace, molecule_means
from gaga.noise import Moments, ReferenceGaussian, Schedule

# The null's noise streams lie beyond the steps of any schedule, where the data's are.
_NULL_STREAM = 1 << 24


@dataclass(frozen=True, kw_only=True, eq=False)
class States:
    """M molecules whose z_t can be drawn.

    Attributes:
        n_atoms: number of atoms of each, [M].
        draw: (indices [m], timesteps [S]) -> z_t [S, A, C] of those molecules, packed. The same molecule,
            step and seed give the same numbers, whatever else is drawn.
    """

    n_atoms: Int64[np.ndarray, " M"]
    draw: Callable[[Int64[np.ndarray, " m"], Int64[np.ndarray, " S"]], Float64[np.ndarray, "S A C"]]

    def __len__(self) -> int:
        return len(self.n_atoms)


def data_states(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    centred: Bool[np.ndarray, " C"],
    seed: int,
) -> States:
    """z_t = alpha_t x + sigma_t eps of molecules, eps with zero mean in the columns where x has."""

    def draw(indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"]) -> Float64[np.ndarray, "S A C"]:
        chosen = molecules.take(indices)
        x = space.encode(chosen)
        z = np.empty((len(timesteps), *x.shape))
        for i, t in enumerate(timesteps):
            noise = normals(seed, indices, chosen.n_atoms, space.columns, int(t))
            drift = molecule_means(noise, chosen.offsets) * centred
            noise -= np.repeat(drift, chosen.n_atoms, axis=0)
            z[i] = np.sqrt(schedule.alpha2[t]) * x + np.sqrt(schedule.sigma2[t]) * noise
        return z

    return States(n_atoms=molecules.n_atoms, draw=draw)


def gaussian_states(
    reference: ReferenceGaussian, schedule: Schedule, n_atoms: Int64[np.ndarray, " M"], seed: int
) -> States:
    """Independent draws, at each step, of a reference Gaussian of molecules of these sizes."""

    def draw(indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"]) -> Float64[np.ndarray, "S A C"]:
        sizes, columns = n_atoms[indices], reference.moments.columns
        z = np.empty((len(timesteps), int(sizes.sum()), columns))
        for i, t in enumerate(timesteps):
            noise = normals(seed, indices, sizes, columns, _NULL_STREAM + int(t))
            z[i] = reference.transform(noise, sizes, float(schedule.alpha2[t]))
        return z

    return States(n_atoms=n_atoms, draw=draw)


def typical_sizes(n_atoms: Int64[np.ndarray, " M"], n: int) -> Int64[np.ndarray, " n"]:
    """n sizes distributed as n_atoms are: its quantiles, and n_atoms itself where n is M or more."""
    if n >= len(n_atoms):
        return n_atoms
    return np.sort(n_atoms)[((np.arange(n) + 0.5) * len(n_atoms) / n).astype(np.int64)]


def same_size_chunks(n_atoms: Int64[np.ndarray, " M"], atoms: int) -> Iterator[Int64[np.ndarray, " m"]]:
    """Indices of molecules of one size, about this many atoms at a time."""
    order = np.argsort(n_atoms, kind="stable").astype(np.int64)
    sizes, starts = np.unique(n_atoms[order], return_index=True)
    for n, start, stop in zip(sizes, starts, [*starts[1:], len(order)], strict=True):
        count = max(1, atoms // int(n))
        for first in range(int(start), int(stop), count):
            yield order[first : min(first + count, int(stop))]


def packed_chunks(n_atoms: Int64[np.ndarray, " M"], atoms: int) -> Iterator[Int64[np.ndarray, " m"]]:
    """Indices of molecules in their order, about this many atoms at a time."""
    part = offsets_of(n_atoms)[:-1] // atoms
    cuts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(n_atoms)]
    for start, stop in pairwise(cuts):
        yield np.arange(start, stop, dtype=np.int64)


def marginals(
    reference: ReferenceGaussian, n_atoms: Int64[np.ndarray, " M"], alpha2: float
) -> tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, "N_max_plus_1 C"]]:
    """Mean [C] and, by number of atoms, standard deviation [N_max + 1, C] of one atom's columns in z_t."""
    moments: Moments = reference.moments
    deviations = np.ones((int(n_atoms.max()) + 1, moments.columns))
    for n in np.unique(n_atoms):
        deviations[n] = np.sqrt(reference.marginal_variances(int(n), alpha2))
    return reference.mean(alpha2), deviations
