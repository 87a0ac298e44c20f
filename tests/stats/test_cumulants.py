"""Norms of cumulant tensors of arrays: known laws, Gaussians, contraction under noise."""

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.stats.cumulants import cumulant_norms, signed_root

D = 6


def mixed(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n samples of mixed exponentials, and the mixing matrix, of which all cumulants are known."""
    mixing = rng.normal(size=(D, D)) / np.sqrt(D)
    return (rng.exponential(size=(n, D)) - 1) @ mixing, mixing


def known(mixing: np.ndarray) -> np.ndarray:
    """Squared norms of offdiag Cov, C3 and C4 of the mixture: an exponential's cumulants are 1, 2 and 6."""
    gram = mixing @ mixing.T
    covariance = mixing.T @ mixing
    offdiag = np.sum(covariance**2) - np.sum(np.diag(covariance) ** 2)
    return np.array([offdiag, 4 * np.sum(gram**3), 36 * np.sum(gram**4)])


def test_a_mixture_has_its_known_cumulants():
    x, mixing = mixed(np.random.default_rng(1), 4000)
    found = cumulant_norms(x, n_resamples=12)
    assert np.all(np.abs(found.squared - known(mixing)) < 3 * found.spread)
    assert np.all(found.spread < 0.5 * known(mixing))
    assert np.all(found.low < found.high)
    np.testing.assert_allclose(found.norms[0], np.sqrt(known(mixing)[0]), rtol=0.1)


def test_gaussians_have_none_within_two_standard_errors():
    x = np.random.default_rng(2).normal(size=(3000, D)) * np.array([1, 2, 3, 1, 2, 3])
    found = cumulant_norms(x, n_resamples=12)
    assert np.all(np.abs(found.squared) < 2 * found.spread)


def test_noise_contracts_the_order_k_by_alpha_to_k():
    rng = np.random.default_rng(3)
    x, mixing = mixed(rng, 3000)
    alpha2 = 0.5
    z = np.sqrt(alpha2) * x + np.sqrt(1 - alpha2) * rng.normal(size=x.shape)
    found = cumulant_norms(z, n_resamples=12)
    expected = known(mixing) * alpha2 ** np.array([2, 3, 4])
    assert np.all(np.abs(found.squared - expected) < 3 * found.spread)


def test_a_rotation_leaves_the_tensors_norms():
    rng = np.random.default_rng(4)
    x, _ = mixed(rng, 500)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    before, after = cumulant_norms(x), cumulant_norms(x @ rotation + 7.0)
    np.testing.assert_allclose(after.squared[1:], before.squared[1:], rtol=1e-9)
    np.testing.assert_allclose(cumulant_norms(3 * x).scale_free, before.scale_free, rtol=1e-9)


def test_what_is_no_sample_is_refused():
    for bad in (np.zeros((3, 2)), np.zeros(9), np.full((9, 2), np.nan)):
        with pytest.raises(InvalidInput, match="four finite samples"):
            cumulant_norms(bad)
    np.testing.assert_array_equal(signed_root(np.array([-4.0, 9.0])), [-2.0, 3.0])
