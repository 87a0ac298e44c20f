"""QM9, and its moments, once for all the statistics' tests."""

import pytest

from gaga.core.molecules import PackedMolecules
from gaga.data import load_dataset
from gaga.data.features import FeatureSpace
from gaga.noise import Moments
from gaga.stats.moments import estimate_moments


@pytest.fixture(scope="session")
def qm9() -> PackedMolecules:
    return load_dataset("qm9").molecules


@pytest.fixture(scope="session")
def space() -> FeatureSpace:
    return FeatureSpace((1, 6, 7, 8, 9))


@pytest.fixture(scope="session")
def qm9_moments(qm9: PackedMolecules, space: FeatureSpace) -> Moments:
    return estimate_moments(qm9, space, published=0.848)
