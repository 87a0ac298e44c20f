"""Packed molecules: flat arrays plus offsets, never padding, never object arrays."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class PackedMolecules:
    """M molecules of A atoms in all; molecule i owns the atoms offsets[i]:offsets[i + 1].

    Positions are in Å. The arrays are not copied and must not be written to.
    """

    positions: Float32[np.ndarray, "A 3"]
    atomic_numbers: UInt8[np.ndarray, " A"]
    offsets: Int64[np.ndarray, " M_plus_1"]

    def __post_init__(self) -> None:
        self._check_offsets()
        if self.positions.shape != (len(self.atomic_numbers), 3):
            raise InvalidInput("positions and atomic numbers differ in length", received=self.positions.shape)

    def _check_offsets(self) -> None:
        n_atoms = len(self.atomic_numbers)
        if len(self.offsets) < 1 or self.offsets[0] != 0 or self.offsets[-1] != n_atoms:
            raise InvalidInput(f"offsets must run from 0 to {n_atoms}, the number of atoms")
        if np.any(np.diff(self.offsets) < 0):
            raise InvalidInput("offsets must not decrease")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: SupportsIndex) -> tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]:
        """Molecule i as (atomic_numbers [N], positions [N, 3])."""
        i = index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        start, stop = self.offsets[i % len(self)], self.offsets[i % len(self) + 1]
        return self.atomic_numbers[start:stop], self.positions[start:stop]

    def __iter__(self) -> Iterator[tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]]:
        return (self[i] for i in range(len(self)))

    @property
    def n_atoms(self) -> Int64[np.ndarray, " M"]:
        """Number of atoms of each molecule, [M]."""
        return np.diff(self.offsets)

    @property
    def finite(self) -> Bool[np.ndarray, " M"]:
        """Whether all positions of each molecule are numbers, [M]; a molecule that a model failed to draw has NaN."""
        atoms = np.isfinite(self.positions).all(axis=1)
        failed = np.concatenate([[0], np.cumsum(~atoms)])
        return np.asarray(failed[self.offsets[1:]] == failed[self.offsets[:-1]])

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> "PackedMolecules":
        """The molecules at these indices, in that order; negative ones count from the end."""
        indices = np.asarray(indices, dtype=np.int64)
        sizes = self.n_atoms[indices]
        offsets = offsets_of(sizes)
        atoms = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][indices] - offsets[:-1], sizes)
        return PackedMolecules(self.positions[atoms], self.atomic_numbers[atoms], offsets)

    def select(self, indices: Int64[np.ndarray, " n"]) -> "PackedMolecules":
        """The molecules at these indices, in that order, which may stay in their file."""
        return self.take(indices)

    def pieces(self, molecules: int = 4096) -> "Iterator[PackedMolecules]":
        """All of them in memory, `molecules` at a time."""
        for first in range(0, len(self), molecules):
            yield self.take(np.arange(first, min(first + molecules, len(self))))

    def position_pieces(self) -> Iterator[Float32[np.ndarray, "a 3"]]:
        """All positions, in pieces."""
        yield self.positions


def offsets_of(n_atoms: Sequence[int] | NDArray[np.integer[Any]]) -> Int64[np.ndarray, " M_plus_1"]:
    """Offsets [M + 1] of molecules with these numbers of atoms [M]."""
    return np.concatenate([[0], np.cumsum(np.asarray(n_atoms, dtype=np.int64))]).astype(np.int64)


def pack(molecules: Iterable[tuple[Any, Any]]) -> PackedMolecules:
    """Pack (atomic_numbers [N], positions [N, 3] in Å) pairs."""
    pairs = [(np.asarray(z, dtype=np.uint8), np.asarray(x, dtype=np.float32)) for z, x in molecules]
    return PackedMolecules(
        positions=np.concatenate([x.reshape(-1, 3) for _, x in pairs] or [np.zeros((0, 3), np.float32)]),
        atomic_numbers=np.concatenate([z for z, _ in pairs] or [np.zeros(0, np.uint8)]),
        offsets=offsets_of([len(z) for z, _ in pairs]),
    )


def of_one_element(molecules: PackedMolecules) -> Int64[np.ndarray, "R 3"]:
    """Number of atoms, element and count of the molecules of one element, as H2 and S8 are, [R, 3], by size."""
    there = molecules.n_atoms > 0
    starts, sizes = molecules.offsets[:-1][there], molecules.n_atoms[there]
    if not len(starts):
        return np.zeros((0, 3), dtype=np.int64)
    least, most = (
        least_or_most.reduceat(molecules.atomic_numbers, starts) for least_or_most in (np.minimum, np.maximum)
    )
    alone = least == most
    kinds, counts = np.unique(np.stack([sizes[alone], least[alone]], axis=1), axis=0, return_counts=True)
    return np.column_stack([kinds, counts]).astype(np.int64)
