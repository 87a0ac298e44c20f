from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gaga.benchmark.batches import Batch
from gaga.benchmark.profiling import is_edge_kernel, own_times, profile_step
from gaga.benchmark.variants import Variant
from gaga.benchmark.works import forward_step
from tests.benchmark.conftest import CPU, TINY
from tests.benchmark.test_report import a_row


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("_edge_forward", True), ("edge_fwd_gate_0d1d", True), ("edge_backward", False), ("edge_bwd2", False),
     ("dw2", False), ("ampere_sgemm_128x64", False)],
)  # fmt: skip
def test_edge_kernels_by_name(name, is_one):
    assert is_edge_kernel(name) is is_one


def test_times_are_of_one_step():
    events = [
        SimpleNamespace(key="edge", count=50, self_device_time_total=1000.0, self_cpu_time_total=5.0),
        SimpleNamespace(key="host", count=5, self_device_time_total=0.0, self_cpu_time_total=10.0),
    ]
    assert own_times(events, on_cuda=True) == {"edge": (10, pytest.approx(2e-4))}
    assert own_times(events, on_cuda=False) == {"edge": (10, pytest.approx(1e-6)), "host": (1, pytest.approx(2e-6))}


def test_operators_of_a_step_on_the_cpu():
    shape = TINY["qm9"]
    step = forward_step(shape, Batch.of(shape, np.array([5, 9]), 0), Variant(kernel="naive"), CPU)
    found = profile_step(step, CPU, a_row(kernel="naive"), 1000)
    assert "aten::addmm" in found.names
    assert (np.diff(found.seconds) <= 0).all()
    # embeddings; two layers of the edge network, gate, two of the node network; three of the coordinate network
    assert found.calls[found.names.index("aten::addmm")] == 2 + 2 * (2 + 1 + 2) + 2 * 2
    assert (found.edge_seconds, found.edge_rate) == (0.0, None)


@pytest.mark.gpu
def test_kernels_of_a_step_on_the_device():
    device = torch.device("cuda")
    a = torch.randn(512, 512, device=device)
    found = profile_step(lambda: torch.mm(a, a), device, a_row(), 1000)
    assert found.calls.tolist()[0] == 1
    assert 0 < found.seconds[0] < 1
