"""The classes of molecules: aromatic, with a triple bond, their rings, heavy atoms, elements.

Stability does not see them: a sampler that leaves out the molecules that are difficult looks better by it. They are of
the bonds that the strict protocol perceives, under both protocols, as EDM's rule misses one aromatic molecule in five.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int16, Int64
from numpy.typing import NDArray

from gaga.chem.classes import RING_SIZES, MoleculeClasses
from gaga.chem.elements import number_of
from gaga.core.molecules import PackedMolecules

ELEMENTS = ("H", "B", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I", "others")
_HYDROGEN = 1


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of M molecules; all zero or False if the strict protocol does not call the molecule valid.

    Attributes:
        known: whether the strict protocol calls it valid, [M].
        aromatic: whether a bond is aromatic, by RDKit's model, [M].
        triple_bond: whether there is a triple bond, [M].
        sp_carbon: whether a carbon is sp-hybridised: in a triple bond, or with two double bonds as in an allene, [M].
        rings: number of smallest rings (a minimum cycle basis) of 3, 4, 5, 6 and more atoms, [M, 5].
        heavy_atoms: atoms other than hydrogen, of any molecule, [M].
        odd_electrons: whether any molecule has an odd number of electrons, valid or not, [M].
        elements: atoms of each of ELEMENTS, of any molecule, [M, 12].
    """

    known: Bool[np.ndarray, " M"]
    aromatic: Bool[np.ndarray, " M"]
    triple_bond: Bool[np.ndarray, " M"]
    sp_carbon: Bool[np.ndarray, " M"]
    rings: Int16[np.ndarray, "M 5"]
    heavy_atoms: Int16[np.ndarray, " M"]
    odd_electrons: Bool[np.ndarray, " M"]
    elements: Int16[np.ndarray, "M 12"]


TYPES = {
    "known": bool, "aromatic": bool, "triple_bond": bool, "sp_carbon": bool, "rings": np.int16,
    "heavy_atoms": np.int16, "odd_electrons": bool, "elements": np.int16,
}  # fmt: skip
"""The arrays of `Classes`."""


def classes_of(
    rows: Sequence[MoleculeClasses | None], molecules: PackedMolecules, charges: Int16[np.ndarray, " M"] | None
) -> Classes:
    """The classes of molecules with these total charges (None for 0); of each what was perceived, None for nothing."""
    electrons = _sums(np.asarray(molecules.atomic_numbers), molecules) - (0 if charges is None else charges)
    nothing = MoleculeClasses(aromatic=False, triple_bond=False, sp_carbon=False, rings=(0,) * len(RING_SIZES))
    found = [row or nothing for row in rows]
    return Classes(
        known=np.array([row is not None for row in rows], dtype=bool),
        aromatic=np.array([row.aromatic for row in found], dtype=bool),
        triple_bond=np.array([row.triple_bond for row in found], dtype=bool),
        sp_carbon=np.array([row.sp_carbon for row in found], dtype=bool),
        rings=np.array([row.rings for row in found], dtype=np.int16).reshape(-1, len(RING_SIZES)),
        heavy_atoms=heavy_atoms(molecules).astype(np.int16),
        odd_electrons=(electrons % 2).astype(bool),
        elements=_elements_of(molecules).astype(np.int16),
    )


def heavy_atoms(molecules: PackedMolecules) -> Int64[np.ndarray, " M"]:
    """The number of atoms other than hydrogen of each molecule."""
    return _sums(np.asarray(molecules.atomic_numbers) != _HYDROGEN, molecules)


def _sums(of_atoms: NDArray[Any], molecules: PackedMolecules) -> Int64[np.ndarray, " M"]:
    """The sum over the atoms of each molecule."""
    before = np.concatenate([[0], np.cumsum(of_atoms, dtype=np.int64)])
    return np.diff(before[np.asarray(molecules.offsets)])


def _elements_of(molecules: PackedMolecules) -> Int64[np.ndarray, "M 12"]:
    """How many atoms of each of ELEMENTS each molecule has."""
    column = np.full(256, len(ELEMENTS) - 1)
    column[[number_of(symbol) for symbol in ELEMENTS[:-1]]] = np.arange(len(ELEMENTS) - 1)
    counts = np.zeros((len(molecules), len(ELEMENTS)), dtype=np.int64)
    owner = np.repeat(np.arange(len(molecules)), np.diff(molecules.offsets))
    np.add.at(counts, (owner, column[molecules.atomic_numbers]), 1)
    return counts
