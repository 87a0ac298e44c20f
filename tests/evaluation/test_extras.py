from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gaga.chem import poses as chem_poses
from gaga.chem import xtb as chem_xtb
from gaga.core.errors import InvalidInput, Unavailable
from gaga.core.molecules import pack
from gaga.data import load_dataset
from gaga.evaluation import extras
from gaga.evaluation.chunks import Chunk
from gaga.evaluation.extras import PoseChecks, Relaxation, check_sample, drawn
from gaga.storage.partial import PartialFile
from gaga.storage.store import Store

WATER = (np.array([8, 1, 1]), np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]]))
METHANE = (
    np.array([6, 1, 1, 1, 1]),
    0.629 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], dtype=float),
)
HYDROGEN = (np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))
APART = (np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 5.0]]))
NOTHING = (np.zeros(0), np.zeros((0, 3)))
needs_program = pytest.mark.skipif(chem_xtb.available() is None, reason="the program xtb is not installed")


def test_posebusters_not_installed_is_a_line(monkeypatch):
    monkeypatch.setattr(chem_poses, "PACKAGE", "no_such_package")
    with pytest.raises(Unavailable, match=r"posebusters is not installed\. Install it with pip install 'gaga-mol"):
        check_sample("posebusters", pack([WATER]))


def test_rates_count_what_is_not_valid_and_what_cannot_be_checked(posebusters, tmp_path):
    molecules = pack([WATER, METHANE, APART, NOTHING, HYDROGEN])
    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        found = check_sample("posebusters", molecules, workers=1, pieces=journal)
        assert len(journal) == 2
        again = check_sample("posebusters", molecules, workers=1, pieces=journal)
    assert found.posebusters == "9.9"
    assert found.checks == again.checks == ("bond_lengths", "small", "internal_energy")
    assert found.valid.tolist() == again.valid.tolist() == [True, True, False, False, True]
    by_check = [[True, True, False], [True, False, True], [False] * 3, [False] * 3, [True] * 3]
    assert found.passed.tolist() == again.passed.tolist() == by_check
    assert (found.passes_all.numerator, found.passes_all.denominator) == (1, 5)
    assert [(r.numerator, r.denominator, r.of) for r in found.rates] == [
        (3, 3, "valid molecules drawn"),
        (2, 3, "valid molecules drawn"),
        (2, 3, "valid molecules drawn"),
    ]
    store = Store(tmp_path / "results.h5", shipped=False)
    store.put("posebusters", "five", found, config={}, seed=0)
    assert store.get("posebusters", "five", PoseChecks).passes_all == found.passes_all


def test_a_molecule_that_took_too_long_passes_nothing(posebusters):
    chunk = Chunk(pack([HYDROGEN, HYDROGEN]), skipped=frozenset({1}))
    checks = pose_checks(extras._check_chunk("posebusters", 9.0, chunk))
    assert checks.passed.tolist() == [[True] * 3, [False] * 3]
    assert (checks.passes_all.numerator, checks.passes_all.denominator) == (1, 2)


def test_nothing_valid_passes_nothing(posebusters):
    checks = pose_checks(extras._poses_to_piece([None, None]))
    assert checks.checks == ()
    assert checks.passed.shape == (2, 0)
    assert (checks.passes_all.numerator, checks.passes_all.denominator) == (0, 2)


def pose_checks(piece):
    return extras._pose_checks([piece], n_molecules=2, indices=np.arange(2), seed=0)


@pytest.mark.skipif(find_spec("posebusters") is None, reason="the package posebusters is not installed")
def test_the_package_itself_passes_a_true_molecule():
    drugs = load_dataset(Path(__file__).parents[2] / "examples" / "mosesaq_xtb_1000.sdf.gz").molecules
    drug = drugs[int(drugs.n_atoms.argmin())]
    found = check_sample("posebusters", pack([drug, APART]), workers=1)
    assert {"bond_lengths", "bond_angles", "internal_steric_clash", "internal_energy"} <= set(found.checks)
    assert found.passed.all(axis=1).tolist() == [True, False]
    assert (found.passes_all.numerator, found.passes_all.denominator) == (1, 2)


def test_xtb_not_installed_is_a_line(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="xtb is not installed"):
        check_sample("relaxation", pack([WATER]))


def test_energies_and_what_was_not_relaxed(xtb, tmp_path):
    molecules = pack([WATER, METHANE, APART, WATER])
    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        found = check_sample("relaxation", molecules, workers=1, pieces=journal)
        assert len(journal) == 2
        again = check_sample("relaxation", molecules, workers=1, pieces=journal)
    gained = chem_xtb.HARTREE * np.array([0.03, 0.05, np.nan, 0.03])  # the stand-in's -5.03 and -5.05 Hartree
    np.testing.assert_allclose(found.energies, gained, rtol=1e-9)
    np.testing.assert_array_equal(found.energies, again.energies)
    assert found.reasons == again.reasons == ("", "", "not valid", "")
    assert found.valid.tolist() == [True, True, False, True]
    np.testing.assert_allclose(found.rmsds[[0, 1, 3]], 0, atol=1e-7)
    assert (found.relaxed.numerator, found.relaxed.denominator) == (3, 4)
    assert found.median_energy.estimate == pytest.approx(gained[0])
    assert found.mean_energy.estimate == pytest.approx(np.nanmean(gained))
    assert found.mean_energy.low <= found.mean_energy.estimate <= found.mean_energy.high
    store = Store(tmp_path / "results.h5", shipped=False)
    store.put("relaxation", "four", found, config={}, seed=0)
    back = store.get("relaxation", "four", Relaxation)
    np.testing.assert_array_equal(back.energies, found.energies)
    assert back.median_rmsd == found.median_rmsd


def test_none_relaxed_is_no_number(xtb):
    found = check_sample("relaxation", pack([APART]), workers=1)
    assert (found.relaxed.numerator, found.relaxed.denominator) == (0, 1)
    assert np.isnan([found.median_energy.estimate, found.mean_rmsd.low]).all()


def test_wrong_arguments(xtb):
    with pytest.raises(InvalidInput, match="a sample has molecules"):
        check_sample("relaxation", pack([WATER]), sample_size=0)
    with pytest.raises(InvalidInput, match="no molecules"):
        check_sample("relaxation", pack([]))
    with pytest.raises(InvalidInput, match="more than nothing"):
        check_sample("relaxation", pack([WATER]), time_limit=0.0)


def test_a_larger_sample_holds_the_smaller_ones():
    molecules = pack([WATER] * 20)
    samples = [set(drawn(molecules, n, 3).tolist()) for n in (3, 7, 20, 500)]
    assert [len(sample) for sample in samples] == [3, 7, 20, 20]
    assert samples[0] < samples[1] < samples[2]
    assert samples[1] != set(drawn(molecules, 7, 4).tolist())


@needs_program
def test_the_program_itself_relaxes_a_stretched_molecule_to_where_the_relaxed_one_stays():
    numbers, positions = WATER
    found = check_sample("relaxation", pack([WATER, (numbers, 1.08 * positions)]), workers=1)
    assert 0 <= found.energies[0] < 1.0 < found.energies[1] < 40
    assert found.rmsds[0] < 0.03 < found.rmsds[1] < 0.1
