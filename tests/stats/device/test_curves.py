from dataclasses import fields

import numpy as np
import pytest
import torch

from gaga.noise import REFERENCE_KINDS, ReferenceGaussian
from gaga.stats import curves
from gaga.stats.device.curves import _Counts, distance_curves
from gaga.stats.device.states import draw
from gaga.stats.groups import deal
from gaga.stats.states import DataStates, GaussianStates
from tests.stats.device.conftest import refusing_to_wait


@pytest.fixture
def distances(molecules, moments, schedule):
    return curves.DistancePlan(
        schedule=schedule,
        timesteps=np.array([20, 400, 999]),
        blocks=tuple(moments.slices().values()),
        references=tuple(ReferenceGaussian(kind, moments) for kind in REFERENCE_KINDS),
        resampling=deal(len(molecules), 20, np.random.default_rng(0)),
        level=0.95,
    )


# Numbers in a working array: all steps at once; a step at a time; a step and a molecule at a time.
@pytest.mark.parametrize("numbers", [1 << 25, 1 << 18, 1])
@pytest.mark.parametrize("of_data", [True, False])
def test_curves_are_numpys(molecules, space, moments, schedule, distances, device, numbers, of_data, monkeypatch):
    monkeypatch.setattr("gaga.stats.device.curves.working_set", lambda device: numbers)
    states = (
        DataStates(molecules, space, schedule, moments.centred, 5)
        if of_data
        else GaussianStates(ReferenceGaussian("matched", moments), schedule, molecules.n_atoms, 5)
    )
    done = []
    found = distance_curves(states, distances, done.append, device=device)
    expected = curves.distance_curves(states, distances, lambda _: None, threads=1)
    for field in fields(expected):
        # Resamples, and intervals with them, are kept in float32.
        tolerance = 1e-12 if field.name == "estimate" else 1e-7
        ours, numpys = getattr(found, field.name), getattr(expected, field.name)
        assert ours.dtype == numpys.dtype
        np.testing.assert_allclose(ours, numpys, rtol=0, atol=tolerance)
    assert sum(done) == 3 * len(molecules)


def test_nothing_is_read_back_within_a_chunk(molecules, space, moments, schedule, distances):
    """On a device without numbers any look at one is an error, and so is a tensor that was left on the CPU."""
    meta, indices = torch.device("meta"), np.flatnonzero(molecules.n_atoms == 29)
    states = DataStates(molecules, space, schedule, moments.centred, 1)
    counts = _Counts(distances, distances.timesteps, states, meta)
    counts.add(indices, draw(states, indices, distances.timesteps, meta))
    assert counts.pooled.is_meta


@pytest.mark.gpu
def test_the_host_does_not_wait_within_a_chunk(molecules, space, moments, schedule, distances):
    device, indices = torch.device("cuda"), np.flatnonzero(molecules.n_atoms == 29)
    states = DataStates(molecules, space, schedule, moments.centred, 1)
    counts = _Counts(distances, distances.timesteps, states, device)
    counts.add(indices, draw(states, indices, distances.timesteps, device))
    with refusing_to_wait():
        counts.add(indices, draw(states, indices, distances.timesteps, device))
    assert int(counts.pooled[0, 0].sum()) == 2 * 3 * len(indices) * 29 * 3
