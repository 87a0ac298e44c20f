"""benchmarks/profile_kernels.py: where the time of a step goes, in the form that the campaign's table reads."""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import profile_kernels

ON_CPU = argparse.Namespace(
    case="qm9-forward", batch_size=2, kernel="naive", precision="float32", device="cpu", hidden=8, layers=2
)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("_edge_forward", True), ("edge_fwd_gate_0d1d", True), ("edge_backward", False), ("edge_bwd2", False),
     ("dw2", False), ("ampere_sgemm_128x64", False)],
)  # fmt: skip
def test_edge_kernels_by_name(name, is_one):
    assert profile_kernels.is_edge_kernel(name) is is_one


def test_times_are_of_one_step():
    events = [
        SimpleNamespace(key="edge", count=50, self_device_time_total=1000.0, self_cpu_time_total=5.0),
        SimpleNamespace(key="host", count=5, self_device_time_total=0.0, self_cpu_time_total=10.0),
    ]
    on_host = {"edge": (10, pytest.approx(1e-6)), "host": (1, pytest.approx(2e-6))}
    assert profile_kernels.own_times(events, on_cuda=True) == {"edge": (10, pytest.approx(2e-4))}
    assert profile_kernels.own_times(events, on_cuda=False) == on_host


def test_operators_of_a_step_on_the_cpu(monkeypatch, capsys):
    monkeypatch.setattr("gaga.benchmark.machine._CPU_SIDES", (64,))
    found = profile_kernels.measure(ON_CPU)
    (one,) = found["profiles"]
    kernels = {kernel["name"]: kernel["calls"] for kernel in one["kernels"]}
    # embeddings; two layers of the edge network, gate, two of the node network; three of the coordinate network
    assert kernels["aten::addmm"] == 2 + 2 * (2 + 1 + 2) + 2 * 2
    seconds = [kernel["seconds"] for kernel in one["kernels"]]
    assert seconds == sorted(seconds, reverse=True)
    assert (one["edge_seconds"], one["edge_rate"], found["rows"]) == (0, None, [])
    profile_kernels.show(found)
    assert "qm9-forward, 2 molecules, naive float32\n" in capsys.readouterr().out


@pytest.mark.gpu
def test_kernels_of_a_step_on_the_device():
    device = torch.device("cuda")
    a = torch.randn(512, 512, device=device)
    ((calls, seconds),) = profile_kernels.times_of_step(lambda: torch.mm(a, a), device).values()
    assert calls == 1
    assert 0 < seconds < 1
