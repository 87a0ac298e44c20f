import numpy as np
import pytest

from gaga.stats.dependence import dependence_curves, null_of
from gaga.stats.groups import deal, resampled_means


def test_the_null_is_taken_away_with_its_own_uncertainty():
    rng = np.random.default_rng(0)
    data, null = rng.normal(0.3, 0.1, size=(2, 1000)), rng.normal(0.2, 0.1, size=(2, 500))
    spread, null_spread = deal(1000, 400, rng), deal(500, 400, rng)

    def means(values, resampling):
        sums = np.zeros((resampling.n_groups, 1, 1, 2))
        np.add.at(sums, resampling.group, values.T[:, None, None, :])
        return resampled_means(sums, resampling)

    curves = dependence_curves(means(data, spread), [means(null, null_spread)] * 2, 0.95)
    expected = data.mean(axis=1) - null.mean(axis=1)
    np.testing.assert_allclose(curves.estimate[0, 0, :, 1], expected)
    width = (curves.high - curves.low)[0, 0, 0, 0]
    assert width == pytest.approx(2 * 1.96 * 0.1 * np.sqrt(1 / 1000 + 1 / 500), rel=0.25)
    np.testing.assert_allclose(curves.null_resampled.mean(axis=0), 0, atol=0.001)


def test_only_the_matched_gaussian_has_a_null_of_its_own():
    assert null_of("matched") == "matched"
    assert {null_of(k) for k in ("published", "scalar", "block", "size", "prior")} == {"independent"}
