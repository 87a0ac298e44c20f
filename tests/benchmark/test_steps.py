import numpy as np
import pytest
import torch

from gaga.benchmark import steps
from gaga.benchmark.batches import Batch
from gaga.benchmark.flops import published_flops
from gaga.benchmark.memory import padded_bytes
from gaga.benchmark.parity import TOLERANCES, Agreement
from gaga.benchmark.steps import fitting, measure_steps
from gaga.benchmark.timing import Rounds
from gaga.benchmark.variants import Variant
from gaga.core.errors import Unavailable
from tests.benchmark.conftest import CPU, tiny_case

NAIVE, TORCH = Variant(kernel="naive"), Variant(kernel="torch")
AGREES = Agreement(shape="qm9", kernel="any", precision="float32", tolerance=TOLERANCES["float32"])
WRONG = Agreement(
    shape="qm9", kernel="any", precision="float32", tolerance=TOLERANCES["float32"], refused="off by 1.0e-01"
)
SIZES = np.array([4, 7, 9, 5, 3, 3, 2, 8])


def batch_of(case):
    return Batch.of(case.shape, SIZES, 0)


@pytest.mark.parametrize("work", ["train", "forward"])
def test_every_kernel_is_timed_and_counted(work):
    case = tiny_case(f"qm9-{work}")
    seen = []
    rows, profiles = measure_steps(
        case, batch_of(case), {NAIVE: AGREES, TORCH: AGREES}, CPU, Rounds(n=2), profiled=True,
        progress=lambda done, total, note="": seen.append(note),
    )  # fmt: skip
    assert [(row.kernel, row.state, row.rounds) for row in rows] == [("naive", "measured", 2), ("torch", "measured", 2)]
    for row in rows:
        assert 0 < row.low <= row.seconds <= row.high
        assert (row.batch, row.molecules, row.atoms, row.edges) == (8, 8, 41, 216)
    published = published_flops(case.shape.network, 8, 9)
    passes = rows[0].counted_flops / published
    assert passes == 1 if work == "forward" else 2.5 < passes < 3
    assert rows[1].counted_flops < rows[0].counted_flops
    assert [profile.kernel for profile in profiles] == ["naive", "torch"]
    assert seen[-1] == "round 2 of 2"


def test_counting_sees_the_work_of_every_thread():
    case = tiny_case("qm9-train")
    counted = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            (row,), _ = measure_steps(case, batch_of(case), {TORCH: AGREES}, CPU, Rounds(n=1))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
        counted.append(row.counted_flops)
    assert counted[0] == counted[1] > 0


def test_a_kernel_that_disagrees_is_not_run(monkeypatch):
    case = tiny_case("qm9-train")
    opened = []
    right = steps.train_step
    monkeypatch.setattr(steps, "train_step", lambda *a: opened.append(a[2].kernel) or right(*a))
    rows, _ = measure_steps(case, batch_of(case), {TORCH: WRONG, NAIVE: AGREES}, CPU, Rounds(n=1))
    assert [(row.kernel, row.state, row.note) for row in rows] == [
        ("torch", "refused", "off by 1.0e-01"),
        ("naive", "measured", ""),
    ]
    assert rows[0].seconds is None
    assert opened == ["naive"]


def test_a_kernel_that_breaks_loses_no_other_row(break_torch):
    break_torch("raises")
    case = tiny_case("qm9-forward")
    rows, _ = measure_steps(case, batch_of(case), {NAIVE: AGREES, TORCH: AGREES}, CPU, Rounds(n=1))
    assert [row.state for row in rows] == ["measured", "refused"]
    assert rows[1].note == "RuntimeError: misaligned address"


def test_nothing_to_time():
    case = tiny_case("qm9-forward")
    rows, profiles = measure_steps(case, batch_of(case), {TORCH: WRONG}, CPU, Rounds(n=1), profiled=True)
    assert [row.state for row in rows] == ["refused"]
    assert profiles == []


def test_naive_gets_as_many_molecules_as_fit(monkeypatch):
    case = tiny_case("qm9-train")
    batch = batch_of(case)

    def needed(n):
        return padded_bytes(case.shape.network, SIZES[:n], None, training=True)

    enough = int(needed(8) / 0.6) + 1
    assert fitting(case, NAIVE, batch, enough) is not None
    assert len(fitting(case, NAIVE, batch, enough).n_atoms) == 8
    assert len(fitting(case, NAIVE, batch, enough - 10).n_atoms) == 4
    assert len(fitting(case, NAIVE, batch, int(needed(1) / 0.6) + 1).n_atoms) == 1
    assert fitting(case, TORCH, batch, 1) is batch
    assert fitting(case, NAIVE, batch, None) is batch
    with pytest.raises(Unavailable, match="one molecule would take about"):
        fitting(case, NAIVE, batch, 100)
    monkeypatch.setattr(steps, "available_memory", lambda device: enough - 10)
    (row,), _ = measure_steps(case, batch, {NAIVE: AGREES}, CPU, Rounds(n=1))
    assert (row.batch, row.molecules, row.atoms) == (8, 4, 25)
    assert row.molecules_per_second == pytest.approx(4 / row.seconds)
