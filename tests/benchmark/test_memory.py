import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gaga.benchmark import memory
from gaga.benchmark.memory import available_memory, padded_bytes, peak_memory
from gaga.models.network.parameters import EGNNConfig
from tests.benchmark.conftest import CPU

MB = 1 << 20
CLEAR_REFS = Path("/proc/self/clear_refs")
has_high_water_mark = pytest.mark.skipif(not os.access(CLEAR_REFS, os.W_OK), reason="no high-water mark to reset here")


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
    monkeypatch.setattr(memory, missing, tmp_path / "missing" / "file")
    ran = []
    assert peak_memory(lambda: ran.append(1), CPU) is None
    assert ran == [1]


def test_what_is_available_is_the_least_of_machine_and_container(monkeypatch, tmp_path):
    files = {"_FREE": "MemTotal:  9 kB\nMemAvailable:    2048 kB\n", "_LIMIT": "1500000", "_USED": "500000"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(memory, name, tmp_path / name)
    assert available_memory(CPU) == 1_000_000
    (tmp_path / "_LIMIT").write_text("max\n")
    assert available_memory(CPU) == 2048 * 1024
    (tmp_path / "_FREE").write_text("nothing of the kind")
    assert available_memory(CPU) is None


def test_padded_bytes():
    """64 molecules of up to 24 atoms, 18 edge networks: 6 GB of activations, as plain PyTorch was measured to keep."""
    config = EGNNConfig(features=5)
    sizes = np.array([18] * 63 + [24])
    assert padded_bytes(config, sizes, None, training=True) == pytest.approx(5.4e9, rel=0.02)
    assert padded_bytes(config, sizes, 48, training=True) == 4 * padded_bytes(config, sizes, None, training=True)
    assert padded_bytes(config, sizes, None, training=True) == 18 * padded_bytes(config, sizes, None, training=False)


@pytest.mark.gpu
def test_the_peak_of_a_device():
    device = torch.device("cuda")
    assert peak_memory(lambda: torch.ones(200 * MB // 4, device=device), device) == pytest.approx(200 * MB, rel=0.02)
    assert available_memory(device) > MB
