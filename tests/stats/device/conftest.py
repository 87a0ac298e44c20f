"""Molecules of awkward sizes that need no data set, on the CPU and, where there is one, on a CUDA device."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import Moments, Schedule, make_schedule
from gaga.stats.moments import estimate_moments
from gaga.stats.reference import TestPlan as Plan


@contextmanager
def refusing_to_wait() -> Iterator[None]:
    """An operation that waits for a CUDA device is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


SIZES = (2, 3, 4, 5, 9, 18, 29, 31, 33)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(scope="session")
def molecules() -> PackedMolecules:
    """120 molecules in no order of sizes, and one of 181 atoms: normal positions, random elements."""
    rng = np.random.default_rng(0)
    sizes = np.append(rng.choice(SIZES, size=120), 181)
    positions = rng.normal(scale=1.6, size=(int(sizes.sum()), 3)).astype(np.float32)
    numbers = rng.choice([1, 6, 7, 8, 9], size=len(positions), p=[0.5, 0.3, 0.1, 0.08, 0.02]).astype(np.uint8)
    return PackedMolecules(positions, numbers, offsets_of(sizes))


@pytest.fixture(scope="session", params=["centred", "charges"])
def space(request: pytest.FixtureRequest) -> FeatureSpace:
    """GAGA's columns, and EDM's: with a charge, and types that keep their mean."""
    charges = request.param == "charges"
    return FeatureSpace((1, 6, 7, 8, 9), include_charges=charges, centred_features=not charges)


@pytest.fixture(scope="session")
def moments(molecules: PackedMolecules, space: FeatureSpace) -> Moments:
    return estimate_moments(molecules, space)


@pytest.fixture(scope="session")
def schedule() -> Schedule:
    return make_schedule()


@pytest.fixture(scope="session")
def plan(schedule: Schedule, space: FeatureSpace) -> Plan:
    """Four steps from nearly clean to nearly noise."""
    steps = np.array([20, 200, 500, 990])
    variances = np.array([1.38, 0.086, 0.4][: len(space.blocks)])
    return Plan(
        timesteps=steps,
        blocks=tuple(space.blocks.values()),
        variances=variances,
        expected=schedule.alpha2[steps, None] * variances + schedule.sigma2[steps, None],
        neighbours=(2, 3, 3)[: len(variances)],
        parts=np.ones((len(variances), 3), dtype=bool),
        alpha=0.05,
        mi_threshold=0.1,
    )
