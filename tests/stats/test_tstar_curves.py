import numpy as np
import pytest

from gaga.stats.tstar_curves import first_lasting, first_run, steps_at


def row(text):
    return np.array([c == "1" for c in text])


@pytest.mark.parametrize(("text", "index"), [("11111", 0), ("01011", 3), ("00001", 4), ("11110", 5), ("00000", 5)])
def test_first_step_from_which_all_pass(text, index):
    assert first_lasting(row(text)) == index
    assert first_lasting(np.stack([row(text)] * 3)).tolist() == [index] * 3


@pytest.mark.parametrize(("text", "two", "three"), [("11000", 0, 5), ("01011", 3, 5), ("01110", 1, 1), ("00001", 5, 5)])
def test_first_run(text, two, three):
    passes = row(text)[None]
    assert first_run(passes, 2).tolist() == [two]
    assert first_run(passes, 3).tolist() == [three]


def test_no_step_is_infinitely_late():
    assert steps_at(np.array([0, 2, 1]), np.array([50, 100])).tolist() == [50, np.inf, 100]
