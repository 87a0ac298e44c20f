from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga.benchmark import rows as rows_of
from gaga.benchmark.flops import useful_flops
from gaga.benchmark.parity import TOLERANCES, Agreement, Variant
from gaga.benchmark.rows import Sampling, Steps, fitting, measure_rows, padded_bytes
from gaga.benchmark.shapes import Batch
from gaga.benchmark.steps import Recorder
from gaga.core.errors import Unavailable
from gaga.models.network.parameters import EGNNConfig
from tests.benchmark.conftest import CPU, tiny_case
from tests.benchmark.test_results import a_row

NAIVE, TORCH = Variant(kernel="naive"), Variant(kernel="torch")
AGREES = Agreement(shape="qm9", kernel="any", precision="float32", tolerance=TOLERANCES["float32"])
WRONG, NOWHERE = replace(AGREES, refused="off by 1.0e-01"), replace(AGREES, unavailable="no such device")
SIZES = np.array([4, 7, 9, 5, 3, 3, 2, 8])


def steps_of(case) -> Steps:
    return Steps(case=case, batch=Batch.of(case.shape, SIZES, 0), recorder=Recorder(CPU))


@pytest.mark.parametrize("work", ["train", "forward"])
def test_every_kernel_is_timed(work):
    seen = []
    case = tiny_case(f"qm9-{work}")
    rows = measure_rows(
        steps_of(case), {NAIVE: AGREES, TORCH: AGREES}, CPU, 2, progress=lambda done, total, note="": seen.append(note)
    )
    assert [(row.kernel, row.state, row.rounds) for row in rows] == [("naive", "measured", 2), ("torch", "measured", 2)]
    for row in rows:
        assert 0 < row.low <= row.seconds <= row.high
        assert (row.batch, row.molecules, row.atoms, row.edges) == (8, 8, 41, 216)
        assert row.useful_flops == useful_flops(case.shape.network, SIZES, training=work == "train")
    assert seen[-1] == "round 2 of 2"


def test_a_kernel_that_disagrees_or_cannot_run_is_not_run(monkeypatch):
    opened = []
    right = Variant.network
    monkeypatch.setattr(Variant, "network", lambda variant, *a: opened.append(variant.kernel) or right(variant, *a))
    agreements = {TORCH: WRONG, Variant(kernel="triton"): NOWHERE, NAIVE: AGREES}
    rows = measure_rows(steps_of(tiny_case("qm9-train")), agreements, CPU, 1)
    assert [(row.kernel, row.state, row.note) for row in rows] == [
        ("torch", "refused", "off by 1.0e-01"),
        ("triton", "unavailable", "no such device"),
        ("naive", "measured", ""),
    ]
    assert rows[0].seconds is None
    assert opened == ["naive"]


def test_a_kernel_that_breaks_loses_no_other_row(break_torch):
    break_torch("raises")
    rows = measure_rows(steps_of(tiny_case("qm9-forward")), {NAIVE: AGREES, TORCH: AGREES}, CPU, 1)
    assert [row.state for row in rows] == ["measured", "refused"]
    assert rows[1].note == "RuntimeError: misaligned address"


@pytest.mark.parametrize(
    ("error", "state", "note"),
    [
        (Unavailable("no such device", remedy="use another"), "unavailable", "no such device"),
        (torch.OutOfMemoryError("CUDA out of memory"), "unavailable", "does not fit the memory of the device"),
        (ValueError("odd\n shape"), "refused", "ValueError: odd shape"),
    ],
)
def test_errors_become_rows(monkeypatch, error, state, note):
    def fails(*arguments):
        raise error

    monkeypatch.setattr(Variant, "network", fails)
    (row,) = measure_rows(steps_of(tiny_case("qm9-forward")), {TORCH: AGREES}, CPU, 1)
    assert (row.state, row.note) == (state, note)


def test_an_interrupt_is_no_row(monkeypatch):
    def fails(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Variant, "network", fails)
    with pytest.raises(KeyboardInterrupt):
        measure_rows(steps_of(tiny_case("qm9-forward")), {TORCH: AGREES}, CPU, 1)


