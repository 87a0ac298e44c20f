import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from gaga.chem.geometry import Measured
from gaga.evaluation.distances import _wasserstein, distances_to, quantiles_of, size_distance

NAMES = {1: "one", 2: "two"}


def measured(**values):
    """Values of kinds 1 and 2, given as one=..., two=..."""
    parts = [(code, np.asarray(values[name])) for code, name in ((1, "one"), (2, "two")) if name in values]
    return Measured(
        codes=np.concatenate([np.full(len(v), code, np.int32) for code, v in parts]),
        values=np.concatenate([v for _, v in parts]).astype(np.float32),
    )


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return measured(one=rng.normal(1.5, 0.02, 30_000), two=rng.normal(1.1, 0.01, 10_000))


def test_distance_of_a_shift_is_the_shift(data):
    reference = quantiles_of(data, 0.001)
    shifted = Measured(data.codes, data.values + np.where(data.codes == 1, 0.05, 0.01).astype(np.float32))
    result = distances_to(reference, shifted, NAMES.get)
    np.testing.assert_allclose(result.distances, [0.05, 0.01], rtol=1e-3)
    assert result.mean == pytest.approx(0.75 * 0.05 + 0.25 * 0.01, rel=1e-3)
    assert result.counts.tolist() == [30_000, 10_000]


def test_distance_to_itself_is_that_of_the_quantiles(data):
    result = distances_to(quantiles_of(data, 0.001), data, NAMES.get)
    assert np.all(result.distances < 1e-4)


def test_kinds_are_ordered_and_rare_ones_left_out(data):
    assert quantiles_of(data, 0.001).codes.tolist() == [1, 2]
    assert quantiles_of(data, 0.5).codes.tolist() == [1]


def test_few_values_have_no_distance(data):
    result = distances_to(quantiles_of(data, 0.001), measured(one=[1.5] * 19, two=[1.2] * 20), NAMES.get)
    assert np.isnan(result.distances[0])
    assert result.mean == pytest.approx(result.distances[1]) == pytest.approx(0.1, abs=1e-3)


def test_no_values_at_all(data):
    result = distances_to(quantiles_of(data, 0.001), measured(one=[]), NAMES.get)
    assert np.isnan(result.mean)
    assert result.counts.tolist() == [0, 0]


def test_sizes():
    sizes = np.array([0, 0, 10, 10])
    assert size_distance(np.array([2, 3]), sizes) == pytest.approx(0.0)
    assert size_distance(np.array([12, 13]), sizes) == pytest.approx(10.0)
    assert np.isnan(size_distance(np.zeros(0, np.int64), sizes))


@pytest.mark.parametrize("n", [20, 21, 399, 400, 401, 12_345])
@pytest.mark.parametrize("k", [1, 7, 400])
def test_the_distance_of_steps_is_scipys(n, k):
    rng = np.random.default_rng(n + k)
    values = rng.normal(size=n).round(1).astype(np.float32)  # with ties
    quantiles = rng.normal(1.0, 2.0, size=k).astype(np.float32)
    assert _wasserstein(values, quantiles) == pytest.approx(wasserstein_distance(values, quantiles), rel=1e-12)
    assert _wasserstein(values, np.sort(values)) == 0.0
