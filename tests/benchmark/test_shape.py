"""Rings are counted under the name of what they are."""

import numpy as np
from rdkit import Chem
from rdkit.Chem import AllChem

from benchmarks.shape import rings, row
from gaga.core.molecules import PackedMolecules, pack

KNOWN = {  # smallest (bonds - atoms + 1) and symmetrised rings
    "C12C3C4C1C5C2C3C45": (5, 6),  # cubane: five of its six faces
    "C1CC2CCC1C2": (2, 2),
    "C1CC2CCC1CC2": (2, 3),  # bicyclo[2.2.2]octane: any two of three
    "c1ccccc1": (1, 1),
    "CCO": (0, 0),
}


def embedded(smiles: str) -> tuple[np.ndarray, np.ndarray]:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(molecule, randomSeed=7) == 0
    AllChem.MMFFOptimizeMolecule(molecule)
    return np.array([a.GetAtomicNum() for a in molecule.GetAtoms()]), molecule.GetConformer().GetPositions()


def molecules() -> PackedMolecules:
    return pack([*map(embedded, KNOWN), ([6, 6], [[0, 0, 0], [0, 0, 9.0]])])


def test_smallest_and_symmetrised_rings():
    found = rings(molecules())
    np.testing.assert_array_equal(found[:-1], list(KNOWN.values()))
    assert np.isnan(found[-1]).all()


def test_a_row_has_both():
    drawn = molecules()
    cells = row("drawn", drawn, np.ones(64)).split(" | ")
    smallest, symmetrised = zip(*KNOWN.values(), strict=True)
    assert cells[3].startswith(f"{np.mean(smallest):.3f}")
    assert cells[4].startswith(f"{np.mean(symmetrised):.3f}")