def test_naive_gets_as_many_molecules_as_fit(monkeypatch):
    case = tiny_case("qm9-train")
    batch = Batch.of(case.shape, SIZES, 0)

    def needed(n):
        return padded_bytes(case.shape.network, SIZES[:n], None, training=True)

    enough = int(needed(8) / 0.6) + 1
    assert len(fitting(case, NAIVE, batch, enough).n_atoms) == 8
    assert len(fitting(case, NAIVE, batch, enough - 10).n_atoms) == 4
    assert len(fitting(case, NAIVE, batch, int(needed(1) / 0.6) + 1).n_atoms) == 1
    assert fitting(case, TORCH, batch, 1) is batch
    assert fitting(case, NAIVE, batch, None) is batch
    with pytest.raises(Unavailable, match="one molecule would take about"):
        fitting(case, NAIVE, batch, 100)
    monkeypatch.setattr(rows_of, "available_memory", lambda device: enough - 10)
    (row,) = measure_rows(steps_of(case), {NAIVE: AGREES}, CPU, 1)
    assert (row.batch, row.molecules, row.atoms) == (8, 4, 25)
    assert row.molecules_per_second == pytest.approx(4 / row.seconds)


def test_padded_bytes():
    """64 molecules of up to 24 atoms, 18 edge networks: 6 GB of activations, as plain PyTorch was measured to keep."""
    config = EGNNConfig(features=5)
    sizes = np.array([18] * 63 + [24])
    assert padded_bytes(config, sizes, None, training=True) == pytest.approx(5.4e9, rel=0.02)
    assert padded_bytes(config, sizes, 48, training=True) == 4 * padded_bytes(config, sizes, None, training=True)
    assert padded_bytes(config, sizes, None, training=True) == 18 * padded_bytes(config, sizes, None, training=False)


def sampling_of(steps: int, **about) -> Sampling:
    case = tiny_case("qm9-sampling")
    case = replace(case, shape=replace(case.shape, steps=steps))
    return Sampling(case=case, device=CPU, **about)


def test_a_whole_run_is_extrapolated_from_the_time_of_a_step():
    """0.2 s a step and 0.5 s around all steps, for ten molecules; a hundred with 1.5 times the work of each."""
    work = sampling_of(50, n_molecules=10, run_molecules=100)
    flops = replace(work, n_molecules=100).blank(TORCH).useful_flops
    row = work.extrapolated(a_row(useful_flops=flops / 15), np.array([[0.7, 0.7, 5.0], [1.5, 1.5, 5.8]]))
    assert row.seconds == pytest.approx(0.2)
    assert row.run_seconds == pytest.approx(0.2 * 50 * 15 + 0.5 * 10)
    assert row.molecules_per_second == pytest.approx(100 / row.run_seconds)
    assert (row.extrapolated, row.note) == (True, "from 1 and 5 steps")


def test_steps_that_are_lost_in_the_noise_give_no_figure():
    row = sampling_of(50, n_molecules=10).extrapolated(a_row(state="unavailable"), np.array([[1.0], [0.9]]))
    assert (row.state, row.seconds, row.run_seconds) == ("unavailable", None, None)
    assert "too short" in row.note


def test_rows_of_the_sampler():
    work = sampling_of(50, n_molecules=6, run_molecules=100)
    naive, torch = measure_rows(work, {NAIVE: AGREES, TORCH: WRONG}, CPU, 3)
    assert (naive.state, naive.rounds, naive.extrapolated) == ("measured", 3, True)
    assert naive.run_seconds > 10 * naive.seconds
    assert (torch.state, torch.run_seconds, torch.run_steps) == ("refused", None, 50)
    assert (torch.atoms, torch.useful_flops) == (naive.atoms, naive.useful_flops)


def test_a_run_in_full_takes_all_steps_of_all_molecules():
    work = sampling_of(3, n_molecules=2, batch_size=4, seed=1, full=True, run_molecules=5)
    (row,) = measure_rows(work, {TORCH: AGREES}, CPU, 3)
    assert (row.state, row.note, row.extrapolated, row.rounds) == ("measured", "run in full", False, 1)
    assert row.molecules == 5
    assert row.seconds == pytest.approx(row.run_seconds / 3)
    assert row.molecules_per_second == pytest.approx(5 / row.run_seconds)
    assert row.useful_flops > useful_flops(work.case.shape.network, np.array([3] * 5))


def test_on_a_device_the_first_steps_do_not_count():
    short, long = replace(sampling_of(50, n_molecules=2), device=torch.device("cuda")).n_steps
    assert 5 <= short < long
