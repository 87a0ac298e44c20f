"""A data set in memory: packed molecules, a split, and what is known of each molecule."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped, UInt8
from numpy.typing import NDArray

from gaga.chem.records import Skipped
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.data.preparation import Preparation

SPLIT_NAMES = ("train", "valid", "test")
_ATOMS = 1 << 20  # counted at a time


@dataclass(frozen=True, eq=False)
class Annotations:
    """What is known of each of M molecules besides its geometry.

    Attributes:
        smiles: SMILES [K] as the source has them, or None.
        properties: values [M] by name, NaN if a molecule lacks one.
        units: the unit of each property whose unit is known.
        of: which of the SMILES each has, [M], if conformers share them; None if each has its own, K = M.
    """

    smiles: Shaped[np.ndarray, " K"] | None = None
    properties: Mapping[str, Float64[np.ndarray, " M"]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    of: Int64[np.ndarray, " M"] | None = None

    def take(self, indices: Int64[np.ndarray, " n"]) -> "Annotations":
        """The annotations of the molecules at these indices."""
        return Annotations(
            smiles=self.smiles if self.smiles is None or self.of is not None else self.smiles[indices],
            properties={name: values[indices] for name, values in self.properties.items()},
            units=self.units,
            of=None if self.of is None else self.of[indices],
        )

    def smiles_of(self, indices: Int64[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"] | None:
        """SMILES of the molecules at these indices, or None."""
        if self.smiles is None:
            return None
        texts: Shaped[np.ndarray, " n"] = self.smiles[indices if self.of is None else self.of[indices]]
        return texts


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """M molecules with their split.

    Attributes:
        name: the name that results are filed under.
        molecules: positions in Å, atomic numbers, offsets.
        ids: the source's own index of each molecule, [M]; QM9's, or 0, 1, 2, ... for a user's file.
        splits: positions in the data set of the molecules of `train`, `valid` and `test`.
        vocabulary: atomic numbers in the order of the type columns; all that occur, and perhaps others.
        skipped: number of molecules left out, by reason.
        skipped_records: which records of a user's file cannot be used, and why; a prepared file does not keep them.
        origin: where the molecules came from, for provenance.
        preparation: what was asked of a user's molecules and what became of them; None of other data sets.
        read_annotations: reads SMILES and properties when they are first asked for.
        groups: which molecule each entry is a conformer of, [M]: 0, 1, 2, ... in the order of first appearance; None
            if each entry is a molecule of its own. No split cuts a group.
    """

    name: str
    molecules: PackedMolecules
    ids: Int64[np.ndarray, " M"]
    splits: Mapping[str, NDArray[np.int64]]
    vocabulary: tuple[int, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_records: tuple[Skipped, ...] = ()
    origin: str = ""
    preparation: Preparation | None = None
    read_annotations: Callable[[], Annotations] = Annotations
    groups: Int64[np.ndarray, " M"] | None = None

    def __post_init__(self) -> None:
        if set(self.splits) != set(SPLIT_NAMES):
            raise InvalidInput("a data set has the splits train, valid and test", received=list(self.splits))
        if len(self.ids) != len(self.molecules):
            raise InvalidInput("a data set has one id for each molecule", received=len(self.ids))
        if self.groups is not None and len(self.groups) != len(self.molecules):
            raise InvalidInput("a data set has one group for each molecule", received=len(self.groups))
        if sum(map(len, self.splits.values())) > len(self.molecules):
            raise InvalidInput("a molecule is in one split at most")

    def __len__(self) -> int:
        return len(self.molecules)

    @property
    def positions(self) -> Float32[np.ndarray, "A 3"]:
        """Positions of all atoms in Å, [A, 3]."""
        return self.molecules.positions

    @property
    def atomic_numbers(self) -> UInt8[np.ndarray, " A"]:
        """Atomic numbers of all atoms, [A]."""
        return self.molecules.atomic_numbers

    @property
    def offsets(self) -> Int64[np.ndarray, " M_plus_1"]:
        """Molecule i owns the atoms offsets[i]:offsets[i + 1]."""
        return self.molecules.offsets

    @property
    def n_atoms(self) -> Int64[np.ndarray, " M"]:
        """Number of atoms of each molecule, [M]."""
        return self.molecules.n_atoms

    @cached_property
    def annotations(self) -> Annotations:
        """SMILES and properties, read at first use."""
        return self.read_annotations()

    @property
    def smiles(self) -> Shaped[np.ndarray, " M"] | None:
        """SMILES of each molecule [M], or None if the source has none."""
        return self.annotations.smiles_of(np.arange(len(self)))

    @property
    def properties(self) -> Mapping[str, Float64[np.ndarray, " M"]]:
        """Properties by name, each [M]."""
        return self.annotations.properties

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over positions, atomic numbers, offsets, splits and, if there are any, groups; in hexadecimal."""
        return fingerprint_of(
            self.molecules.position_pieces(), [self.atomic_numbers], self.offsets, self.splits, self.groups
        )

    def sizes_histogram(self, split: str = "train") -> Int64[np.ndarray, " N_max_plus_1"]:
        """Number of molecules of each size 0..N_max in a split; N_max is the largest of the whole data set.

        Raises:
            InvalidInput: the split is not one of train, valid, test.
        """
        largest = int(self.n_atoms.max()) if len(self) else 0
        return np.bincount(self.n_atoms[self._split(split)], minlength=largest + 1)

    def subset(self, part: str | float, seed: int = 0) -> "Dataset":
        """One split, or a random fraction of each split; molecules keep the data set's order.

        A larger fraction of the same seed contains the smaller ones, and no split that had molecules becomes
        empty.

        Raises:
            InvalidInput: an unknown split, or a fraction that is not in (0, 1].
        """
        kept = self._one_split(part) if isinstance(part, str) else self._fraction(part, seed)
        indices = np.sort(np.concatenate(list(kept.values())))
        new_position = np.full(len(self), -1, dtype=np.int64)
        new_position[indices] = np.arange(len(indices))
        return Dataset(
            name=self.name,
            molecules=self.molecules.select(indices),
            ids=self.ids[indices],
            splits={name: new_position[members] for name, members in kept.items()},
            vocabulary=self.vocabulary,
            skipped=self.skipped,
            skipped_records=self.skipped_records,
            origin=self.origin,
            preparation=self.preparation,
            read_annotations=partial(_taken, self, indices),
            groups=None if self.groups is None else numbered_anew(self.groups[indices]),
        )

    def _split(self, name: str) -> NDArray[np.int64]:
        if name not in self.splits:
            raise InvalidInput("unknown split", received=name, remedy=f"use {', '.join(SPLIT_NAMES)}")
        return self.splits[name]

    def _one_split(self, name: str) -> dict[str, NDArray[np.int64]]:
        chosen = self._split(name)
        return {split: chosen if split == name else chosen[:0] for split in SPLIT_NAMES}

    def _fraction(self, fraction: float, seed: int) -> dict[str, NDArray[np.int64]]:
        if not 0 < fraction <= 1:
            raise InvalidInput("a fraction of a data set is in (0, 1]", received=fraction)
        rng = np.random.default_rng(seed)
        return {
            name: members[np.sort(rng.permutation(len(members))[: math.ceil(fraction * len(members))])]
            for name, members in self.splits.items()
        }


