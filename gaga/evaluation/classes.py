"""The classes of molecules: aromatic, with a triple bond, their rings, heavy atoms, elements; and their shape.

Stability does not see them: a sampler that leaves out the molecules that are difficult looks better by it. They are of
the bonds that the strict protocol perceives, under both protocols, as EDM's rule misses one aromatic molecule in five.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, Int32, Int64
from numpy.typing import NDArray

from gaga.chem.classes import RING_SIZES, MoleculeClasses
from gaga.chem.elements import number_of
from gaga.chem.geometry import AROMATIC, NO_BONDS, joined_bonds, torsions
from gaga.core.molecules import PackedMolecules

ELEMENTS = ("H", "B", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I", "others")
TORSION_BINS = 18
"""Of 10 degrees each, from 0 to 180."""
_HYDROGEN, _CARBON = 1, 6
_DOUBLE, _TRIPLE = 2, 3  # orders of bonds


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
        torsions: torsions of heavy atoms without their sign, in bins of 10 degrees from 0 to 180, [M, 18]; None in
            results of earlier versions.
        radius: radius of gyration in Å, of all atoms with equal weights, of any molecule, [M]; NaN without atoms or
            with positions that are not finite. None in results of earlier versions.
    """

    known: Bool[np.ndarray, " M"]
    aromatic: Bool[np.ndarray, " M"]
    triple_bond: Bool[np.ndarray, " M"]
    sp_carbon: Bool[np.ndarray, " M"]
    rings: Int16[np.ndarray, "M 5"]
    heavy_atoms: Int16[np.ndarray, " M"]
    odd_electrons: Bool[np.ndarray, " M"]
    elements: Int16[np.ndarray, "M 12"]
    torsions: Int32[np.ndarray, "M 18"] | None = None
    radius: Float32[np.ndarray, " M"] | None = None


TYPES = {
    "known": bool, "aromatic": bool, "triple_bond": bool, "sp_carbon": bool, "rings": np.int16,
    "heavy_atoms": np.int16, "odd_electrons": bool, "elements": np.int16,
}  # fmt: skip
LATER_TYPES = {"torsions": np.int32, "radius": np.float32}
"""The arrays of `Classes`; the second ones are missing in results of earlier versions."""


def classes_of(
    rows: Sequence[MoleculeClasses | None], molecules: PackedMolecules, charges: Int16[np.ndarray, " M"] | None
) -> Classes:
    """The classes of molecules with these total charges (None for 0); of each what was perceived, None for nothing."""
    numbers, owner = np.asarray(molecules.atomic_numbers), _owners(molecules)
    electrons = _sums(numbers, molecules) - (0 if charges is None else charges)
    no_rings = (0,) * len(RING_SIZES)
    bonds = joined_bonds([NO_BONDS if row is None else row.bonds for row in rows], np.asarray(molecules.offsets))
    n_double, n_triple = (
        np.bincount(bonds.pairs[bonds.orders == order].ravel(), minlength=len(numbers)) for order in (_DOUBLE, _TRIPLE)
    )
    sp = (numbers == _CARBON) & ((n_triple > 0) | (n_double == 2))

    def have(atoms: NDArray[Any]) -> Bool[np.ndarray, " M"]:
        """Which molecules have one of these atoms."""
        return np.bincount(owner[atoms], minlength=len(molecules)) > 0

    return Classes(
        known=np.array([row is not None for row in rows], dtype=bool),
        aromatic=have(bonds.pairs[bonds.orders == AROMATIC, 0]),
        triple_bond=have(n_triple > 0),
        sp_carbon=have(sp),
        rings=np.array([row.rings if row else no_rings for row in rows], dtype=np.int16).reshape(-1, len(no_rings)),
        heavy_atoms=heavy_atoms(molecules).astype(np.int16),
        odd_electrons=(electrons % 2).astype(bool),
        elements=_elements_of(molecules).astype(np.int16),
        torsions=_torsions_of(molecules, bonds.pairs, owner),
        radius=radii_of_gyration(molecules),
    )


def heavy_atoms(molecules: PackedMolecules) -> Int64[np.ndarray, " M"]:
    """The number of atoms other than hydrogen of each molecule."""
    return _sums(np.asarray(molecules.atomic_numbers) != _HYDROGEN, molecules)


def _sums(of_atoms: NDArray[Any], molecules: PackedMolecules) -> Int64[np.ndarray, " M"]:
    """The sum over the atoms of each molecule."""
    before = np.concatenate([[0], np.cumsum(of_atoms, dtype=np.int64)])
    return np.diff(before[np.asarray(molecules.offsets)])


def _owners(molecules: PackedMolecules) -> Int64[np.ndarray, " A"]:
    """The molecule of each atom."""
    return np.repeat(np.arange(len(molecules)), np.diff(molecules.offsets))


def _torsions_of(
    molecules: PackedMolecules, pairs: Int64[np.ndarray, "K 2"], owner: Int64[np.ndarray, " A"]
) -> Int32[np.ndarray, "M 18"]:
    """How many torsions of heavy atoms each molecule has in each bin."""
    pairs = pairs[(np.asarray(molecules.atomic_numbers)[pairs] != _HYDROGEN).all(axis=1)]
    found = torsions(np.asarray(molecules.positions), pairs)
    bins = np.minimum(found.angles * TORSION_BINS / 180, TORSION_BINS - 1).astype(np.int64)
    cells = owner[pairs[found.bond, 0]] * TORSION_BINS + bins
    counts = np.bincount(cells, minlength=len(molecules) * TORSION_BINS)
    return counts.reshape(-1, TORSION_BINS).astype(np.int32)


def radii_of_gyration(molecules: PackedMolecules) -> Float32[np.ndarray, " M"]:
    """The root-mean-square distance in Å of the atoms of each molecule from their mean; NaN if there is none."""
    owner, n = _owners(molecules), len(molecules)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        square = np.zeros(n)
        for along in np.asarray(molecules.positions).astype(np.float64).T:
            mean = np.bincount(owner, weights=along, minlength=n) / np.diff(molecules.offsets)
            square += np.bincount(owner, weights=(along - mean[owner]) ** 2, minlength=n)
        return np.sqrt(square / np.diff(molecules.offsets)).astype(np.float32)


def _elements_of(molecules: PackedMolecules) -> Int64[np.ndarray, "M 12"]:
    """How many atoms of each of ELEMENTS each molecule has."""
    column = np.full(256, len(ELEMENTS) - 1)
    column[[number_of(symbol) for symbol in ELEMENTS[:-1]]] = np.arange(len(ELEMENTS) - 1)
    cells = _owners(molecules) * len(ELEMENTS) + column[molecules.atomic_numbers]
    return np.bincount(cells, minlength=len(molecules) * len(ELEMENTS)).reshape(-1, len(ELEMENTS))
