from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import ks_2samp, kstest

from gaga.core.errors import InvalidInput
from gaga.stats import ks_statistic
from gaga.stats.ks import (
    N_CELLS,
    cells_of,
    critical_distance,
    distance_between_counts,
    distance_of_counts,
    ks_distances,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "ks_mi.npz"


def test_golden_statistics_and_p_values():
    golden = np.load(GOLDEN)
    sizes = golden["shape"].prod(axis=1)
    parts = np.split(golden["values"], np.cumsum(sizes)[:-1])
    found = np.array([ks_statistic(p.reshape(s)) for p, s in zip(parts, golden["shape"], strict=True)])
    np.testing.assert_allclose(found[:, 0], golden["ks_statistic"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[:, 1], golden["ks_pvalue"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 9, 29, 31, 181])
def test_batched_distances_are_scipys(n):
    rng = np.random.default_rng(n)
    values = rng.normal(0.2, 1.3, size=(5, n))
    values[0] = np.round(values[0])  # ties
    expected = [kstest(row, "norm").statistic for row in values]
    np.testing.assert_allclose(ks_distances(values), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("n", [3, 54, 90])
def test_the_critical_distance_has_a_p_value_of_alpha(n):
    z = np.sort(np.random.default_rng(0).standard_normal(n))
    assert (ks_statistic(z)[1] < 0.2) == (ks_statistic(z)[0] > critical_distance(n, 0.2))
    rejected = ks_distances(np.random.default_rng(1).standard_normal((20_000, n))) > critical_distance(n, 0.05)
    assert abs(rejected.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 20_000)


def test_a_distance_of_counts_is_short_by_less_than_a_cell():
    values = np.random.default_rng(0).normal(0.1, 1.1, size=50_000)
    exact = ks_distances(values[None])[0]
    counted = distance_of_counts(np.bincount(cells_of(values), minlength=N_CELLS))
    assert 0 <= exact - counted < 1 / N_CELLS


def test_cells_are_equally_probable_and_take_every_value():
    cells = cells_of(np.array([-40.0, -1.0, 0.0, 1.0, 40.0]))
    assert cells.tolist() == [0, int(ndtr(-1.0) * N_CELLS), N_CELLS // 2, int(ndtr(1.0) * N_CELLS), N_CELLS - 1]


@pytest.mark.parametrize("values", [[], [0.0, np.nan], [np.inf]])
def test_values_must_be_there_and_finite(values):
    with pytest.raises(InvalidInput, match="finite"):
        ks_statistic(np.array(values))


def test_a_distance_between_counts_is_scipys_at_the_edges():
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=3000), rng.normal(0.2, 1.0, size=2000)
    counts = [np.bincount(cells_of(values), minlength=N_CELLS) for values in (one, two)]
    found = distance_between_counts(np.stack([counts[0], counts[1]]), counts[1][None])
    # No cell holds many: between edges a distribution function of 2,000 values rises by a few of them.
    assert found[0] == pytest.approx(ks_2samp(one, two).statistic, abs=0.003)
    assert found[1] == 0
