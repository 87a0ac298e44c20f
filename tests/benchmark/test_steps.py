import numpy as np
import pytest
import torch

from gaga.benchmark.parity import Variant
from gaga.benchmark.shapes import Batch
from gaga.benchmark.steps import Recorder, data_moments, make_step, sampler, sampling_run
from gaga.models.sampling.plan import draw_sizes
from tests.benchmark.conftest import CPU, TINY, tiny_case

TORCH = Variant(kernel="torch")


@pytest.fixture
def opened(monkeypatch):
    """The networks that were opened."""
    networks, right = [], Variant.network

    def remember(*arguments):
        networks.append(right(*arguments))
        return networks[-1]

    monkeypatch.setattr(Variant, "network", remember)
    return networks


def test_a_training_step_moves_every_parameter(opened):
    case = tiny_case("qm9-train")
    step = make_step(case, Batch.of(case.shape, np.array([4, 7, 9]), 0), TORCH, CPU)
    before = {name: p.detach().clone() for name, p in opened[0].named_parameters()}
    step()
    for name, p in opened[0].named_parameters():
        assert not torch.equal(p, before[name]), name
        assert (p - before[name]).abs().max() < 1.1e-4  # AdamW's first step is of the learning rate's length


def test_kernels_take_the_same_training_steps(opened):
    case = tiny_case("geom-train")
    batch = Batch.of(case.shape, np.array([2, 7, 9]), 0)
    for kernel in ("naive", "torch"):
        step = make_step(case, batch, Variant(kernel=kernel), CPU)
        step()
        step()
    naive, other = (dict(network.named_parameters()) for network in opened)
    for name, value in naive.items():
        # AdamW moves by the gradient's sign where it is small, whatever its rounding: up to 1e-4 a step.
        assert (other[name] - value).abs().max() < 5e-5, name


def test_a_forward_step_keeps_no_gradient(opened, monkeypatch):
    case = tiny_case("qm9-forward")
    outputs = []
    step = make_step(case, Batch.of(case.shape, np.array([4, 7]), 0), TORCH, CPU)
    right = opened[0].forward
    opened[0].forward = lambda *arguments: outputs.append(right(*arguments)) or outputs[-1]
    step()
    assert [out.shape for out in outputs] == [(11, 8)]
    assert not outputs[0].requires_grad
    assert not any(p.requires_grad for p in opened[0].parameters())


def test_a_sampling_run_takes_the_steps_and_one_last_evaluation(opened):
    model = sampler(TINY["qm9"], TORCH, CPU)
    calls = []
    right = opened[0].forward
    opened[0].forward = lambda z, t, layout: calls.append(float(t[0])) or right(z, t, layout)
    sampling_run(model, 3, 2, batch_size=3, seed=0)()
    assert calls == pytest.approx([0.002, 0.001, 0.0])


def test_sizes_are_drawn_from_the_data():
    shape = TINY["geom"]
    sizes = draw_sizes(np.arange(2000), data_moments(shape), None, 0)
    assert sizes.mean() == pytest.approx(44.9, abs=1)
    assert sampler(shape, TORCH, CPU).known_moments().columns == 19


def test_on_the_cpu_the_step_stays_as_it_is():
    def step():
        pass

    assert Recorder(CPU)(step) == (step, "")


@pytest.mark.gpu
def test_a_captured_step_does_what_the_step_does():
    device = torch.device("cuda")
    total = torch.zeros(1, device=device)
    replay, note = Recorder(device)(lambda: total.add_(1))
    total.zero_()
    for _ in range(3):
        replay()
    assert (float(total), note) == (3.0, "CUDA graph")


@pytest.mark.gpu
def test_a_step_that_waits_for_the_device_runs_as_it_is_and_others_are_captured_after_it():
    device = torch.device("cuda")
    record = Recorder(device)
    total = torch.zeros(1, device=device)

    def waits():
        total.add_(float(total.sum()) * 0 + 1)

    run, note = record(waits)
    assert run is waits
    assert note.startswith("no CUDA graph")
    assert record(lambda: total.add_(1))[1] == "CUDA graph"
