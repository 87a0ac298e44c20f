"""What is known in closed form of molecules with given second moments: the best linear denoiser, its error, and the
divergence of their Gaussian from any other.

x of N atoms has mean mu in every atom and covariance W (x) (I - 11'/N) + B (x) 11'/N (`noise.Moments`), so each
quantity is N - 1 times one of W and once one of B: columns that are centred have no B, and no dimension there. Float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from gaga.models.network.layout import Layout
from gaga.noise import Moments, ReferenceGaussian


def linear_mmse(
    moments: Moments, n_atoms: Int64[np.ndarray, " M"], snr: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, "M n"]:
    """Least mean squared error of a linear denoiser, tr Sigma (1 + snr Sigma)^-1, of molecules of these sizes."""

    def of_size(n: int) -> NDArray[np.float64]:
        values, times = _spectrum(moments, n)
        return np.asarray(times @ (values[:, None] / (1 + np.outer(values, snr))))

    return _by_size(of_size, n_atoms)


def information(
    moments: Moments, n_atoms: Int64[np.ndarray, " M"], snr: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, "M n"]:
    """Half the integral of `linear_mmse` from 0 to each snr, 1/2 ln det(1 + snr Sigma), in nats."""

    def of_size(n: int) -> NDArray[np.float64]:
        values, times = _spectrum(moments, n)
        return 0.5 * times @ np.log1p(np.outer(values, snr))

    return _by_size(of_size, n_atoms)


def divergence(
    reference: ReferenceGaussian, n_atoms: Int64[np.ndarray, " M"], alpha2: float
) -> Float64[np.ndarray, " M"]:
    """KL(matched_t || reference_t) in nats, of molecules of these sizes, on the zero-mean subspace.

    1/2 [tr G^-1 S - dim + ln det G / det S + |G^-1/2 (difference of means)|^2].
    """
    matched = ReferenceGaussian("matched", reference.moments)
    if reference.kind == "matched":
        return np.zeros(len(n_atoms))
    free = ~reference.moments.centred
    away = (matched.mean(alpha2) - reference.mean(alpha2))[free]

    def of_size(n: int) -> NDArray[np.float64]:
        (within, between), (g_within, g_between) = (g.covariances(n, alpha2) for g in (matched, reference))
        between, g_between = between[np.ix_(free, free)], g_between[np.ix_(free, free)]
        shift = 0.5 * n * away @ np.linalg.solve(g_between, away)
        return np.asarray((n - 1) * _divergence(within, g_within) + _divergence(between, g_between) + shift)

    return _by_size(of_size, n_atoms)


def _divergence(covariance: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """KL(N(0, covariance) || N(0, other)); 0 without columns."""
    eigenvalues = np.linalg.eigvals(np.linalg.solve(other, covariance)).real
    return float(0.5 * (eigenvalues - 1 - np.log(eigenvalues)).sum())


def _spectrum(moments: Moments, n_atoms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues of the covariance of x at this size, and how often each occurs."""
    within, between = (np.clip(np.linalg.eigvalsh(part), 0.0, None) for part in moments.of_size(n_atoms))
    return np.concatenate([within, between]), np.repeat([n_atoms - 1.0, 1.0], moments.columns)


def _by_size(of_size: Callable[[int], NDArray[np.float64]], n_atoms: Int64[np.ndarray, " M"]) -> NDArray[np.float64]:
    """A quantity of each molecule that depends on its size alone."""
    sizes, which = np.unique(n_atoms, return_inverse=True)
    return np.stack([of_size(int(n)) for n in sizes])[which]


@dataclass(frozen=True, eq=False)
class Wiener:
    """The best linear denoiser at one noise level: x_hat = mu + G_W (z - z_mean) + G_B (z_mean - alpha mu).

    Attributes:
        alpha: alpha_t. mean: mu, [C].
        within, between: G_W and G_B of each molecule, [M, C, C].
    """

    alpha: float
    mean: Float64[Tensor, " C"]
    within: Float64[Tensor, "M C C"]
    between: Float64[Tensor, "M C C"]

    @classmethod
    def of(cls, moments: Moments, alpha2: float, layout: Layout, device: torch.device) -> "Wiener":
        """For molecules of this layout."""
        sizes, which = np.unique(layout.n_atoms, return_inverse=True)
        pairs = [moments.of_size(int(n)) for n in sizes]
        gains = [np.stack([_gain(pair[part], alpha2) for pair in pairs])[which] for part in (0, 1)]
        within, between = (torch.from_numpy(gain).to(device) for gain in gains)
        return cls(float(np.sqrt(alpha2)), torch.from_numpy(moments.mean).to(device), within, between)

    def __call__(self, z: Float64[Tensor, "A C"], layout: Layout) -> Float64[Tensor, "A C"]:
        """E[x | z_t] of Gaussian x."""
        means = layout.sum(z) / layout.sizes[:, None]
        inner = z - layout.per_atom(means)
        outer = torch.einsum("mij,mj->mi", self.between, means - self.alpha * self.mean)
        return torch.einsum("aij,aj->ai", layout.per_atom(self.within), inner) + layout.per_atom(outer) + self.mean


def _gain(covariance: NDArray[np.float64], alpha2: float) -> NDArray[np.float64]:
    """alpha Sigma (alpha^2 Sigma + sigma^2)^-1."""
    total = alpha2 * covariance + (1 - alpha2) * np.eye(len(covariance))
    gain: NDArray[np.float64] = np.linalg.solve(total, np.sqrt(alpha2) * covariance)
    return gain
