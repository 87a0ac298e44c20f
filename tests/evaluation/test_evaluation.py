from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import InvalidInput, NotFound
from gaga.core.molecules import pack
from gaga.data import load_dataset
from gaga.evaluation import Evaluation, Verdicts, evaluate
from gaga.evaluation.rates import rates_of
from gaga.evaluation.reference import hash_smiles, marked, shipped_reference
from gaga.storage.store import Store

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)


def methane():
    return np.array([6, 1, 1, 1, 1]), np.concatenate([np.zeros((1, 3)), 1.09 * TETRAHEDRON])


def neopentane_core():
    """C(C)(C)(C)C without hydrogens: valid with implicit ones, one stable atom of five."""
    return np.full(5, 6), np.concatenate([np.zeros((1, 3)), 1.54 * TETRAHEDRON])


def five_hydrogens():
    numbers, positions = methane()
    return np.append(numbers, 1), np.concatenate([positions, [[-0.6, -0.6, -0.6]]])


def two_methanes():
    numbers, positions = methane()
    return np.tile(numbers, 2), np.concatenate([positions, positions + np.array([6.0, 0, 0])])


def nothing():
    return np.zeros(0), np.zeros((0, 3))


@pytest.fixture(scope="module")
def by_hand():
    makers = [methane, methane, neopentane_core, five_hydrogens, two_methanes, nothing]
    return evaluate(pack([maker() for maker in makers]), protocol="edm")


def test_verdicts_by_hand(by_hand):
    verdicts = by_hand.verdicts
    assert verdicts.stable.tolist() == [True, True, False, False, True, False]
    assert verdicts.valid.tolist() == [True, True, True, False, True, False]
    assert verdicts.connected.tolist() == [True, True, True, True, False, False]
    assert verdicts.n_atoms.tolist() == [5, 5, 5, 6, 10, 0]
    assert verdicts.n_stable_atoms.tolist() == [5, 5, 1, 5, 10, 0]
    assert verdicts.smiles[0] == "[H]C([H])([H])[H]" == verdicts.smiles[4]
    assert verdicts.smiles[3] == verdicts.smiles[5] == ""


def test_rates_by_hand(by_hand):
    counted = {name: (rate.numerator, rate.denominator) for name, rate in by_hand.rates.items()}
    assert counted == {
        "atom_stable": (26, 31),
        "molecule_stable": (3, 6),
        "valid": (4, 6),
        "connected": (4, 6),
        "unique": (2, 4),
        "valid_and_unique": (2, 6),
        "novel": (counted["novel"][0], 2),
    }
    assert by_hand.n_unreadable == 1
    assert all(rate.low <= rate.value <= rate.high for _, rate in by_hand.rates.items())


def test_novelty_counts_distinct_smiles_that_training_lacks():
    smiles = ("C", "C", "CC", "", "CCC")
    verdicts = Verdicts(*(np.ones(5, np.int64),) * 2, *(np.array([s != "" for s in smiles]),) * 3, smiles, ("",) * 5)
    reference = shipped_reference("qm9", "strict").reference
    known = type(reference)(reference.lengths, reference.angles, reference.sizes, np.sort(hash_smiles(["C", "O"])))
    novel = rates_of(marked(verdicts, known), np.random.default_rng(0)).novel
    assert (novel.numerator, novel.denominator, novel.of) == (2, 3, "distinct valid molecules")


def test_without_reference_there_is_neither_novelty_nor_distance():
    evaluation = evaluate(pack([methane()]), reference=None)
    assert evaluation.rates.novel.denominator == 0
    assert evaluation.bond_lengths.kinds == ()
    assert np.isnan(evaluation.sizes)
    assert evaluation.real_data is None


