"""The bootstrap covers what it says it covers."""

import numpy as np
import pytest

from gaga.core.statistics import bootstrap_mean, bootstrap_weights, share_interval


def test_weights_sum_to_one_and_count_draws() -> None:
    weights = bootstrap_weights(50, 400, np.random.default_rng(0))
    assert weights.shape == (400, 50)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(weights * 50, np.round(weights * 50), atol=1e-9)
    # A molecule is missing from a resample with probability (1 - 1/n)^n.
    absent, expected = np.mean(weights == 0), (1 - 1 / 50) ** 50
    assert abs(absent - expected) < 4 * np.sqrt(expected * (1 - expected) / weights.size)


def test_the_estimate_is_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=(40, 2, 3)).astype(np.float32)
    mean, low, high = bootstrap_mean(values, rng=np.random.default_rng(2), n_resamples=200)
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(axis=0), rtol=1e-12)
    assert np.all(low < mean)
    assert np.all(mean < high)


def test_width_is_that_of_the_normal_interval() -> None:
    """For 400 Gaussian values: 2 x 1.96 s / sqrt(n), but for 4 standard errors of the two quantiles."""
    values = np.random.default_rng(3).normal(size=400)
    _, low, high = bootstrap_mean(values, rng=np.random.default_rng(4), n_resamples=4000)
    standard_error = values.std() / 20
    # Standard error of a 2.5 % quantile of 4000 normal draws: sqrt(p (1 - p) / n) / density = 0.042.
    assert abs(high - low - 3.92 * standard_error) < 4 * np.sqrt(2) * 0.042 * standard_error


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_coverage(level: float) -> None:
    """Of 500 data sets of 100 exponential values, the interval holds the true mean as often as it says.

    Percentile intervals of skewed data of this size cover about 1.5 points too little.
    """
    rng = np.random.default_rng(5)
    values = rng.exponential(size=(100, 500))
    _, low, high = bootstrap_mean(values, rng=rng, n_resamples=500, level=level)
    covered = np.mean((low <= 1.0) & (high >= 1.0))
    assert abs(covered - level) < 0.02 + 4 * np.sqrt(level * (1 - level) / 500)


def test_chunks_do_not_matter() -> None:
    """More molecules than fit into one chunk of resamples: still every resample is filled."""
    values = np.random.default_rng(6).normal(size=50_000)
    mean, low, high = bootstrap_mean(values, rng=np.random.default_rng(7), n_resamples=170)
    assert abs((high - low) / (3.92 * values.std() / np.sqrt(50_000)) - 1) < 0.4
    assert low < mean < high


def test_constant_values_have_no_width() -> None:
    """A rate of 100 % has an upper bound of 1, not of a rounding error more."""
    assert bootstrap_mean(np.ones(117), rng=np.random.default_rng(0), n_resamples=50, level=0.9) == (1.0, 1.0, 1.0)


def test_one_seed_one_interval() -> None:
    values = np.random.default_rng(8).normal(size=30)
    first, second = (bootstrap_mean(values, rng=np.random.default_rng(9)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("successes", [30, 300])
def test_counts_give_the_interval_of_the_molecules_themselves(successes: int) -> None:
    counted = share_interval(successes, 400, rng=np.random.default_rng(0), n_resamples=20_000)
    mean, low, high = bootstrap_mean(np.arange(400.0) < successes, rng=np.random.default_rng(1))
    assert counted.estimate == mean
    np.testing.assert_allclose([counted.low, counted.high], [low, high], atol=0.006)


def test_all_or_none_have_the_interval_of_wilson() -> None:
    rng, width = np.random.default_rng(0), 1.959964**2 / (400 + 1.959964**2)
    none, every = share_interval(0, 400, rng=rng), share_interval(400, 400, rng=rng)
    np.testing.assert_allclose([none.estimate, none.low, none.high], [0, 0, width], rtol=1e-6)
    np.testing.assert_allclose([every.estimate, every.low, every.high], [1, 1 - width, 1], rtol=1e-6)
