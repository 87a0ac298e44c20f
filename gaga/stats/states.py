"""Noised states z_t drawn when they are asked for: of the data, or of a Gaussian that stands for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.core.rng import normals
from gaga.data.features import FeatureSpace, molecule_means
from gaga.noise import Moments, ReferenceGaussian, Schedule

# The null's noise streams lie beyond the steps of any schedule, where the data's are.
NULL_STREAM = 1 << 24
_CHUNK = 2_000  # molecules


@dataclass(frozen=True, eq=False)
class DataStates:
    """M molecules and their z_t = alpha_t x + sigma_t eps, eps with zero mean in the columns in which x has.

    The same molecule, step and seed give the same numbers, whatever else is drawn.

    Attributes:
        chosen: which of `molecules` these are, and the keys of their noise; all of them if it is None.
    """

    molecules: PackedMolecules
    space: FeatureSpace
    schedule: Schedule
    centred: Bool[np.ndarray, " C"]
    seed: int
    chosen: Int64[np.ndarray, " M"] | None = None

    def __len__(self) -> int:
        return len(self.molecules if self.chosen is None else self.chosen)

    @cached_property
    def n_atoms(self) -> Int64[np.ndarray, " M"]:
        """Number of atoms of each."""
        n_atoms = self.molecules.n_atoms
        return n_atoms if self.chosen is None else n_atoms[self.chosen]

    def keys(self, indices: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """The keys of the noise of these of the M molecules: their indices among `molecules`."""
        return indices if self.chosen is None else self.chosen[indices]

    @property
    def columns(self) -> int:
        """C, all columns."""
        return self.space.columns

    def streams(self, timesteps: Int64[np.ndarray, " S"]) -> Int64[np.ndarray, " S"]:
        """The streams of random numbers that these steps draw from."""
        return timesteps

    def draw(
        self, indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"]
    ) -> Float64[np.ndarray, "S A C"]:
        """z_t of these molecules, packed."""
        keys = self.keys(indices)
        drawn = self.molecules.take(keys)
        x = self.space.encode(drawn)
        z = np.empty((len(timesteps), *x.shape))
        for i, (t, stream) in enumerate(zip(timesteps, self.streams(timesteps), strict=True)):
            noise = normals(self.seed, keys, drawn.n_atoms, self.columns, int(stream))
            drift = molecule_means(noise, drawn.offsets) * self.centred
            noise -= np.repeat(drift, drawn.n_atoms, axis=0)
            z[i] = np.sqrt(self.schedule.alpha2[t]) * x + np.sqrt(self.schedule.sigma2[t]) * noise
        return z


@dataclass(frozen=True, eq=False)
class GaussianStates:
    """Independent draws, at each step, of a reference Gaussian of molecules of these sizes.

    Attributes:
        chosen: the keys of their noise; 0, 1, 2, ... if it is None.
    """

    reference: ReferenceGaussian
    schedule: Schedule
    n_atoms: Int64[np.ndarray, " M"]
    seed: int
    chosen: Int64[np.ndarray, " M"] | None = None

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def columns(self) -> int:
        """C, all columns."""
        return self.reference.moments.columns

    def keys(self, indices: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """The keys of the noise of these of the M molecules."""
        return indices if self.chosen is None else self.chosen[indices]

    def streams(self, timesteps: Int64[np.ndarray, " S"]) -> Int64[np.ndarray, " S"]:
        """The streams of random numbers that these steps draw from."""
        return NULL_STREAM + timesteps

    def draw(
        self, indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"]
    ) -> Float64[np.ndarray, "S A C"]:
        """z_t of these molecules, packed."""
        sizes = self.n_atoms[indices]
        z = np.empty((len(timesteps), int(sizes.sum()), self.columns))
        for i, (t, stream) in enumerate(zip(timesteps, self.streams(timesteps), strict=True)):
            noise = normals(self.seed, self.keys(indices), sizes, self.columns, int(stream))
            z[i] = self.reference.transform(noise, sizes, float(self.schedule.alpha2[t]))
        return z


# M molecules whose z_t can be drawn.
States = DataStates | GaussianStates


def typical_sizes(n_atoms: Int64[np.ndarray, " M"], n: int) -> Int64[np.ndarray, " n"]:
    """n sizes distributed as n_atoms are: its quantiles, and n_atoms itself if n is M or more."""
    if n >= len(n_atoms):
        return n_atoms
    return np.sort(n_atoms)[((np.arange(n) + 0.5) * len(n_atoms) / n).astype(np.int64)]


def by_size(n_atoms: Int64[np.ndarray, " M"]) -> Int64[np.ndarray, " M"]:
    """Indices of molecules, the smallest first, and those of one size in their order."""
    return np.argsort(n_atoms, kind="stable").astype(np.int64)


def same_size_chunks(n_atoms: Int64[np.ndarray, " M"], atoms: int, done: int = 0) -> Iterator[Int64[np.ndarray, " m"]]:
    """Indices of molecules of one size, about this many atoms at a time, in the order of `by_size` without the first
    `done`."""
    order = by_size(n_atoms)
    sizes, starts = np.unique(n_atoms[order], return_index=True)
    for n, start, stop in zip(sizes, starts, [*starts[1:], len(order)], strict=True):
        count = max(1, atoms // int(n))
        for first in range(max(int(start), done), int(stop), count):
            yield order[first : min(first + count, int(stop))]


def chunks_of(n_molecules: int) -> list[range]:
    """The indices of all molecules, a few thousand at a time: what work on all of a data set has in memory."""
    return [range(start, min(start + _CHUNK, n_molecules)) for start in range(0, n_molecules, _CHUNK)]


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
