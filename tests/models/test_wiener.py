"""Closed forms by W and B against the same on the whole covariance of a molecule, written out on its subspace."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from gaga.data.features import FeatureSpace
from gaga.models.network.layout import Layout
from gaga.models.wiener import Wiener, divergence, information, linear_mmse
from gaga.noise import REFERENCE_KINDS, Moments, ReferenceGaussian
from gaga.stats.moments import estimate_moments
from tests.models.conftest import gaussian_moments, toy_molecules

SIZES = np.array([2, 5, 7, 5])
SNR = np.array([1e-4, 0.3, 8.0])


@pytest.fixture(params=[True, False], ids=["centred", "uncentred"])
def moments(request) -> Moments:
    return estimate_moments(toy_molecules(300), FeatureSpace((1, 6), centred_features=request.param))


def basis(moments: Moments, n: int) -> np.ndarray:
    """Orthonormal directions [N C, dimensions] of the subspace: columns that are centred have no mean over atoms."""
    mean = np.full((n, n), 1 / n)
    projection = np.zeros((n * moments.columns,) * 2)
    for column, centred in enumerate(moments.centred):
        of_column = np.diag(np.arange(moments.columns) == column).astype(float)
        projection += np.kron(np.eye(n) - mean if centred else np.eye(n), of_column)
    values, vectors = np.linalg.eigh(projection)
    return vectors[:, values > 0.5]


def written_out(within: np.ndarray, between: np.ndarray, directions: np.ndarray, n: int) -> np.ndarray:
    mean = np.full((n, n), 1 / n)
    whole = np.kron(np.eye(n) - mean, within) + np.kron(mean, between)
    return directions.T @ whole @ directions


def test_error_and_information_of_the_whole_covariance(moments):
    errors, nats = linear_mmse(moments, SIZES, SNR), information(moments, SIZES, SNR)
    for row, n in enumerate(SIZES.tolist()):
        sigma = written_out(*moments.of_size(n), basis(moments, n), n)
        for column, snr in enumerate(SNR):
            through = np.eye(len(sigma)) + snr * sigma
            assert errors[row, column] == pytest.approx(np.trace(sigma @ np.linalg.inv(through)), rel=1e-9)
            assert nats[row, column] == pytest.approx(0.5 * np.linalg.slogdet(through)[1], rel=1e-9)


@pytest.mark.parametrize("kind", [kind for kind in REFERENCE_KINDS if kind != "matched"])
@pytest.mark.parametrize("alpha2", [0.02, 0.5, 0.9])
def test_divergence_of_the_whole_covariance(moments, kind, alpha2):
    found = divergence(ReferenceGaussian(kind, moments), SIZES, alpha2)
    for row, n in enumerate(SIZES.tolist()):
        directions = basis(moments, n)
        gaussians = [ReferenceGaussian(k, moments) for k in ("matched", kind)]
        s, g = (written_out(*gaussian.covariances(n, alpha2), directions, n) for gaussian in gaussians)
        m, h = (directions.T @ np.tile(gaussian.mean(alpha2), n) for gaussian in gaussians)
        ratio = np.linalg.slogdet(g)[1] - np.linalg.slogdet(s)[1]
        inverse = np.linalg.inv(g)
        expected = 0.5 * (np.trace(inverse @ s) - len(s) + ratio + (m - h) @ inverse @ (m - h))
        assert found[row] == pytest.approx(expected, rel=1e-8, abs=1e-10)
        assert expected > 0


def test_divergence_of_draws(moments):
    """The mean of ln p / p' over draws from the matched Gaussian, by scipy's densities."""
    n, alpha2 = 3, 0.6
    directions = basis(moments, n)
    laws = []
    for kind in ("matched", "prior"):
        gaussian = ReferenceGaussian(kind, moments)
        mean = directions.T @ np.tile(gaussian.mean(alpha2), n)
        laws.append(multivariate_normal(mean, written_out(*gaussian.covariances(n, alpha2), directions, n), seed=1))
    z = laws[0].rvs(40_000)
    ratio = laws[0].logpdf(z) - laws[1].logpdf(z)
    found = divergence(ReferenceGaussian("prior", moments), np.array([n]), alpha2)[0]
    assert abs(ratio.mean() - found) < 4 * ratio.std() / 200


def test_no_divergence_from_what_is_the_same():
    """Where columns of a block are alike and independent, one variance for each block is all there is."""
    for kind in ("block", "size", "matched"):
        found = divergence(ReferenceGaussian(kind, gaussian_moments()), np.array([9, 9]), 0.4)
        np.testing.assert_allclose(found, 0.0, atol=1e-12)
    assert divergence(ReferenceGaussian("scalar", gaussian_moments()), np.array([9]), 0.4)[0] > 1


def test_the_best_linear_denoiser_of_the_whole_covariance(moments):
    alpha2 = 0.7
    layout = Layout.of(SIZES)
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(SIZES.sum(), moments.columns)))
    z = layout.centre(z, int(moments.centred.sum()))
    found = Wiener.of(moments, alpha2, layout, torch.device("cpu"))(z, layout).numpy()
    for n, start in zip(SIZES.tolist(), np.cumsum(SIZES) - SIZES, strict=True):
        directions = basis(moments, n)
        sigma = written_out(*moments.of_size(n), directions, n)
        mu = np.tile(moments.mean, n)
        away = directions.T @ (z[start : start + n].numpy().ravel() - np.sqrt(alpha2) * mu)
        gain = np.sqrt(alpha2) * sigma @ np.linalg.inv(alpha2 * sigma + (1 - alpha2) * np.eye(len(sigma)))
        expected = mu + directions @ gain @ away
        np.testing.assert_allclose(found[start : start + n].ravel(), expected, atol=1e-10)


def test_a_molecule_of_one_atom_has_no_positions():
    moments = estimate_moments(toy_molecules(300), FeatureSpace((1, 6)))
    one = np.array([1])
    assert linear_mmse(moments, one, SNR).max() == 0
    assert divergence(ReferenceGaussian("prior", moments), one, 0.5)[0] == 0
