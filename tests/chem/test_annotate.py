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


def test_the_smiles_of_the_record_has_the_stereochemistry_of_the_positions():
    """Both hands of CHFClBr: one SMILES for uniqueness, two in files; the bonds that are written stay as they were."""
    numbers = np.array([6, 1, 9, 17, 35], dtype=np.uint8)
    corners = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], np.float32) / np.sqrt(3)
    positions = (corners * np.array([0, 1.09, 1.36, 1.77, 1.94])[:, None]).astype(np.float32)
    one, other = (annotate(numbers, positions * mirror, name="m", properties={}) for mirror in (1, [1, 1, -1]))
    assert one.smiles == other.smiles == "FC(Cl)Br"
    assert {one.record.properties["SMILES"], other.record.properties["SMILES"]} == {"F[C@@H](Cl)Br", "F[C@H](Cl)Br"}


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
