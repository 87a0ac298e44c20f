import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gaga.benchmark import measuring
from gaga.benchmark.measuring import available_memory, interleave, peak_memory, seconds_of
from tests.benchmark.conftest import CPU

MB = 1 << 20
CLEAR_REFS = Path("/proc/self/clear_refs")
has_high_water_mark = pytest.mark.skipif(not os.access(CLEAR_REFS, os.W_OK), reason="no high-water mark to reset here")


def test_runs_take_turns():
    order = []
    runs = [lambda i=i: order.append("ABC"[i]) for i in range(3)]
    seen = []
    seconds = interleave(runs, [1.0] * 3, CPU, 2, progress=lambda done, total, note="": seen.append((done, total)))
    assert "".join(order) == "ABCABC"
    assert seconds.shape == (3, 2)
    assert seen == [(k, 6) for k in range(1, 7)]


def test_short_steps_are_repeated_within_a_round():
    calls = []
    seconds = interleave([lambda: calls.append(time.sleep(0.004))], [0.02], CPU, 1)
    assert len(calls) == 5
    assert 0.004 <= seconds[0, 0] < 0.02  # of one call


@pytest.mark.parametrize(("seconds", "repeats"), [(3.0, 1), (0.1, 1), (0.03, 4), (1e-9, 1000), (0.0, 1000)])
def test_repeats(seconds, repeats):
    calls = []
    interleave([lambda: calls.append(1)], [seconds], CPU, 1)
    assert len(calls) == repeats


@pytest.mark.parametrize(
    ("rounds", "budget_s", "seconds", "n"),
    [(5, None, 1e9, 5), (5, 10.0, 2.0, 5), (5, 10.0, 3.0, 3), (5, 10.0, 30.0, 2), (1, 10.0, 30.0, 1)],
)
def test_rounds_fit_the_budget_but_there_are_two(rounds, budget_s, seconds, n):
    assert interleave([lambda: None], [seconds], CPU, rounds, budget_s=budget_s).shape == (1, n)


def test_seconds_are_of_one_call():
    assert np.isclose(seconds_of(lambda: time.sleep(0.02), CPU, 3), 0.02, rtol=0.5)


@has_high_water_mark
def test_the_peak_is_of_what_is_freed_again_too():
    kept = []

    def run():
        torch.ones(200 * MB // 4)
        kept.append(torch.ones(20 * MB // 4))

    assert 190 * MB < peak_memory(run, CPU) < 260 * MB
    kept.clear()
    assert 190 * MB < peak_memory(run, CPU) < 260 * MB  # memory that was freed and kept by the allocator counts again


@has_high_water_mark
def test_a_step_that_takes_nothing():
    assert peak_memory(lambda: None, CPU) < 5 * MB


@pytest.mark.parametrize("missing", ["_CLEAR", "_STATUS"])
def test_where_no_mark_is_kept_the_step_runs_all_the_same(monkeypatch, tmp_path, missing):
    monkeypatch.setattr(measuring, missing, tmp_path / "missing" / "file")
    ran = []
    assert peak_memory(lambda: ran.append(1), CPU) is None
    assert ran == [1]


def test_what_is_available_is_the_least_of_machine_and_container(monkeypatch, tmp_path):
    files = {"_FREE": "MemTotal:  9 kB\nMemAvailable:    2048 kB\n", "_LIMIT": "1500000", "_USED": "500000"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(measuring, name, tmp_path / name)
    assert available_memory(CPU) == 1_000_000
    (tmp_path / "_LIMIT").write_text("max\n")
    assert available_memory(CPU) == 2048 * 1024
    (tmp_path / "_FREE").write_text("nothing of the kind")
    assert available_memory(CPU) is None


@pytest.mark.gpu
def test_the_peak_of_a_device():
    device = torch.device("cuda")
    assert peak_memory(lambda: torch.ones(200 * MB // 4, device=device), device) == pytest.approx(200 * MB, rel=0.02)
    assert available_memory(device) > MB
