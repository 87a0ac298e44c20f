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
    """The classes of a perceived molecule of these atoms."""
    from rdkit import Chem

    orders = Chem.GetAdjacencyMatrix(molecule, useBO=True, force=True)
    triple = (orders == _TRIPLE).any(axis=0)
    sp = triple | ((orders == _DOUBLE).sum(axis=0) == 2)
    return MoleculeClasses(
        aromatic=bool((orders == _AROMATIC).any()),
        triple_bond=bool(triple.any()),
        sp_carbon=bool((sp & (atomic_numbers == _CARBON)).any()),
        rings=_smallest_rings(molecule),
    )


def _smallest_rings(molecule: "Chem.Mol") -> tuple[int, ...]:
    """Smallest rings by size: as many as bonds have to be cut until no ring is left."""
    from rdkit import Chem

    n_rings = molecule.GetNumBonds() - molecule.GetNumAtoms() + len(Chem.GetMolFrags(molecule))
    if not n_rings:
        return (0,) * len(RING_SIZES)
    rings = molecule.GetRingInfo().AtomRings()
    if len(rings) != n_rings:  # sanitised, it has further ones that are as small: six of cubane, not five
        rings = Chem.GetSSSR(Chem.Mol(molecule))
    sizes = np.minimum([len(ring) for ring in rings], int(RING_SIZES[-2]) + 1) - int(RING_SIZES[0])
    return tuple(np.bincount(sizes, minlength=len(RING_SIZES)).tolist())
