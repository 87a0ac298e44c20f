from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gaga.chem import poses as chem_poses
from gaga.core.errors import Unavailable
from gaga.core.molecules import pack
from gaga.data import load_dataset
from gaga.evaluation.parts import Task
from gaga.evaluation.poses import PoseChecks, _check_part, _summary, check_poses
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


def test_where_it_is_not_installed_is_a_line(monkeypatch):
    monkeypatch.setattr(chem_poses, "PACKAGE", "no_such_package")
    with pytest.raises(Unavailable, match=r"posebusters is not installed\. Install it with pip install 'gaga-mol"):
        check_poses(pack([WATER]))


def test_rates_count_what_is_not_valid_and_what_cannot_be_checked(posebusters, tmp_path):
    molecules = pack([WATER, METHANE, APART, NOTHING, HYDROGEN])
    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        found = check_poses(molecules, workers=1, pieces=journal)
        assert len(journal) == 2
        again = check_poses(molecules, workers=1, pieces=journal)
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
    found = _check_part(Task(pack([HYDROGEN, HYDROGEN]), given_up=frozenset({1})))
    checks = _summary(found, 2, np.arange(2), 0, "9.9")
    assert checks.passed.tolist() == [[True] * 3, [False] * 3]
    assert (checks.passes_all.numerator, checks.passes_all.denominator) == (1, 2)


def test_nothing_valid_passes_nothing(posebusters):
    checks = _summary([None, None], 2, np.arange(2), 0, "9.9")
    assert checks.checks == ()
    assert checks.passed.shape == (2, 0)
    assert (checks.passes_all.numerator, checks.passes_all.denominator) == (0, 2)


@pytest.mark.skipif(find_spec("posebusters") is None, reason="the package posebusters is not installed")
def test_the_package_itself_passes_a_true_molecule():
    drug = load_dataset(Path(__file__).parents[2] / "examples" / "mosesaq_xtb_1000.sdf.gz").molecules[0]
    found = check_poses(pack([drug, APART]), workers=1)
    assert {"bond_lengths", "bond_angles", "internal_steric_clash", "internal_energy"} <= set(found.checks)
    assert found.passed.all(axis=1).tolist() == [True, False]
    assert (found.passes_all.numerator, found.passes_all.denominator) == (1, 2)