def fingerprint_of(
    positions: Iterable[Float32[np.ndarray, "_ 3"]],
    atomic_numbers: Iterable[UInt8[np.ndarray, " _"]],
    offsets: Int64[np.ndarray, " M_plus_1"],
    splits: Mapping[str, NDArray[np.int64]],
    groups: Int64[np.ndarray, " M"] | None,
) -> str:
    """SHA-256 over all that training sees, in hexadecimal; positions and atomic numbers come in pieces."""
    digest, n_atoms = hashlib.sha256(), int(offsets[-1]).to_bytes(8, "little")
    for pieces in (positions, atomic_numbers):
        digest.update(n_atoms)
        for piece in pieces:
            digest.update(_little_endian(piece).data)
    for array in (offsets, *(splits[name] for name in SPLIT_NAMES), *([] if groups is None else [groups])):
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(_little_endian(array).data)
    return digest.hexdigest()


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def already_read(annotations: Annotations) -> Callable[[], Annotations]:
    """`read_annotations` of a data set whose annotations are in memory."""
    return partial(_same, annotations)


def _same(annotations: Annotations) -> Annotations:
    return annotations


def _taken(dataset: Dataset, indices: NDArray[np.int64]) -> Annotations:
    return dataset.annotations.take(indices)


def vocabulary_of(atomic_numbers: NDArray[np.integer[Any]]) -> tuple[int, ...]:
    """The atomic numbers that occur, ascending."""
    return tuple(int(z) for z in np.flatnonzero(element_counts(atomic_numbers)))


def element_counts(atomic_numbers: NDArray[np.integer[Any]]) -> Int64[np.ndarray, "256"]:
    """How many atoms have each atomic number, 0 to 255."""
    counts = np.zeros(256, dtype=np.int64)
    for first in range(0, len(atomic_numbers), _ATOMS):
        counts += np.bincount(atomic_numbers[first : first + _ATOMS], minlength=256)
    return counts


def numbered_anew(groups: Int64[np.ndarray, " M"]) -> Int64[np.ndarray, " M"] | None:
    """Groups as 0, 1, 2, ... in the order of first appearance; None if no two entries share one."""
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    if len(first) == len(groups):
        return None
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[which]
