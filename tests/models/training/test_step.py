import threading
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gaga.data.features import FeatureSpace
from gaga.models.diffusion import Diffusion
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.flat import run_flat
from gaga.models.network.layout import Capacity
from gaga.models.network.parameters import EGNNConfig
from gaga.models.network.precondition import Precondition
from gaga.models.training.features import Features
from gaga.models.training.objective import Objective
from gaga.models.training.optimiser import Optimiser
from gaga.models.training.recipe import make_recipe
from gaga.models.training.step import REMEMBERED, Prefetch, Stepper
from gaga.noise import make_schedule
from tests.models.conftest import toy_molecules

MUON = make_recipe("tiny", batch_size=6, max_t=60)
RECIPE = replace(MUON, optimizer="adamw")  # Muon works in bfloat16: batches that differ by rounding drift apart
SPACE = FeatureSpace((1, 6))
X0 = Precondition("x0", (1.0, 1.0, 1.0, 0.1, 0.1))


class PerAtom(nn.Module):
    """A network that knows a batch by the tensors of its layout only, as a recorded kernel does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(7, 16), nn.SiLU(), nn.Linear(16, 5, bias=False))

    def forward(self, z, t, layout):
        mean = layout.sum(z) / layout.sizes[:, None]
        features = [z - layout.per_atom(mean), layout.per_atom(t)[:, None], layout.per_atom(layout.sizes)[:, None] / 9]
        return self.layers(torch.cat(features, dim=1))


def egnn(kernel="torch", hidden=16):
    torch.manual_seed(3)
    return EGNN(EGNNConfig(features=2, hidden=hidden, n_layers=2), kernel)


def flat():
    """The network by the kernel that `compile` compiles; it knows a batch by the tensors of its layout only."""
    network = egnn()
    network._kernels[torch.device("cpu"), torch.float32] = "compile", run_flat
    return network


def stepper(network, device="cpu", recipe=RECIPE, precondition=X0, held_bytes=None):
    columns = Features.of(toy_molecules(40), SPACE, device, held_bytes=held_bytes)
    network = network.to(device)
    diffusion = Diffusion(network, make_schedule(), SPACE, precondition=precondition)
    return Stepper(Objective(recipe, seed=3), diffusion, columns, Optimiser(network, recipe))


def run(stepper, first, last):
    """Steps first to last - 1, and what was remembered of them."""
    for step, members in stepper.objective.batches(stepper.features, first):
        if step == last:
            return stepper.outcomes(first, last)
        stepper(stepper.prepare(members, step), step, 1e-3, 0.99)
    raise AssertionError


def assert_same_weights(one, other, tolerance):
    """But for the last bias: centring takes it out, so that its gradient is rounding alone, which Adam scales up."""
    theirs = other.optimiser.tensors()
    for name, value in one.optimiser.tensors().items():
        if name.startswith(("network.", "ema.")) and not name.endswith("embedding_out.bias"):
            torch.testing.assert_close(value, theirs[name], rtol=tolerance, atol=tolerance, msg=name)


class NeverWaits(TorchDispatchMode):
    """Fails where an operation brings a number to the host or from there, or makes a shape that depends on one."""

    FORBIDDEN = ("local_scalar_dense", "item", "nonzero", "masked_select", "unique", "equal", "repeat_interleave",
                 "lift_fresh")  # fmt: skip

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation._schema.name.removeprefix("aten::").strip("_").removesuffix("2")
        assert name not in self.FORBIDDEN, name
        if name in ("index", "index_put"):
            assert all(i is None or i.dtype != torch.bool for i in args[1]), f"{name} by a mask"
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("precondition", [Precondition(), Precondition("v"), X0], ids=lambda p: p.prediction)
@pytest.mark.parametrize("network", [PerAtom, egnn, flat])
def test_a_step_waits_for_nothing(network, precondition):
    it = stepper(network(), recipe=MUON, precondition=precondition)
    batches = [it.prepare(members, step) for step, members in zip(range(3), epoch(it), strict=False)]
    for step, batch in enumerate(batches):
        it(batch, step, 1e-3, 0.99)  # tables of a batch are made once
        with NeverWaits():
            it.take()
    assert it.outcomes(0, 3)[:, 3].all()


@pytest.mark.parametrize("held_bytes", [None, 0])
@pytest.mark.parametrize("edges", [None, 200])
def test_batches_in_a_capacity_carry_their_own_columns_where_they_are_streamed(held_bytes, edges):
    """What a CUDA device does, but for the recording."""
    recipe = replace(RECIPE, batch_edges=edges)
    exact, static = stepper(PerAtom(), recipe=recipe), stepper(PerAtom(), recipe=recipe, held_bytes=held_bytes)
    static.records, static._capacity = True, static._first_capacity()
    losses = run(exact, 0, 15), run(static, 0, 15)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert_same_weights(exact, static, 1e-5)
    assert (static._batch.atoms.ndim == 1) == (held_bytes is None)


def epoch(it):
    return (members for _, members in it.objective.batches(it.features, 0))


@pytest.mark.parametrize(
    "wait", [lambda x: float(x[0]), lambda x: x[x > 0], torch.nonzero, torch.unique, lambda x: torch.tensor([1.0])]
)
def test_what_waits_is_found(wait):
    with NeverWaits(), pytest.raises(AssertionError):
        wait(torch.ones(3))


@pytest.mark.parametrize("network", [egnn, flat])
def test_a_filled_batch_takes_the_same_step(network):
    exact, filled = stepper(egnn()), stepper(network())
    filled._capacity = Capacity.around(np.full(6, 7))
    losses = run(exact, 0, 9), run(filled, 0, 9)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert_same_weights(exact, filled, 1e-5)


@pytest.mark.parametrize("network", [PerAtom, flat])
def test_batches_copied_in_place_and_in_a_capacity_that_grows(network):
    """What a CUDA device does, but for the recording."""
    recipe = replace(RECIPE, batch_size=18)
    exact, static = stepper(network(), recipe=recipe), stepper(network(), recipe=recipe)
    static.records, static._capacity = True, Capacity.around(np.array([2, 2, 3]), molecules=18)
    first = static._capacity
    losses = run(exact, 0, 15), run(static, 0, 15)
    assert static._capacity.atoms > first.atoms
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert_same_weights(exact, static, 1e-5)


def test_the_last_steps_are_remembered():
    it = stepper(PerAtom())
    early = run(it, 0, 5)
    late = run(it, 5, REMEMBERED + 4)
    np.testing.assert_array_equal(it.outcomes(4, REMEMBERED + 4)[0], early[4])
    np.testing.assert_array_equal(it.outcomes(4, REMEMBERED + 4)[1:], late)
    assert len(set(late[:, 0])) == len(late)


@pytest.mark.parametrize("edges", [None, 300])
def test_the_first_capacity_holds_most_batches(edges):
    it = stepper(PerAtom(), recipe=replace(RECIPE, batch_size=12, batch_edges=edges))
    capacity = it._first_capacity()
    shares = [it.sizes(members) for step, members in zip(range(200), epoch(it), strict=False)]
    assert np.mean([capacity.holds(share) for share in shares]) > 0.9


def streamed_stepper():
    return stepper(PerAtom(), held_bytes=0)


def test_batches_come_in_their_order_from_any_step_and_are_the_same_streamed():
    held, streamed = stepper(PerAtom()), streamed_stepper()
    one, other = Prefetch(held, 9), Prefetch(streamed, 9)
    expected = held.objective.batches(held.features, 9)
    for (step, members), a, b in zip(expected, one, islice(other, 20), strict=False):
        assert a[0] == b[0] == step
        np.testing.assert_array_equal(a[1], members)
        np.testing.assert_array_equal(b[1], members)
        assert torch.equal(held.features.columns(a[2].atoms), streamed.features.columns(b[2].atoms))
        for name in ("keys", "t", "weights"):
            assert torch.equal(getattr(a[2], name), getattr(b[2], name))
    one.close(), other.close()


def test_streamed_batches_are_read_ahead_and_not_without_end(monkeypatch):
    it, read = streamed_stepper(), []
    original = it.features.fetch
    monkeypatch.setattr(it.features, "fetch", lambda members: read.append(len(members)) or original(members))
    batches = Prefetch(it, 0)
    next(batches)
    deadline = time.monotonic() + 10
    while len(read) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 10 <= len(read) <= 16, "no more than a few batches are read before somebody takes them"
    batches.close()


def test_what_steps_wait_is_measured(monkeypatch):
    it = streamed_stepper()
    original = it.features.fetch
    monkeypatch.setattr(it.features, "fetch", lambda members: time.sleep(0.05) or original(members))
    batches = Prefetch(it, 0)
    next(batches)
    assert 0.05 <= batches.waited < 5
    waited = batches.waited
    time.sleep(0.3)
    next(batches)
    assert batches.waited - waited < 0.05, "it lay ready"
    batches.close()


def test_threads_end_with_the_iterator():
    before = threading.active_count()
    batches = Prefetch(streamed_stepper(), 0)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_batch_that_cannot_be_read_is_an_error_of_the_step_that_takes_it(monkeypatch):
    it = streamed_stepper()

    def fails(members):
        raise OSError("gone")

    monkeypatch.setattr(it.features, "fetch", fails)
    batches = Prefetch(it, 0)
    with pytest.raises(OSError, match="gone"):
        next(batches)
    batches.close()


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["torch", "compile", "auto"])
def test_a_device_takes_the_steps_of_the_host(kernel):
    """Recorded where the kernel can be. Products may be in TF32 there, whose 1e-3 a few steps do not make 2e-2."""
    host, device = stepper(egnn("torch", 64)), stepper(egnn(kernel, 64), "cuda")
    np.testing.assert_allclose(run(host, 0, 6), run(device, 0, 6), rtol=2e-2)
    assert np.isfinite(run(device, 6, 20)).all()


def recorded():
    return stepper(egnn("triton", 32), "cuda")


@pytest.mark.gpu
def test_recorded_steps_are_those_that_were_not():
    one, other = recorded(), recorded()
    assert one.records
    run(one, 0, 2)
    run(other, 0, 2)
    other._replay._records = False
    np.testing.assert_allclose(run(one, 2, 20), run(other, 2, 20), rtol=1e-4)


@pytest.mark.gpu
def test_streamed_batches_are_recorded_too():
    held, streamed = recorded(), stepper(egnn("triton", 32), "cuda", held_bytes=0)
    assert streamed.records
    np.testing.assert_allclose(run(held, 0, 20), run(streamed, 0, 20), rtol=1e-4)


@pytest.mark.gpu
def test_a_capacity_that_grows_is_recorded_anew():
    grown, exact = recorded(), recorded()
    grown._capacity = Capacity.around(np.array([2, 2, 3]), molecules=6)
    np.testing.assert_allclose(run(grown, 0, 20), run(exact, 0, 20), rtol=1e-4)


@pytest.mark.gpu
def test_recorded_steps_go_on_from_restored_tensors():
    whole, second = recorded(), recorded()
    run(whole, 0, 8)
    second.optimiser.restore({name: value.clone() for name, value in whole.optimiser.tensors().items()})
    np.testing.assert_allclose(run(whole, 8, 16), run(second, 8, 16), rtol=1e-4)
