from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga.noise import ReferenceGaussian
from gaga.stats import reference
from gaga.stats.device.arrays import _ARRAYS
from gaga.stats.device.reference import run_test, score
from gaga.stats.device.states import draw
from gaga.stats.groups import deal
from gaga.stats.states import DataStates, GaussianStates
from tests.stats.device.conftest import refusing_to_wait


@pytest.fixture(params=["data", "matched"])
def states(request, molecules, space, moments, schedule):
    """Of three atoms or more: two that are centred are each other's negative, and all their distances tie."""
    larger = molecules.take(np.flatnonzero(molecules.n_atoms > 2))
    if request.param == "data":
        return DataStates(larger, space, schedule, moments.centred, 5)
    return GaussianStates(ReferenceGaussian("matched", moments), schedule, larger.n_atoms, 5)


@pytest.mark.parametrize("numbers", [None, 2000])
def test_flags_and_sums_are_numpys(states, plan, device, numbers, monkeypatch):
    """In chunks of many molecules, and of one or a few."""
    if numbers is not None:
        monkeypatch.setattr("gaga.stats.device.reference.working_set", lambda device: numbers)
    resampling, done = deal(len(states), 3, np.random.default_rng(0)), []
    flags, sums = run_test(states, plan, resampling, done.append, device=device)
    expected, expected_sums = reference.run_test(states, plan, resampling, lambda _: None, threads=1)
    # A device rounds the products that correlated states come of otherwise, and the last bit decides between ties:
    # a molecule whose flag that changes has a mean information near the threshold, and moves by less than half a nat.
    differing = np.count_nonzero(flags != expected)
    assert differing <= (0.001 * flags.size if device.type == "cuda" else 0)
    np.testing.assert_allclose(sums, expected_sums, rtol=0, atol=1e-9 + 0.5 * differing)
    assert sum(done) == len(states) * len(plan.timesteps)
    assert 0.05 < flags.mean() < 0.95


def test_flags_of_two_atoms_are_numpys(molecules, space, moments, schedule, plan, device):
    """Where they are each other's negative, rounding decides how dependent they are found, but not that they are."""
    two = molecules.take(np.flatnonzero(molecules.n_atoms == 2))
    states, resampling = (
        DataStates(two, space, schedule, moments.centred, 5),
        deal(len(two), 2, np.random.default_rng(0)),
    )
    flags, _ = run_test(states, plan, resampling, lambda _: None, device=device)
    expected, _ = reference.run_test(states, plan, resampling, lambda _: None, threads=1)
    np.testing.assert_array_equal(flags, expected)


def test_scores_are_numpys(molecules, space, moments, schedule, plan, device):
    states = DataStates(molecules, space, schedule, moments.centred, 1)
    for n in (3, 4, 29, 181):
        z = draw(states, np.flatnonzero(molecules.n_atoms == n), plan.timesteps, device)
        found = score(z, plan, 1 << 18).cpu().numpy()
        distances, information = reference.score(z.cpu().numpy(), plan)
        np.testing.assert_allclose(found[..., 0], distances, rtol=0, atol=1e-13)
        np.testing.assert_allclose(found[..., 1:], information, rtol=0, atol=1e-12)


def test_parts_of_the_test_are_those_of_all_of_it(molecules, space, moments, schedule, plan, device):
    """Each alone, on the device and in numpy; the others are 0, and their flags False."""
    states = DataStates(molecules, space, schedule, moments.centred, 1)
    z = draw(states, np.flatnonzero(molecules.n_atoms == 29), plan.timesteps, device)
    whole = score(z, plan, 1 << 18).cpu().numpy()
    resampling = deal(len(states), 3, np.random.default_rng(0))
    flags, _ = run_test(states, plan, resampling, lambda _: None, device=device)
    for part in np.ndindex(plan.parts.shape):
        parts = np.zeros_like(plan.parts)
        parts[part] = True
        alone = replace(plan, parts=parts)
        np.testing.assert_array_equal(score(z, alone, 1 << 18).cpu().numpy(), np.where(parts, whole, 0))
        distances, information = reference.score(z.cpu().numpy(), alone)
        both = np.concatenate([distances[..., None], information], axis=-1)
        np.testing.assert_allclose(both, np.where(parts, whole, 0), rtol=0, atol=1e-12)
        found, _ = run_test(states, alone, resampling, lambda _: None, device=device)
        np.testing.assert_array_equal(found, flags & parts)
    assert np.all(np.any(whole != 0, axis=(0, 1)) == np.insert(~plan.always_zero, 0, True, axis=1))


@pytest.mark.parametrize("n", [2, 29, 181])
def test_nothing_is_read_back_within_a_chunk(molecules, space, moments, schedule, plan, n):
    """On a device without numbers any look at one is an error, and so is a tensor that was left on the CPU."""
    meta, indices = torch.device("meta"), np.flatnonzero(molecules.n_atoms == n)
    for states in (
        DataStates(molecules, space, schedule, moments.centred, 1),
        GaussianStates(ReferenceGaussian("matched", moments), schedule, molecules.n_atoms, 1),
    ):
        scores = score(draw(states, indices, plan.timesteps, meta), plan, 1 << 18)
        assert scores.shape == (len(indices), len(plan.timesteps), len(plan.blocks), 3)
        assert scores.is_meta


@pytest.mark.gpu
def test_the_host_does_not_wait_within_a_chunk(molecules, space, moments, schedule, plan):
    device = torch.device("cuda")
    states = DataStates(molecules, space, schedule, moments.centred, 1)
    indices = np.flatnonzero(molecules.n_atoms == 29)
    expected = score(draw(states, indices, plan.timesteps, device), plan, 1 << 18).cpu()
    with refusing_to_wait():
        found = score(draw(states, indices, plan.timesteps, device), plan, 1 << 18)
    assert torch.equal(found.cpu(), expected)


@pytest.mark.gpu
def test_memory_does_not_grow_with_the_number_of_molecules(molecules, space, moments, schedule, plan, monkeypatch):
    """Working arrays of a MiB; all together are within the number of them that is allowed for."""
    numbers, device = 1 << 17, torch.device("cuda")
    monkeypatch.setattr("gaga.stats.device.reference.working_set", lambda device: numbers)
    many = molecules.take(np.repeat(np.flatnonzero(molecules.n_atoms <= 33), 40))
    states = DataStates(many, space, schedule, moments.centred, 1)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run_test(states, plan, deal(len(many), 3, np.random.default_rng(0)), lambda _: None, device=device)
    assert torch.cuda.max_memory_allocated(device) - before < 8 * numbers * _ARRAYS
