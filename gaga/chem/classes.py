"""The classes of one molecule: aromatic, with a triple bond, with an sp carbon, its smallest rings."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from rdkit import Chem

RING_SIZES = ("3", "4", "5", "6", "larger")
_CARBON = 6
_AROMATIC, _DOUBLE, _TRIPLE = 1.5, 2, 3  # orders of bonds


class MoleculeClasses(NamedTuple):
    """The classes of one molecule; `rings` are the numbers of smallest rings by RING_SIZES."""

    aromatic: bool
    triple_bond: bool
    sp_carbon: bool
    rings: tuple[int, ...]


def classes_of_molecule(molecule: "Chem.Mol", atomic_numbers: UInt8[np.ndarray, " N"]) -> MoleculeClasses:
    """The classes of a perceived molecule of these atoms, in one piece; its ring information becomes the smallest."""
    from rdkit import Chem

    orders = Chem.GetAdjacencyMatrix(molecule, useBO=True, force=True)
    present = set(orders.ravel().tolist())
    sp = False
    if _TRIPLE in present or _DOUBLE in present:
        carbons = orders[atomic_numbers == _CARBON]
        sp = bool(((carbons == _TRIPLE).any(axis=1) | ((carbons == _DOUBLE).sum(axis=1) == 2)).any())
    return MoleculeClasses(
        aromatic=_AROMATIC in present, triple_bond=_TRIPLE in present, sp_carbon=sp, rings=_smallest_rings(molecule)
    )


def _smallest_rings(molecule: "Chem.Mol") -> tuple[int, ...]:
    """Smallest rings by size: as many as bonds have to be cut until no ring is left."""
    from rdkit import Chem

    counts = [0] * len(RING_SIZES)
    n_rings = molecule.GetNumBonds() - molecule.GetNumAtoms() + 1
    if not n_rings:
        return tuple(counts)
    rings = molecule.GetRingInfo().AtomRings()
    if len(rings) != n_rings:  # sanitised, it has further ones that are as small: six of cubane, not five
        rings = Chem.GetSSSR(molecule)
    smallest = int(RING_SIZES[0])
    for ring in rings:
        counts[min(len(ring) - smallest, len(counts) - 1)] += 1
    return tuple(counts)
