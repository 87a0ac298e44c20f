import time
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gaga.chem import perceive, strict_verdict
from gaga.chem.bonds import count_fragments
from gaga.chem.valences import allowed_valences, atom_valences
from gaga.data import load_dataset

EXAMPLES = Path(__file__).parents[2] / "examples"


def embedded(smiles, seed=7):
    """Atomic numbers and positions of a molecule by distance geometry and a force field."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(molecule, randomSeed=seed) == 0
    (AllChem.MMFFOptimizeMolecule if AllChem.MMFFHasAllMoleculeParams(molecule) else AllChem.UFFOptimizeMolecule)(
        molecule
    )
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], np.uint8)
    return numbers, molecule.GetConformer().GetPositions()


def side_by_side(first, second, gap):
    (z1, x1), (z2, x2) = first, second
    shift = np.array([x1[:, 0].max() - x2[:, 0].min() + gap, 0, 0])
    return np.concatenate([z1, z2]), np.concatenate([x1, x2 + shift])


@pytest.fixture(scope="module")
def qm9():
    return load_dataset("qm9").molecules


def test_real_molecules_pass(qm9):
    sample = qm9.take(np.random.default_rng(3).choice(len(qm9), 1000, replace=False))
    verdicts = [strict_verdict(*molecule) for molecule in sample]
    # All of QM9 gives 99.998 % valid; a thousand drawn from it may lose a few.
    assert np.mean([v.valid for v in verdicts]) >= 0.995
    assert np.mean([v.stable for v in verdicts]) >= 0.99


@pytest.mark.parametrize(
    "smiles",
    ["c1ccccc1", "c1ccc2[nH]ccc2c1", "O=C1C=CC(=O)O1", "C#CC#N", "CC(=O)Nc1ccc(O)cc1",
     "O=S(=O)(c1ccccc1)N1CCCC1", "FC(F)(F)c1ncccc1Cl", "CP(C)(C)=O", "C[Si](C)(C)C", "CSc1nccs1",
     "O=[N+]([O-])c1cc([N+](=O)[O-])cc([N+](=O)[O-])c1O", "CN=[N+]=[N-]", "[O-][n+]1ccccc1",
     "O=[N+]([O-])OCC(CO[N+](=O)[O-])O[N+](=O)[O-]", "C[N+](C)(C)[O-]", "OB(O)c1ccccc1", "COP(=O)(O)O",
     "Nc1ncnc2c1ncn2C1OC(COP(=O)(O)OP(=O)(O)OP(=O)(O)O)C(O)C1O", "Ic1ccccc1", "O=I(=O)c1ccccc1", "ClI(Cl)c1ccccc1",
     "C[As](C)C", "C[Hg]Cl", "C[Al](C)C", "C[Bi](C)C", "c1cc[se]c1", "CN=S(C)(=O)c1ccccc1", "NS(=O)(=O)c1ccccc1Br"],
)  # fmt: skip
def test_smiles_of_known_molecules(smiles):
    verdict = strict_verdict(*embedded(smiles))
    assert (verdict.valid, verdict.stable, verdict.reason) == (True, True, "")
    assert Chem.CanonSmiles(verdict.smiles) == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize("smiles", ["C[N+](=O)[O-]", "[NH3+]CC(=O)[O-]", "C[N+]#[C-]"])
def test_charges_are_found_and_cancel(smiles):
    numbers, positions = embedded(smiles)
    molecule = perceive(numbers, positions)
    assert sorted(a.GetFormalCharge() for a in molecule.GetAtoms() if a.GetFormalCharge()) == [-1, 1]
    assert Chem.GetFormalCharge(molecule) == 0
    assert Chem.CanonSmiles(strict_verdict(numbers, positions).smiles) == Chem.CanonSmiles(smiles)


def test_molecule_keeps_order_and_positions(qm9):
    numbers, positions = qm9[1000]
    molecule = perceive(numbers, positions)
    assert [atom.GetAtomicNum() for atom in molecule.GetAtoms()] == numbers.tolist()
    np.testing.assert_allclose(molecule.GetConformer().GetPositions(), positions, atol=1e-6)
    assert molecule.GetConformer().Is3D()


def test_two_molecules_are_not_connected():
    verdict = strict_verdict(*side_by_side(embedded("CCO"), embedded("C=O"), gap=4.0))
    assert (verdict.valid, verdict.connected, verdict.n_fragments) == (False, False, 2)
    assert verdict.stable  # each piece is sound by itself
    assert verdict.smiles is None
    assert verdict.reason == "in 2 pieces"


def test_missing_hydrogen_is_not_valid():
    numbers, positions = embedded("CCO")
    verdict = strict_verdict(numbers[:-1], positions[:-1])
    assert not (verdict.valid and verdict.stable)
    assert verdict.reason


def test_broken_bond_and_crowded_atoms_fail():
    numbers, positions = embedded("CCCC")
    torn = positions.copy()
    torn[0] += 5.0
    assert not strict_verdict(numbers, torn).valid
    assert not strict_verdict(numbers, positions * 0.6).valid


def test_noise_lowers_validity(qm9):
    rng = np.random.default_rng(5)
    sample = qm9.take(rng.choice(len(qm9), 150, replace=False))
    noisy = [strict_verdict(z, x + 0.3 * rng.normal(size=x.shape)) for z, x in sample]
    assert np.mean([v.valid and v.stable for v in noisy]) < 0.5


@pytest.mark.parametrize(
    ("numbers", "positions", "reason"),
    [
        (np.zeros(0, np.uint8), np.zeros((0, 3)), "no atoms"),
        (np.array([6, 1], np.uint8), np.full((2, 3), np.nan), "positions are not finite"),
        (np.array([6, 1], np.uint8), np.full((2, 3), np.inf), "positions are not finite"),
        (np.array([6, 1], np.uint8), np.array([[0, 0, 0], [0, 0, 1.1]]), "no bond orders fit"),
    ],
)
def test_what_is_no_molecule_says_why(numbers, positions, reason):
    verdict = strict_verdict(numbers, positions)
    assert (verdict.valid, verdict.stable, verdict.n_stable_atoms, verdict.reason) == (
        False,
        False,
        0,
        reason,
    )


def test_unknown_valence_names_the_atom():
    noble = strict_verdict(np.array([2], np.uint8), np.zeros((1, 3)))
    assert not noble.stable
    assert noble.reason


@pytest.mark.parametrize("n_atoms", [29, 60])
@pytest.mark.parametrize("elements", [(1, 6, 7, 8, 9), (6,), (7, 15, 16), (1, 6, 7, 8, 16, 17, 35)])
def test_garbage_takes_no_time(n_atoms, elements):
    rng = np.random.default_rng(n_atoms)
    for spread in (0.0, 0.3, 1.0, 2.0, 4.0):
        numbers = rng.choice(elements, n_atoms).astype(np.uint8)
        assert _seconds(numbers, spread * rng.normal(size=(n_atoms, 3))) < 1.0


@pytest.mark.parametrize("element", [7, 15, 16])
def test_chains_with_many_assignments_take_no_time(element):
    # Every atom of a zigzag of sulfur has several valences: without a limit, 3^60 of them are tried.
    n, length = 60, {7: 1.4, 15: 2.1, 16: 2.05}[element]
    zigzag = np.stack([0.85 * length * np.arange(n), 0.53 * length * (np.arange(n) % 2), np.zeros(n)], axis=1)
    assert _seconds(np.full(n, element, np.uint8), zigzag) < 1.0


def test_a_molecule_that_hung_rdkit_takes_no_time():
    # rdkit issue 9227: four sulfates and an azide have too many assignments to try them all.
    sulfates = "[N-]=[N+]=NCC1OC(OS(=O)(=O)[O-])C(OS(=O)(=O)[O-])C(OS(=O)(=O)[O-])C1OS(=O)(=O)[O-]"
    molecule = Chem.AddHs(Chem.MolFromSmiles(sulfates))
    assert AllChem.EmbedMolecule(molecule, randomSeed=1) == 0
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], np.uint8)
    assert _seconds(numbers, molecule.GetConformer().GetPositions()) < 1.0


def _seconds(numbers, positions):
    start = time.process_time()
    strict_verdict(numbers, positions)
    return time.process_time() - start


def test_fragments_are_counted_without_bond_orders():
    methane = embedded("C")
    assert count_fragments(*methane) == 1
    assert count_fragments(*side_by_side(methane, methane, gap=3.0)) == 2
    assert count_fragments(np.zeros(0, np.uint8), np.zeros((0, 3))) == 0


def test_table_has_common_valences_and_no_radicals():
    table = allowed_valences()
    assert {(1, 0, 0, 1), (6, 0, 0, 4), (6, 0, 3, 0), (7, 1, 0, 4), (8, -1, 0, 1), (16, 0, 0, 6)} <= table
    assert not {(6, 0, 0, 3), (6, 1, 0, 3), (1, 1, 0, 0), (8, 0, 0, 1), (6, 0, 0, 5)} & table


@pytest.mark.parametrize("name", ["mosesaq_xtb_1000", "gdb17_xtb_1000"])
def test_true_drug_like_molecules_pass(name):
    molecules = load_dataset(EXAMPLES / f"{name}.sdf.gz").molecules
    verdicts = [strict_verdict(*molecule) for molecule in molecules]
    # Of the latter, two came apart when they were relaxed.
    assert sum(verdict.valid for verdict in verdicts) >= 998
    assert all(verdict.stable for verdict in verdicts)


def test_thermal_noise_does_not_change_the_molecule():
    rng = np.random.default_rng(0)
    molecules = load_dataset(EXAMPLES / "mosesaq_xtb_1000.sdf.gz").molecules.take(np.arange(60))
    same = [
        strict_verdict(z, x).smiles == strict_verdict(z, x + 0.05 * rng.normal(size=x.shape)).smiles
        for z, x in molecules
    ]
    assert np.mean(same) > 0.93


def test_valences_count_aromatic_bonds_apart():
    benzene = perceive(*embedded("c1ccccc1"))
    assert set(atom_valences(benzene)) == {(6, 0, 2, 1), (1, 0, 0, 1)}
