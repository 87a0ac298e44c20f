import logging
import threading

import numpy as np
import pytest
import torch

from gaga.core.errors import Unavailable
from gaga.core.progress import silent
from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.engine import Engine, StepCounter
from gaga.models.sampling.plan import Plan
from gaga.models.sampling.stream import _outcomes, sample_batches, sample_stream, seconds_per_molecule
from tests.models.conftest import VARIANCES, OptimalDenoiser
from tests.models.sampling.test_batch import network_model

CONFIG = SampleConfig(method="ddpm", stride=100, batch_size=4)
SIZES = (3, 5, 9)


def like(model, network):
    return Model(network, model.schedule, model.space, max_t=model.max_t, moments=model.moments)


class Small:
    """A denoiser on a device with memory for so many atoms at a time."""

    kernel = "none"

    def __init__(self, model, room):
        self.inner, self.room = model.network, room
        self.seen = []

    def __call__(self, z, t, layout):
        if len(z) > self.room:
            try:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            finally:
                if len(z) % 2:  # as where it comes in the middle of a recording
                    raise RuntimeError("the capture was invalidated")
        self.seen.append(len(z))
        return self.inner(z, t, layout)


def positions(molecules):
    return {m.index: m.positions for m in molecules}


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_too(gaussian_model, caplog):
    config = SampleConfig(method="ddpm", stride=100, batch_size=8, sizes=SIZES)
    expected = positions(sample_stream(gaussian_model, range(40), config))
    small, told = Small(gaussian_model, 40), []
    with caplog.at_level(logging.WARNING):
        found = list(sample_batches(like(gaussian_model, small), range(40), config,
                                    progress=lambda done, total, note="": told.append((done, total))))  # fmt: skip
    found = positions(m for batch in found for m in batch)
    assert found.keys() == expected.keys()
    for index, places in expected.items():
        np.testing.assert_allclose(found[index], places, rtol=1e-5, atol=1e-5)
    lines = [record.message for record in caplog.records]
    assert 1 <= len(lines) <= 2
    assert "Out of memory with" in lines[0]
    assert told[-1] == (40 * 7, 40 * 7)


def test_other_failures_are_not_taken_for_it(gaussian_model):
    def broken(z, t, layout):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(sample_stream(like(gaussian_model, broken), range(3), CONFIG))


def test_a_molecule_that_does_not_fit_is_one_line(gaussian_model):
    with pytest.raises(Unavailable, match="no memory for a molecule") as error:
        list(sample_stream(like(gaussian_model, Small(gaussian_model, 2)), range(3), CONFIG))
    assert "`device=cpu`" in error.value.line


def plan_of(model, n, config):
    return Plan(range(n), model.known_moments(), config, 0, torch.device("cpu"))


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("reuses", [False, True])
def test_every_way_through_gives_the_same_molecules_in_the_order_of_the_batches(gaussian_model, threads, reuses):
    """Side by side, or one behind the other as on a device, with tensors that a batch takes over from another."""
    config = SampleConfig(method="ddpm", stride=100, batch_size=4, sizes=SIZES)
    expected = positions(sample_stream(gaussian_model, range(30), config))
    run = Engine(gaussian_model, config, seed=0, counter=StepCounter(silent, 0))
    run._reuses = run._draws = reuses and threads < 2
    batches = list(plan_of(gaussian_model, 30, config).batches())
    outcomes = list(_outcomes(run, batches, threads, threading.Event()))
    assert [o.start.keys.tolist() for o in outcomes] == [b.keys.tolist() for b in batches]
    assert len(run._walks) < len(batches)
    for outcome in outcomes:
        layout = Layout.of(outcome.start.sizes)
        assert layout.sum(outcome.z[:, :3].contiguous()).abs().max() < 1e-4
        parts = np.split(outcome.z[:, :3].numpy(), np.cumsum(outcome.start.sizes)[:-1])
        for key, part in zip(outcome.start.keys, parts, strict=True):
            np.testing.assert_allclose(part, expected[int(key)], rtol=2e-5, atol=2e-5)


def test_the_next_batch_is_on_its_way_before_one_is_handed_over(gaussian_model):
    steps = []
    run = Engine(
        gaussian_model, CONFIG, seed=0, counter=StepCounter(lambda done, total, note="": steps.append(done), 0)
    )
    outcomes = run.outcomes(map(run.start, plan_of(gaussian_model, 12, CONFIG).batches()))
    next(outcomes)
    assert len(steps) == 8, "seven steps of the first batch and one of the second"


def test_frames_are_kept_of_the_molecules_asked_for(toy_model):
    config = SampleConfig(method="ddpm", stride=100, batch_size=4, frames=3)
    batches = list(sample_batches(toy_model, range(40), config, framed=2))
    framed = [{bool(m.frames) for m in batch} for batch in batches]
    assert all(len(kinds) == 1 for kinds in framed)
    for batch, (kind,) in zip(batches, framed, strict=True):
        assert kind == any(m.index < 2 for m in batch)


def test_who_stops_taking_ends_the_threads(gaussian_model):
    before = threading.active_count()
    batches = sample_batches(gaussian_model, range(100), CONFIG)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_time_is_measured_on_a_batch_of_what_is_asked_for(toy_model):
    assert 0 < seconds_per_molecule(toy_model, SampleConfig(method="ddpm", stride=50), 10**6) < 10


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["torch", "auto"])
def test_on_a_device_molecules_do_not_depend_on_their_batch(gaussian_model, kernel):
    model = network_model(gaussian_model, torch.float32, kernel, "cuda")
    runs = [
        positions(
            sample_stream(model, range(50), SampleConfig(method="ddpm", stride=50, batch_size=size, sizes=(3, 9, 29)))
        )
        for size in (50, 7, None)
    ]
    for index, places in runs[0].items():
        for other in runs[1:]:
            np.testing.assert_allclose(other[index], places, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_a_device_out_of_memory_goes_on_with_smaller_batches(gaussian_model, caplog):
    network = OptimalDenoiser(gaussian_model.schedule, torch.from_numpy(VARIANCES).cuda())

    share = torch.cuda.mem_get_info()[1] // 5  # of an atom

    class Greedy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.like = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64, device="cuda"), requires_grad=False)

        def forward(self, z, t, layout):
            torch.empty(len(z) * share, dtype=torch.uint8, device=z.device)
            return network(z, t, layout)

    config = SampleConfig(method="ddpm", stride=275, batch_size=64, sizes=(1,))
    with caplog.at_level(logging.WARNING):
        molecules = list(sample_stream(like(gaussian_model, Greedy()), range(64), config))
    assert len(molecules) == 64
    assert "Out of memory with 64" in caplog.text
