import numpy as np
import pytest
from rdkit import Chem

from gaga.chem.elements import GEOM_VOCABULARY
from gaga.chem.valences import allowed_valences, atom_valences, describe, lewis_states, strange_valences


def test_every_element_of_geom_has_a_valence():
    assert set(GEOM_VOCABULARY) <= {number for number, *_ in allowed_valences()}
    assert set(GEOM_VOCABULARY) <= set(lewis_states())


def test_rdkit_agrees_with_every_uncharged_state():
    table = Chem.GetPeriodicTable()
    for number, states in lewis_states().items():
        valences = list(table.GetValenceList(number))
        assert {v for q, v in states if q == 0} <= set(valences) or valences == [-1]


@pytest.mark.parametrize(
    ("smiles", "n"),
    [("CS(C)(=O)=O", 0), ("[O-][n+]1ccccc1", 0), ("c1ccc2cccc-2cc1", 0), ("[CH3]", 1), ("[CH2+]CC[O-]", 1),
     ("C[N-]C", 0), ("[He]", 1), ("c1cc[pH]c1", 0),
     # Of ions, whose total charge is not 0, more is known.
     ("[CH3+]", 0), ("c1ccc[cH+]cc1", 0), ("[cH-]1cccc1", 0), ("[Cl-]", 0), ("F[P-](F)(F)(F)(F)F", 0), ("[CH2+2]", 1)],
)  # fmt: skip
def test_strange_valences(smiles, n):
    assert len(strange_valences(Chem.AddHs(Chem.MolFromSmiles(smiles)))) == n


def test_a_ring_that_is_only_called_aromatic_is_strange():
    """Five carbons and a bond short of benzene: each looks aromatic, no Kekulé structure has them all."""
    molecule = Chem.RWMol(Chem.AddHs(Chem.MolFromSmiles("C1CCCC1")))
    surplus = [
        next(n.GetIdx() for n in molecule.GetAtomWithIdx(i).GetNeighbors() if not n.IsInRing()) for i in range(5)
    ]
    for index in sorted(surplus, reverse=True):
        molecule.RemoveAtom(index)
    for bond in molecule.GetBonds():
        if bond.IsInRing():
            bond.SetBondType(Chem.BondType.AROMATIC)
            bond.SetIsAromatic(True)
            bond.GetBeginAtom().SetIsAromatic(True)
            bond.GetEndAtom().SetIsAromatic(True)
    assert all(valence in allowed_valences() for valence in atom_valences(molecule))
    assert len(strange_valences(molecule)) == 5


def test_in_words():
    assert describe((6, 0, 2, 1)) == "C with 2 aromatic bonds and bonds of order 1"
    assert describe((7, -1, 0, 2)) == "N-1 with bonds of order 2"


def test_valences_of_a_molecule():
    assert np.array_equal(atom_valences(Chem.MolFromSmiles("C#N")), [(6, 0, 0, 3), (7, 0, 0, 3)])
