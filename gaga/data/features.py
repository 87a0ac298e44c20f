"""The space of positions and types: molecules -> the zero-mean columns that are noised, and back.

Hoogeboom et al. 2022 (EDM, arXiv 2203.17003), section 3: positions in Å / 1, one-hot types / 4, charges / 10.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Integer, UInt8

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.data.published import EDM_FACTORS

_NO_ELEMENT = 0.25  # of a one-hot: halfway between 0 and the least largest entry of a molecule of two elements


Atoms = tuple[UInt8[np.ndarray, " A"], Float32[np.ndarray, "A 3"], Bool[np.ndarray, " M"]]


@runtime_checkable
class Space(Protocol):
    """Molecules as the columns that are noised, and back; positions are the first three columns.

    Models and the sampler know a space by these six alone. `FeatureSpace` is that of positions and types.
    """

    @property
    def columns(self) -> int:
        """C, all columns."""
        ...

    @property
    def centred_columns(self) -> int:
        """How many columns, from the first, have zero mean in each molecule."""
        ...

    @property
    def unit(self) -> float:
        """Å of one unit of the positions' columns."""
        ...

    @property
    def largest(self) -> Float64[np.ndarray, " K"]:
        """The largest absolute value that an atom has in each of the K columns behind the positions."""
        ...

    def encode(self, molecules: PackedMolecules) -> Float64[np.ndarray, "A columns"]:
        """The columns of every atom."""
        ...

    def decode(self, values: Float64[np.ndarray, "A columns"], offsets: Integer[np.ndarray, " M_plus_1"]) -> Atoms:
        """Elements, positions in Å, and which molecules are of one element that their columns do not tell."""
        ...


