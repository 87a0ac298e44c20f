import time

import numpy as np
import pytest

from gaga.benchmark.timing import Rounds, interleave, repeats_for, seconds_of
from tests.benchmark.conftest import CPU


def test_runs_take_turns():
    order = []
    runs = [lambda i=i: order.append("ABC"[i]) for i in range(3)]
    seen = []
    seconds = interleave(runs, [1.0] * 3, CPU, Rounds(n=2), lambda done, total, note="": seen.append((done, total)))
    assert "".join(order) == "ABCABC"
    assert seconds.shape == (3, 2)
    assert seen == [(k, 6) for k in range(1, 7)]


def test_short_steps_are_repeated_within_a_round():
    calls = []
    seconds = interleave([lambda: calls.append(time.sleep(0.004))], [0.02], CPU, Rounds(n=1))
    assert len(calls) == 5
    assert 0.004 <= seconds[0, 0] < 0.02  # of one call


@pytest.mark.parametrize(("seconds", "repeats"), [(3.0, 1), (0.1, 1), (0.03, 4), (1e-9, 1000), (0.0, 1000)])
def test_repeats(seconds, repeats):
    assert repeats_for(seconds) == repeats


@pytest.mark.parametrize(
    ("rounds", "seconds", "n"),
    [
        (Rounds(n=5), 1e9, 5),
        (Rounds(n=5, budget_s=10.0), 2.0, 5),
        (Rounds(n=5, budget_s=10.0), 3.0, 3),
        (Rounds(n=5, budget_s=10.0), 30.0, 2),
        (Rounds(n=1, budget_s=10.0), 30.0, 1),
    ],
)
def test_rounds_fit_the_budget_but_there_are_two(rounds, seconds, n):
    assert rounds.affordable(seconds) == n


def test_seconds_are_of_one_call():
    assert np.isclose(seconds_of(lambda: time.sleep(0.02), CPU, 3), 0.02, rtol=0.5)