def test_seed_fixes_the_intervals():
    molecules = pack([methane(), five_hydrogens()] * 10)
    first, second, other = (evaluate(molecules, seed=seed).rates for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize("protocol", ["edm", "strict"])
def test_real_data_row_comes_out_again_on_a_part_of_it(protocol):
    dataset = load_dataset("qm9")
    part = np.random.default_rng(1).choice(dataset.splits["test"], 600, replace=False)
    evaluation = evaluate(dataset.molecules.take(part), protocol=protocol)
    row = evaluation.real_data
    for name, rate in evaluation.rates.items():
        expected = getattr(row.rates, name).value
        # Four standard errors of 600 molecules; uniqueness hardly depends on so small a part.
        error = max(np.sqrt(expected * (1 - expected) / 600), 1 / 600)
        assert abs(rate.value - expected) < 4 * error, name
    assert evaluation.bond_lengths.mean < 0.005
    assert evaluation.bond_angles.mean < 1.0
    assert evaluation.sizes < 0.5


def test_noise_moves_every_number_the_right_way():
    dataset = load_dataset("qm9")
    real = dataset.molecules.take(dataset.splits["test"][:200])
    shaken = type(real)(
        (real.positions + 0.1 * np.random.default_rng(0).normal(size=real.positions.shape)).astype(np.float32),
        real.atomic_numbers,
        real.offsets,
    )
    before, after = evaluate(real), evaluate(shaken)
    assert after.rates.molecule_stable.high < before.rates.molecule_stable.low
    assert after.bond_lengths.mean > 3 * before.bond_lengths.mean
    assert after.bond_angles.mean > 3 * before.bond_angles.mean
    assert after.sizes == before.sizes


XYZ = """3

O 0.0 0.0 0.0
H 0.7589 0.5888 0.0
H -0.7589 0.5888 0.0
3

O 0.0 0.0 nan
H 0.7589 0.5888 0.0
H -0.7589 0.5888 0.0
"""


def test_file_and_its_failures(tmp_path):
    path = tmp_path / "two.xyz"
    path.write_text(XYZ)
    for protocol in ("edm", "strict"):
        evaluation = evaluate(path, protocol=protocol)
        assert (evaluation.n_molecules, evaluation.n_unreadable) == (2, 1)
        assert (evaluation.rates.valid.numerator, evaluation.rates.valid.denominator) == (1, 2)


def test_mirror_images_are_one_molecule_with_two_stereo_smiles():
    numbers = np.array([6, 1, 9, 17, 35])
    positions = np.concatenate([np.zeros((1, 3)), np.array([[1.09], [1.36], [1.77], [1.95]]) * TETRAHEDRON])
    both = pack([(numbers, positions), (numbers, positions * [1, 1, -1])])
    verdicts = evaluate(both, protocol="strict").verdicts
    assert verdicts.smiles == ("FC(Cl)Br",) * 2
    assert set(verdicts.stereo) == {"F[C@H](Cl)Br", "F[C@@H](Cl)Br"}
    assert verdicts.unique.tolist() == [True, False]
    assert evaluate(both).verdicts.stereo is None


def test_atoms_of_molecules_that_are_not_finite_are_not_stable(tmp_path):
    """Also if the record has none and only says how many there were, as `gaga sample` writes it."""
    from gaga.chem.io import Record, open_writer

    water = np.array([[0.0, 0, 0], [0.7589, 0.5888, 0], [-0.7589, 0.5888, 0]])
    none = Record(np.zeros(0, np.uint8), np.zeros((0, 3)), name="gaga-0-1", properties={"not_finite": "29 atoms"})
    with open_writer(tmp_path / "m.sdf") as writer:
        writer.write(Record(np.array([8, 1, 1], np.uint8), water))
        writer.write(none)
    (tmp_path / "m.xyz").write_text(XYZ)
    for name, n_atoms in (("m.sdf", 32), ("m.xyz", 6)):
        evaluation = evaluate(tmp_path / name)
        rate = evaluation.rates.atom_stable
        assert (rate.numerator, rate.denominator, evaluation.n_unreadable) == (3, n_atoms, 1)
        assert evaluation.verdicts.reasons == ("", "non-finite coordinates")


def test_bonds_in_a_file_are_not_trusted(tmp_path):
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles("CC"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    editable = Chem.RWMol(molecule)
    editable.RemoveBond(0, 1)
    (tmp_path / "torn.sdf").write_text(Chem.MolToMolBlock(editable) + "$$$$\n")
    evaluation = evaluate(str(tmp_path / "torn.sdf"), protocol="strict")
    assert evaluation.verdicts.smiles == ("CC",)


def test_examples_of_drugs():
    molecules = load_dataset(Path(__file__).parents[2] / "examples" / "mosesaq_xtb_1000.sdf.gz").molecules
    drugs = evaluate(molecules.take(np.arange(0, len(molecules), 4)), protocol="strict", workers=1)
    assert drugs.rates.valid.value > 0.99
    assert drugs.rates.molecule_stable.value > 0.99
    assert drugs.rates.novel.value > 0.99


def test_wrong_input_is_one_clear_error(tmp_path):
    with pytest.raises(InvalidInput, match="no molecules to evaluate"):
        evaluate(pack([]))
    with pytest.raises(NotFound):
        evaluate(tmp_path / "none.sdf")
    with pytest.raises(NotFound, match="no reference"):
        evaluate(pack([methane()]), reference="zinc")
    with pytest.raises(InvalidInput, match="unknown protocol"):
        evaluate(pack([methane()]), protocol="loose")


def test_store_gives_back_what_it_took(by_hand, tmp_path):
    store = Store(tmp_path / "results.h5", shipped=False)
    store.put("evaluation", "by_hand", by_hand, config={"protocol": "edm"}, seed=0)
    back = store.get("evaluation", "by_hand", Evaluation)
    assert back.rates == by_hand.rates
    assert back.verdicts.smiles == by_hand.verdicts.smiles
    np.testing.assert_array_equal(back.verdicts.valid, by_hand.verdicts.valid)
    assert back.bond_lengths.kinds == by_hand.bond_lengths.kinds
    np.testing.assert_array_equal(back.bond_lengths.distances, by_hand.bond_lengths.distances)
    assert back.real_data == by_hand.real_data