@dataclass(frozen=True)
class FeatureSpace:
    """Which columns a molecule has: 3 positions, one per element of the vocabulary, and perhaps a charge.

    Attributes:
        vocabulary: atomic numbers, in the order of the one-hot columns.
        factors: what positions, one-hot types and charges are divided by.
        include_charges: whether the atomic number itself is a last column (EDM's models have it).
        centred_features: whether types are centred per molecule, as positions always are (GAGA centres, EDM not).
    """

    vocabulary: tuple[int, ...]
    factors: tuple[float, float, float] = EDM_FACTORS
    include_charges: bool = False
    centred_features: bool = True

    def __post_init__(self) -> None:
        if len(set(self.vocabulary)) < len(self.vocabulary) or not all(1 <= z <= 255 for z in self.vocabulary):
            raise InvalidInput("a vocabulary is of different atomic numbers", received=list(self.vocabulary))
        if not all(0 < factor < float("inf") for factor in self.factors):
            raise InvalidInput("columns are divided by positive numbers", received=list(self.factors))

    @property
    def unit(self) -> float:
        """As `Space`."""
        return self.factors[0]

    @property
    def largest(self) -> Float64[np.ndarray, " K"]:
        """As `Space`."""
        _, types, charges = self.factors
        with_charges = [max(self.vocabulary) / charges] if self.include_charges else []
        return np.array([1 / types] * self.n_types + with_charges)

    @property
    def n_types(self) -> int:
        """K, the number of type columns."""
        return len(self.vocabulary)

    @property
    def columns(self) -> int:
        """3 + F, all columns."""
        return 3 + self.n_types + int(self.include_charges)

    @property
    def centred_columns(self) -> int:
        """How many columns, from the first, have zero mean in each molecule."""
        return self.columns if self.centred_features else 3

    @property
    def blocks(self) -> dict[str, slice]:
        """The columns of each block: positions, types and, if used, charges."""
        blocks = {"positions": slice(0, 3), "types": slice(3, 3 + self.n_types)}
        return blocks | ({"charges": slice(self.columns - 1, self.columns)} if self.include_charges else {})

    def encode(self, molecules: PackedMolecules) -> Float64[np.ndarray, "A columns"]:
        """The columns of every atom, positions (and types if centred) with zero mean in each molecule.

        Raises:
            InvalidInput: an element is not in the vocabulary, or a molecule has no atoms.
        """
        sizes = molecules.n_atoms
        if len(sizes) and sizes.min() == 0:
            raise InvalidInput("a molecule has no atoms", received=f"molecule {int(np.argmin(sizes))}")
        values = np.zeros((len(molecules.atomic_numbers), self.columns))
        values[:, :3] = molecules.positions.astype(np.float64) / self.factors[0]
        values[np.arange(len(values)), 3 + self._type_index(molecules.atomic_numbers)] = 1.0 / self.factors[1]
        if self.include_charges:
            values[:, -1] = molecules.atomic_numbers / self.factors[2]
        centred = self.centred_columns
        values[:, :centred] -= np.repeat(molecule_means(values[:, :centred], molecules.offsets), sizes, axis=0)
        return values

    def decode(self, values: Float64[np.ndarray, "A columns"], offsets: Integer[np.ndarray, " M_plus_1"]) -> Atoms:
        """Elements, positions in Å, and which molecules are of one element that their types do not tell."""
        positions = (values[:, :3] * self.factors[0]).astype(np.float32)
        return self.decode_types(values), positions, self.tell_no_element(values, offsets)

    def decode_types(self, values: Float64[np.ndarray, "A columns"]) -> UInt8[np.ndarray, " A"]:
        """The element of each atom: the largest type column (a one-hot minus its mean keeps its largest).

        That is the first of the vocabulary, or chance, if `tell_no_element` holds.
        """
        index = np.argmax(values[:, 3 : 3 + self.n_types], axis=1)
        elements: UInt8[np.ndarray, " A"] = np.asarray(self.vocabulary, dtype=np.uint8)[index]
        return elements

    def tell_no_element(
        self, values: Float64[np.ndarray, "A columns"], offsets: Integer[np.ndarray, " M_plus_1"]
    ) -> Bool[np.ndarray, " M"]:
        """Molecules whose centred types are those of any molecule of one element: 0 in all columns of all atoms.

        If there are two elements, some atom has 1/2 or more of a one-hot in its column; here all have less than half
        of that. Always false if types are not centred, or the vocabulary has one element.
        """
        if not self.centred_features or self.n_types == 1:
            return np.zeros(len(offsets) - 1, dtype=bool)
        largest = np.abs(values[:, 3 : 3 + self.n_types]).max(axis=1) * self.factors[1]
        return np.asarray(np.maximum.reduceat(largest, offsets[:-1]) < _NO_ELEMENT)

    def _type_index(self, atomic_numbers: UInt8[np.ndarray, " A"]) -> Integer[np.ndarray, " A"]:
        lookup = np.full(256, -1, dtype=np.int64)
        lookup[list(self.vocabulary)] = np.arange(self.n_types)
        index = np.asarray(lookup[atomic_numbers])
        if np.any(index < 0):
            unknown = sorted({int(z) for z in atomic_numbers[index < 0]})
            raise InvalidInput(
                "atomic numbers outside the vocabulary",
                received=unknown,
                remedy=f"the vocabulary is {list(self.vocabulary)}",
            )
        return index


def molecule_means(
    values: Float64[np.ndarray, "A columns"], offsets: Integer[np.ndarray, " M_plus_1"]
) -> Float64[np.ndarray, "M columns"]:
    """Mean over the atoms of each molecule (none may be empty)."""
    sums = np.add.reduceat(values, offsets[:-1], axis=0)
    return np.asarray(sums / np.diff(offsets)[:, None])


def require_features(space: Space) -> FeatureSpace:
    """The space, if it is that of positions and types: statistics, moments and checkpoints know no other.

    Raises:
        InvalidInput: it is another.
    """
    if not isinstance(space, FeatureSpace):
        raise InvalidInput("only a space of positions and types can be used here", received=type(space).__name__)
    return space
