from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.plan import Plan, room_for, work
from tests.models.conftest import AWKWARD_SIZES, gaussian_moments

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def plan(n, config=None, device=CPU, counts=None):
    moments = gaussian_moments(29)
    counts = np.random.default_rng(0).integers(0, 100, 30) if counts is None else counts
    counts[0] = 0
    return Plan(range(n), replace(moments, counts=counts), config or SampleConfig(), 5, device)


@pytest.mark.parametrize("config", [SampleConfig(), SampleConfig(batch_size=7), SampleConfig(sizes=(1, 2, 181))])
@pytest.mark.parametrize("n", [1, 16, 1000])
def test_each_molecule_is_in_one_batch_and_like_sizes_are_together(n, config):
    wanted = plan(n, config)
    batches = list(wanted.batches())
    assert [batch.number for batch in batches] == list(range(len(batches)))
    assert sorted(np.concatenate([batch.keys for batch in batches])) == list(range(n))
    for batch in batches:
        assert len(batch.keys) <= (config.batch_size or n)
        np.testing.assert_array_equal(batch.keys, batch.places)
        assert np.all(np.diff(batch.sizes) >= 0)
        assert len(set(batch.keys // wanted.window)) == 1
    again = [batch.keys.tolist() for batch in plan(n, config).batches()]
    assert again == [batch.keys.tolist() for batch in batches]


def test_batches_are_filled_by_work_whatever_the_sizes():
    small, drugs = (
        [work(b.sizes).sum() for b in plan(3000, SampleConfig(sizes=sizes)).batches()] for sizes in ((9,), (40, 181))
    )
    budget = 16 * 388
    assert max(small) <= budget + work(np.array([9]))
    assert max(drugs) <= budget + work(np.array([181]))
    assert min(small[:-5]) > 0.9 * budget
    (one,) = {len(b.keys) for b in plan(32, SampleConfig(sizes=(181,))).batches()}
    assert one == 1


def test_a_million_molecules_are_planned_a_window_at_a_time():
    wanted = plan(10**6, device=CUDA)
    first = list(islice(wanted.batches(), 16))
    assert wanted.window < 10**5
    assert max(batch.keys.max() for batch in first) < wanted.window
    assert 0.8 < np.mean([work(batch.sizes).sum() for batch in first]) / (2048 * 388) <= 1


def test_like_batches_have_the_same_room_and_every_batch_fits_in_it():
    for config, n in ((SampleConfig(), 200_000), (SampleConfig(batch_size=300), 20_000)):
        batches = list(plan(n, config, CUDA).batches())
        rooms = [room_for(batch.sizes, 29) for batch in batches]
        assert all(room.holds(batch.sizes) for room, batch in zip(rooms, batches, strict=True))
        assert len(set(rooms)) < 25
        filled = [batch.sizes.sum() / room.atoms for room, batch in zip(rooms, batches, strict=True)]
        assert np.mean(filled[:-5]) > 0.9


@pytest.mark.parametrize(
    "sizes",
    [[1], [1] * 200, [181], [1, 181], [29] * 64, AWKWARD_SIZES.tolist(), [2] * 63 + [181], [1] * 63 + [2] + [181] * 5],
)
def test_awkward_batches_have_room(sizes):
    assert room_for(np.array(sizes), max(sizes)).holds(np.array(sizes))


def test_any_batch_has_room():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = np.sort(rng.integers(1, rng.integers(2, 182), rng.integers(1, 80)))
        assert room_for(sizes, int(sizes.max())).holds(sizes)
