"""What the classes of one molecule are made of: its bonds and its smallest rings."""

from typing import TYPE_CHECKING, NamedTuple

from gaga.chem.geometry import Bonds, bonds_of_molecule

if TYPE_CHECKING:
    from rdkit import Chem

RING_SIZES = ("3", "4", "5", "6", "larger")


class MoleculeClasses(NamedTuple):
    """The bonds of one molecule, and the numbers of its smallest rings by RING_SIZES."""

    bonds: Bonds
    rings: tuple[int, ...]


def classes_of_molecule(molecule: "Chem.Mol", bonds: Bonds | None = None) -> MoleculeClasses:
    """Those of a perceived molecule in one piece; its ring information becomes the smallest.

    Args:
        molecule: as `perceive` returned it.
        bonds: its bonds, if they are known.
    """
    return MoleculeClasses(bonds_of_molecule(molecule) if bonds is None else bonds, _smallest_rings(molecule))


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
