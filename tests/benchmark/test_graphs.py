import pytest
import torch

from gaga.benchmark.graphs import captured, new_pool
from tests.benchmark.conftest import CPU


def test_on_the_cpu_the_step_stays_as_it_is():
    def step():
        pass

    assert captured(step, CPU, new_pool(CPU)) == (step, "")


@pytest.mark.gpu
def test_a_captured_step_does_what_the_step_does():
    device = torch.device("cuda")
    total = torch.zeros(1, device=device)
    replay, note = captured(lambda: total.add_(1), device, new_pool(device))
    total.zero_()
    for _ in range(3):
        replay()
    assert (float(total), note) == (3.0, "CUDA graph")


@pytest.mark.gpu
def test_a_step_that_waits_for_the_device_runs_as_it_is_and_others_are_captured_after_it():
    device = torch.device("cuda")
    pool = new_pool(device)
    total = torch.zeros(1, device=device)

    def waits():
        total.add_(float(total.sum()) * 0 + 1)

    run, note = captured(waits, device, pool)
    assert run is waits
    assert note.startswith("no CUDA graph")
    assert captured(lambda: total.add_(1), device, pool)[1] == "CUDA graph"
