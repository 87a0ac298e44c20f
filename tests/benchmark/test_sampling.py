import numpy as np
import pytest

from gaga.benchmark.flops import useful_flops
from gaga.benchmark.sampling import Run, extrapolated, measure_sampling, steps_on
from gaga.benchmark.timing import Rounds
from gaga.benchmark.variants import Variant
from tests.benchmark.conftest import CPU, tiny_case
from tests.benchmark.test_report import a_row
from tests.benchmark.test_steps import AGREES, WRONG

NAIVE, TORCH = Variant(kernel="naive"), Variant(kernel="torch")
RUN = Run(molecules=100, steps=50, batch_size=None, seed=0)


def test_a_whole_run_is_extrapolated_from_the_time_of_a_step():
    """0.2 s a step and 0.5 s around all steps, for ten molecules; a hundred with 1.5 times the work of each."""
    short, long = np.array([0.9, 0.9, 5.0]), np.array([2.1, 2.1, 6.2])
    row = extrapolated(a_row(useful_flops=1000), short, long, (2, 8), RUN, 15_000)
    assert row.seconds == pytest.approx(0.2)
    assert row.run_seconds == pytest.approx(0.2 * 50 * 15 + 0.5 * 10)
    assert row.molecules_per_second == pytest.approx(100 / row.run_seconds)
    assert (row.extrapolated, row.note) == (True, "from 2 and 8 steps")


def test_steps_that_are_lost_in_the_noise_give_no_figure():
    row = extrapolated(a_row(state="unavailable"), np.array([1.0]), np.array([0.9]), (2, 8), RUN, 10**9)
    assert (row.state, row.seconds, row.run_seconds) == ("unavailable", None, None)
    assert "too short" in row.note


def test_rows_of_the_sampler():
    case = tiny_case("qm9-sampling")
    variants = {NAIVE: AGREES, TORCH: WRONG}
    naive, torch = measure_sampling(case, 6, variants, CPU, Rounds(n=3), RUN)
    assert (naive.state, naive.rounds, naive.extrapolated) == ("measured", 3, True)
    assert naive.run_seconds > 10 * naive.seconds
    assert (torch.state, torch.run_seconds, torch.run_steps) == ("refused", None, 50)
    assert (torch.atoms, torch.useful_flops) == (naive.atoms, naive.useful_flops)


def test_a_run_in_full_takes_all_steps_of_all_molecules():
    case = tiny_case("qm9-sampling")
    run = Run(molecules=5, steps=3, batch_size=4, seed=1)
    (row,) = measure_sampling(case, 2, {TORCH: AGREES}, CPU, Rounds(n=3), run, full=True)
    assert (row.state, row.note, row.extrapolated, row.rounds) == ("measured", "run in full", False, 1)
    assert row.molecules == 5
    assert row.seconds == pytest.approx(row.run_seconds / 3)
    assert row.molecules_per_second == pytest.approx(5 / row.run_seconds)
    assert row.useful_flops > useful_flops(case.shape.network, np.array([3] * 5))


def test_on_a_device_the_first_steps_do_not_count():
    import torch

    short, long = steps_on(torch.device("cuda"))
    assert 5 <= short < long
