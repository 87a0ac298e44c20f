import numpy as np

from gaga.chem import annotate as module
from gaga.chem.annotate import annotate

METHANE = (
    np.array([6, 1, 1, 1, 1], dtype=np.uint8),
    np.array(
        [[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]], np.float32
    ),
)


def test_a_real_molecule():
    found = annotate(*METHANE, name="m", properties={"gaga_seed": "1"})
    assert (found.stable, found.n_stable_atoms, found.valid, found.smiles) == (True, 5, True, "C")
    assert found.record.properties == {
        "gaga_seed": "1",
        "stable_edm": True,
        "stable_atoms_edm": "5/5",
        "valid_strict": True,
        "bonds": "perceived",
        "SMILES": "C",
    }
    assert found.mol.GetNumBonds() == 4


def test_atoms_without_bond_orders_are_written_without_and_tagged():
    numbers = np.array([1, 1, 1], dtype=np.uint8)
    positions = np.array([[0, 0, 0], [0.7, 0, 0], [0, 0.7, 0]], np.float32)
    found = annotate(numbers, positions, name="m", properties={})
    assert found.mol is None
    assert (found.valid, found.smiles, found.record.properties["bonds"]) == (False, "", "none")


def test_without_rdkit_the_record_carries_stability_alone(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    found = annotate(*METHANE, name="m", properties={})
    assert (found.mol, found.valid) == (None, None)
    assert found.record.properties == {"stable_edm": True, "stable_atoms_edm": "5/5"}
