"""SMILES become molecules in 3D, always the same ones; what cannot is said in fixed words."""

import subprocess
import sys

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from gaga.chem import embed as module
from gaga.chem.bonds import perceive
from gaga.chem.embed import NotEmbedded, embed, parse
from gaga.chem.records import NO_ATOMS, UNKNOWN_ELEMENT

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.mark.parametrize("smiles", [ASPIRIN, "CCO", "c1ccncc1", "C#N", "[NH3+]CC(=O)[O-]", "OP(O)(=O)O", "FC(F)F"])
def test_the_geometry_is_that_of_the_smiles(smiles):
    parsed, embedded = parse(smiles), embed(smiles)
    molecule = perceive(parsed.atomic_numbers, embedded.positions, charge=parsed.charge)
    assert Chem.MolToSmiles(Chem.RemoveHs(molecule)) == parsed.canonical
    assert embedded.force_field == "MMFF94"


def test_it_is_a_minimum_of_the_force_field():
    molecule = Chem.AddHs(Chem.MolFromSmiles(ASPIRIN))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    molecule.GetConformer().SetPositions(embed(ASPIRIN).positions)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
        molecule, rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    )
    assert np.abs(field.CalcGrad()).max() < 0.05  # kcal/mol/Å


@pytest.mark.parametrize(("smiles", "sign"), [("C[C@H](O)F", 1), ("C[C@@H](O)F", -1)])
def test_stereochemistry_is_kept(smiles, sign):
    xyz = embed(smiles).positions
    volume = np.linalg.det(xyz[[0, 2, 3]] - xyz[1])  # of methyl, oxygen, fluorine around the centre
    assert np.sign(volume) == sign


def test_the_same_smiles_and_seed_give_the_same_geometry_in_another_process():
    code = f"from gaga.chem.embed import embed; print(embed({ASPIRIN!r}, seed=3).positions.tolist())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first = embed(ASPIRIN, seed=3).positions
    assert first.tolist() == eval(found)  # noqa: S307 - our own list of numbers
    assert not np.allclose(first, embed(ASPIRIN, seed=4).positions)


def test_uff_where_mmff_has_no_parameters():
    assert embed("OB(O)c1ccccc1").force_field == "UFF"


def test_one_atom_and_two():
    assert embed("[Na+]").positions.shape == (1, 3)
    assert np.linalg.norm(np.diff(embed("[H][H]").positions, axis=0)) == pytest.approx(0.7, abs=0.1)


def test_the_largest_fragment_is_taken_where_that_is_asked_for():
    salt = "[Na+].CC(=O)[O-].O"
    with pytest.raises(NotEmbedded, match="several fragments"):
        parse(salt)
    parsed = parse(salt, largest_fragment=True)
    assert (parsed.canonical, parsed.smiles, parsed.charge) == ("CC(=O)[O-]", "CC(=O)[O-]", -1)
    assert sorted(parsed.atomic_numbers.tolist()) == [1, 1, 1, 6, 6, 8, 8]
    # As many heavy atoms: the heavier one.
    assert parse("CCO.CCS", largest_fragment=True).canonical == "CCS"
    # A molecule in one piece stays as it is written.
    assert parse("OCC", largest_fragment=True).smiles == "OCC"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("", NO_ATOMS),
        ("xx", module.NOT_PARSED),
        ("C1CC", module.NOT_PARSED),
        ("CC(", module.NOT_PARSED),
        ("c1cccc1", module.NOT_PARSED),  # no Kekulé structure
        ("C(C)(C)(C)(C)C", module.NOT_PARSED),  # five bonds
        ("C\0C", module.NOT_PARSED),
        ("C\x1b[31m", module.NOT_PARSED),
        ("Сс", module.NOT_PARSED),  # Cyrillic letters
        ("*CC", UNKNOWN_ELEMENT),
        ("C" * 10_000, module.TOO_LARGE),
        ("C" * 400, module.TOO_LARGE),  # with its hydrogens
        ("(" * 10_000, module.NOT_PARSED),
        ("[" * 10_000, module.NOT_PARSED),
        ("C" * 10_001, module.TOO_LONG),
        ("C.C", module.SEVERAL_FRAGMENTS),
    ],
)
def test_what_is_no_molecule(smiles, reason):
    with pytest.raises(NotEmbedded) as error:
        parse(smiles)
    assert error.value.reason == reason
    assert len(error.value.line) < 200


def test_no_parameters():
    with pytest.raises(NotEmbedded) as error:
        embed("[Pt](Cl)(Cl)(N)N")
    assert error.value.reason == module.NO_PARAMETERS


def test_what_cannot_be_embedded():
    with pytest.raises(NotEmbedded) as error:
        embed("[C@@]12(F)C[C@@]1(F)C2", time_limit_s=30)
    assert error.value.reason == module.NOT_EMBEDDED


def test_time_runs_out():
    with pytest.raises(NotEmbedded) as error:
        embed("CC(C)CC(NC(=O)C)C(=O)N" * 12, time_limit_s=0.01)
    assert error.value.reason == module.TOO_SLOW
