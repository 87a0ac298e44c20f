import numpy as np
import pytest

from gaga.stats.groups import deal, quantile_interval, recentre, resampled_means


def sums_by_group(values, resampling):
    return np.bincount(resampling.group, weights=values, minlength=resampling.n_groups)[:, None]


@pytest.mark.parametrize("n", [2, 37, 100, 1234])
def test_groups_are_as_equal_as_can_be(n):
    resampling = deal(n, 5, np.random.default_rng(0))
    counts = np.bincount(resampling.group)
    assert len(counts) == min(n, 100) == resampling.n_groups
    assert counts.max() - counts.min() <= 1
    np.testing.assert_allclose(resampling.weights.sum(axis=1), 1)


def test_the_resampled_means_have_the_standard_error_of_a_mean():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=3000)
    resampling = deal(3000, 2000, rng)
    mean, resampled = resampled_means(sums_by_group(values, resampling), resampling)
    assert mean[0] == pytest.approx(values.mean())
    # 100 groups know their own spread to 1 / sqrt(200) = 7 %.
    assert resampled.std() == pytest.approx(values.std() / np.sqrt(3000), rel=0.25)
    low, high = quantile_interval(resampled, 0.95)
    assert low[0] < values.mean() < high[0]


def test_unequal_groups_are_weighted_by_their_molecules():
    resampling = deal(150, 300, np.random.default_rng(0))
    mean, resampled = resampled_means(sums_by_group(np.full(150, 3.0), resampling), resampling)
    np.testing.assert_allclose(resampled, 3.0)
    assert mean[0] == pytest.approx(3.0)


def test_recentred_distances_have_the_estimate_as_their_mean_and_none_is_negative():
    resampled = np.array([[0.03], [0.05], [0.04]])
    np.testing.assert_allclose(recentre(resampled, np.array([0.02]))[:, 0], [0.01, 0.03, 0.02], rtol=1e-6)
    assert recentre(resampled, np.array([0.001])).min() == 0
