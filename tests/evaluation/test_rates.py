import numpy as np
import pytest

from gaga.core.statistics import bootstrap_mean
from gaga.evaluation.rates import bootstrap_rate, first_occurrences


def test_ratio_names_numerator_and_denominator():
    rate = bootstrap_rate(np.array([3, 0, 5]), np.array([3, 4, 5]), "atoms", np.random.default_rng(0))
    assert (rate.numerator, rate.denominator, rate.of) == (8, 12, "atoms")
    assert rate.value == pytest.approx(2 / 3)
    assert rate.low < rate.value < rate.high


def test_interval_of_a_proportion_is_the_binomial_one():
    flags = np.arange(2000) < 1800
    rate = bootstrap_rate(flags, np.ones(2000, np.int64), "molecules", np.random.default_rng(1))
    half_width = 1.96 * np.sqrt(0.9 * 0.1 / 2000)
    assert rate.high - rate.low == pytest.approx(2 * half_width, rel=0.1)


def test_interval_equals_that_of_resampled_molecules():
    rng = np.random.default_rng(2)
    sizes = np.full(400, 10)
    stable = rng.binomial(10, 0.95, size=400)
    rate = bootstrap_rate(stable, sizes, "atoms", rng)
    mean, low, high = bootstrap_mean(stable / 10, rng=rng)
    assert rate.value == pytest.approx(float(mean))
    assert (rate.low, rate.high) == pytest.approx((float(low), float(high)), abs=0.1 * float(high - low))


def test_interval_of_a_ratio_covers_its_true_value():
    # Large molecules are worse here, so the ratio is not the mean of the molecules' own rates.
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        sizes = rng.choice([5, 20], size=300)
        stable = rng.binomial(sizes, np.where(sizes == 5, 0.9, 0.6))
        rate = bootstrap_rate(stable, sizes, "atoms", rng)
        covered += rate.low <= (5 * 0.9 + 20 * 0.6) / 25 <= rate.high
    assert 178 <= covered <= 200  # 190 expected, standard deviation 3


def test_nothing_asked_is_nothing_known():
    rate = bootstrap_rate(np.zeros(4, bool), np.zeros(4, bool), "valid molecules", np.random.default_rng(0))
    assert (rate.denominator, rate.low, rate.high) == (0, 0.0, 1.0)
    assert np.isnan(rate.value)


def test_one_trial_among_failures():
    flags = np.array([True, False, False])
    rate = bootstrap_rate(flags, flags, "valid molecules", np.random.default_rng(0))
    assert (rate.value, rate.low, rate.high) == (1.0, pytest.approx(0.2065, abs=1e-4), 1.0)


def test_where_none_or_all_succeed_the_interval_is_wilsons():
    # 0 of 10: 1.96^2 / (10 + 1.96^2) = 0.2775; the bootstrap would say 0 to 0.
    none, every = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
    rng = np.random.default_rng(0)
    assert bootstrap_rate(none, every, "molecules", rng).high == pytest.approx(0.2775, abs=1e-4)
    assert bootstrap_rate(every, every, "molecules", rng).low == pytest.approx(0.7225, abs=1e-4)
    assert bootstrap_rate(none, every, "molecules", rng).low == 0.0


def test_first_occurrences():
    flags = first_occurrences(("C", "", "CC", "C", "", "CC", "O"))
    assert flags.tolist() == [True, False, True, False, False, False, True]
