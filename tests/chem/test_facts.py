"""Charge, pieces and identity of molecules: by the file's word, else perceived."""

from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from gaga.chem import facts
from gaga.chem.embed import embed, parse
from gaga.chem.io import read_molecules
from gaga.chem.records import Record


def molecule(smiles: str, seed: int = 0, **properties: str) -> Record:
    """A record without bonds, as from XYZ."""
    return Record(parse(smiles).atomic_numbers, embed(smiles, seed=seed).positions, properties=properties)


def both(first: Record, second: Record, distance: float = 6.0) -> Record:
    """Two molecules beside each other."""
    return Record(
        np.concatenate([first.atomic_numbers, second.atomic_numbers]),
        np.concatenate([first.positions, second.positions + distance]),
    )


def sdf(path, smiles: str, *, v3000: bool = False) -> Record:
    """A record read from an SDF that rdkit wrote, with its bonds and charges."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=7) == 0
    block = Chem.MolToV3KMolBlock(mol) if v3000 else Chem.MolToMolBlock(mol)
    path.write_text(f"{block}$$$$\n")
    (record,) = read_molecules(path, bonding=True)
    assert isinstance(record, Record)
    return record


@pytest.mark.parametrize("v3000", [False, True])
@pytest.mark.parametrize(
    ("smiles", "charge"),
    [("CCO", 0), ("CC(=O)[O-]", -1), ("C[N+](C)(C)CC(=O)[O-]", 0), ("[NH3+]CC[NH3+]", 2), ("[O-]S(=O)(=O)[O-]", -2)],
)
def test_charges_and_bonds_of_an_sdf(tmp_path, smiles, charge, v3000):
    record = sdf(tmp_path / "m.sdf", smiles, v3000=v3000)
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert facts.total_charge(record) == charge
    assert facts.is_neutral(record) is (charge == 0)
    assert record.bonding.charges.tolist() == [atom.GetFormalCharge() for atom in mol.GetAtoms()]
    assert record.bonding.pairs.tolist() == [[b.GetBeginAtomIdx(), b.GetEndAtomIdx()] for b in mol.GetBonds()]


def test_the_older_charges_of_an_atom_block(tmp_path):
    record = "x\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n{}M  END\n$$$$\n"
    rows = "    0.0000    0.0000    0.0000 O   0  5\n    0.0000    0.0000    1.0000 H   0  0\n  1  2  1  0\n"
    (tmp_path / "m.sdf").write_text(record.format(rows))
    (found,) = read_molecules(tmp_path / "m.sdf", bonding=True)
    assert facts.total_charge(found) == -1
    # A line of charges or radicals takes their place.
    (tmp_path / "m.sdf").write_text(record.format(f"{rows}M  RAD  1   1   2\n"))
    (found,) = read_molecules(tmp_path / "m.sdf", bonding=True)
    assert facts.total_charge(found) == 0


@pytest.mark.parametrize(
    "rows",
    ["  1  9  1  0\n", "  1  x  1  0\n", "", "  1  2  1  0\nM  CHG  1   7   1\n", "  1  2  1  0\nM  CHG  1   1\n"],
)
def test_damaged_bonds_are_none_and_the_molecule_is_read(tmp_path, rows):
    (tmp_path / "m.sdf").write_text(
        "x\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 O   0  0\n"
        f"    0.0000    0.0000    1.0000 H   0  0\n{rows}M  END\n$$$$\n"
    )
    (found,) = read_molecules(tmp_path / "m.sdf", bonding=True)
    assert isinstance(found, Record)
    assert found.bonding is None


def test_bonds_are_read_only_where_somebody_asks(tmp_path):
    asked = sdf(tmp_path / "m.sdf", "CCO")
    (unasked,) = read_molecules(tmp_path / "m.sdf")
    assert asked.bonding is not None
    assert unasked.bonding is None


@pytest.mark.parametrize(("name", "value", "charge"), [
    ("charge", "1", 1), ("Total_Charge", "-2.0", -2), ("charge", "0.3", None), ("charge", "x", None),
    ("charge", "1e9", None), ("charge", "nan", None), ("partial_charge", "1", None), ("charge", "+1", 1),
    ("charge", "2-", -2), ("charge", "1_0", None), ("charge", "", None), ("total charge", "-1", -1),
    ("PUBCHEM_TOTAL_CHARGE", "1", 1),
])  # fmt: skip
def test_a_property_tells_the_charge(name, value, charge):
    assert facts.total_charge(Record(np.array([1], np.uint8), np.zeros((1, 3)), properties={name: value})) == charge


@pytest.mark.parametrize(
    ("smiles", "neutral"), [("CCO", True), ("[NH3+]C", False), ("CC(=O)[O-]", False), ("[NH3+]CC(=O)[O-]", True)]
)
def test_neutral_by_the_geometry_where_the_file_is_silent(smiles, neutral):
    assert facts.is_neutral(molecule(smiles)) is neutral


def test_the_largest_fragment_of_a_geometry():
    ethanol, water = molecule("CCO"), molecule("O")
    for whole in (both(ethanol, water), both(water, ethanol)):
        kept = facts.largest_fragment(whole)
        assert kept.atomic_numbers.tolist() == ethanol.atomic_numbers.tolist()
        assert facts.identity(kept) == facts.identity(ethanol)
    assert facts.largest_fragment(ethanol) is ethanol
    # Of two that are as large, the first.
    assert facts.largest_fragment(both(water, water)).positions.tolist() == water.positions.tolist()


def test_what_the_file_says_of_the_whole_is_not_said_of_the_piece():
    pair = replace(both(molecule("CCO"), molecule("O")), properties={"SMILES": "CCO.O", "charge": "0", "logP": "1"})
    assert dict(facts.largest_fragment(pair).properties) == {"logP": "1"}


def test_the_largest_fragment_by_the_files_bonds(tmp_path):
    """Ions that touch are one piece by distances, and two by the file."""
    salt = sdf(tmp_path / "m.sdf", "[Na+].CC(=O)[O-]")
    touching = replace(salt, positions=salt.positions.copy())
    touching.positions[0] = touching.positions[4] + [0, 0, 2.0]
    kept = facts.largest_fragment(touching)
    assert (len(kept.atomic_numbers), facts.total_charge(kept)) == (7, -1)
    assert kept.bonding.pairs.max() == 6
    assert np.array_equal(kept.positions, touching.positions[1:])


def test_identity_is_of_the_molecule_not_of_its_geometry_or_order():
    one, other = molecule("CC(C)CO", seed=1), molecule("OCC(C)C", seed=2)
    assert facts.identity(one) == facts.identity(other)
    assert facts.identity(one) == facts.identity_of_smiles(parse("CC(C)CO").canonical)
    assert facts.identity(one) != facts.identity(molecule("CCCCO"))


def test_mirror_images_are_different_molecules():
    left, right = molecule("C[C@H](O)F"), molecule("C[C@@H](O)F")
    assert facts.identity(left) != facts.identity(right)
    assert facts.identity(left) == facts.identity(molecule("C[C@H](O)F", seed=5))


def test_a_smiles_that_is_told_counts_first_and_geometry_last():
    ethanol = molecule("CCO")
    assert facts.identity(replace(ethanol, properties={"SMILES": "CCC"})) == facts.identity(molecule("CCC"))
    assert facts.identity(replace(ethanol, properties={"SMILES": "not one"})) == facts.identity(ethanol)
    octahedron = 1.09 * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    strange = Record(np.array([6, 1, 1, 1, 1, 1, 1], np.uint8), octahedron)  # bonds to six hydrogens
    assert facts.identity(strange) == facts.identity(replace(strange, name="b"))
    assert facts.identity(strange) != facts.identity(replace(strange, positions=strange.positions + 1))
