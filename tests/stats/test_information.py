from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_regression

from gaga.core.errors import InvalidInput
from gaga.stats import mutual_information
from gaga.stats.information import kth_smallest, mean_pairwise_information

GOLDEN = Path(__file__).parents[1] / "golden" / "ks_mi.npz"


def slow_mean(columns, k):
    """scikit-learn's estimate, averaged over all pairs of columns [n, V]."""
    pairs = combinations(range(columns.shape[1]), 2)
    return np.mean(
        [mutual_info_regression(columns[:, [i]], columns[:, j], n_neighbors=k, random_state=0)[0] for i, j in pairs]
    )


def test_golden_mutual_information():
    golden = np.load(GOLDEN)
    parts = np.split(golden["values"], np.cumsum(golden["shape"].prod(axis=1))[:-1])
    for values, shape, pairs, k, expected in zip(
        parts, golden["shape"], golden["mi_pairs"], golden["n_neighbors"], golden["mi"], strict=True
    ):
        table = values.reshape(shape)
        found = [mutual_information(table[:, i], table[:, j], int(k)) for i, j in pairs]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [4, 5, 9, 29, 31, 181])
@pytest.mark.parametrize("k", [2, 3])
def test_batched_mean_is_scikit_learns(n, k):
    rng = np.random.default_rng(n)
    values = rng.standard_normal((4, n, 3))
    values[1] = 0.8 * values[0] + 0.6 * values[1]
    expected = [slow_mean(values[:, :, b].T, k) for b in range(3)]
    np.testing.assert_allclose(mean_pairwise_information(values, k), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_sets", [1, 7, 300])
def test_a_set_does_not_depend_on_its_batch(n_sets):
    values = np.random.default_rng(0).standard_normal((18, 5, 300))
    whole = mean_pairwise_information(values, 3)
    np.testing.assert_array_equal(mean_pairwise_information(values[..., :n_sets], 3), whole[:n_sets])


@pytest.mark.parametrize(("n", "k"), [(1, 2), (2, 2), (3, 2), (4, 3)])
def test_too_few_samples_carry_no_information(n, k):
    values = np.random.default_rng(0).standard_normal((3, n, 4))
    assert mean_pairwise_information(values, k).tolist() == [0, 0, 0, 0]
    if n == k + 1:
        assert slow_mean(values[:, :, 0].T, k) == pytest.approx(0, abs=1e-12)


def test_one_variable_has_no_pairs():
    assert mean_pairwise_information(np.ones((1, 9, 2)), 3).tolist() == [0, 0]


def test_more_samples_than_a_byte_counts():
    x = np.random.default_rng(0).standard_normal((300, 2))
    assert mutual_information(x[:, 0], x[:, 1], 3) == pytest.approx(slow_mean(x, 3), abs=1e-9)


def test_correlated_normals_have_their_closed_form():
    rng, rho = np.random.default_rng(0), 0.9
    x = rng.standard_normal((2, 1000))
    found = mutual_information(x[0], rho * x[0] + np.sqrt(1 - rho**2) * x[1], 3)
    # The estimator's standard error is about 0.03 at 1000 samples.
    assert found == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.12)


def test_equal_columns():
    """The k-th neighbour is as far in both, k - 1 are nearer: psi(n) - psi(k)."""
    x = np.random.default_rng(0).standard_normal(20)
    assert mutual_information(x, x, 3) == pytest.approx(digamma(20) - digamma(3), abs=1e-12)


def test_a_constant_column_and_ties():
    x = np.repeat(np.arange(5.0), 4)
    assert mutual_information(x, np.ones(20), 3) == 0
    assert mutual_information(np.ones(20), np.ones(20), 3) == 0
    # Every value three more times: the radius is 0, and the ties at distance 0 are counted as neighbours.
    assert mutual_information(x, x, 3) == pytest.approx(digamma(20) + digamma(3) - 2 * digamma(4), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17, 28, 31])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_kth_smallest_is_a_sort(n, k):
    values = np.random.default_rng(n).integers(0, 9, size=(n, 4, 3)).astype(float)
    if k <= n:
        np.testing.assert_array_equal(kth_smallest(values, k), np.sort(values, axis=0)[k - 1])


@pytest.mark.parametrize(("x", "k"), [([1, 2, np.nan], 1), ([1, 2], 2), ([1, 2], 0)])
def test_unusable_columns(x, k):
    with pytest.raises(InvalidInput):
        mutual_information(np.array(x, float), np.arange(float(len(x))), k)
