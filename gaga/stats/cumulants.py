"""Norms of cumulant tensors of arrays, by pairs of samples and without tensors: Proposition 3.1 of GAGA.

H^(K)(x) = beta ||offdiag Cov(x)||_F + sum over k = 3..K of w_k ||C^(k)(x)||_F (Qu et al. 2026), with C^(k) the cumulant
tensor of order k. Under z = alpha x + sigma eps it contracts: C^(k)(z) = alpha^k C^(k)(x), offdiag Cov by alpha^2.

For two halves A and B of the samples, each about its own mean, with G = A B' and S_A, S_B their covariances,

    ||C3||^2 = mean G^3
    ||C4||^2 = mean G^4 - 3 mean_a (a' S_B a)^2 - 3 mean_b (b' S_A b)^2 + 3 (tr S_A S_B)^2 + 6 tr S_A S_B S_A S_B
    ||offdiag Cov||^2 = tr S_A S_B - sum_i S_A,ii S_B,ii

which is the inner product of two independent estimates of the tensor. The norm of one estimate is too large by the
order of d^k / n: enough to make Gaussian data look far from Gaussian. The squares here may be below 0; norms are signed
roots. The fourth is the noisiest: see its interval.

For molecules see `gaga.stats.molecule_cumulants`: there the file's order and orientation would be measured too.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput

ORDERS = ("offdiag", "C3", "C4")
_BLOCK_ENTRIES = 4_000_000  # of G in memory


@dataclass(frozen=True, kw_only=True, eq=False)
class CumulantNorms:
    """Norms of the off-diagonal covariance and of the cumulants of orders 3 and 4 of d-dimensional samples.

    Attributes:
        squared: ||offdiag Cov||^2, ||C3||^2, ||C4||^2, [3]; they may be below 0.
        low, high: ends of their bootstrap intervals over samples, [3]; nan without resamples.
        spread: standard deviation of the bootstrap, [3].
        variance: mean variance of the d columns.
        n_samples: M. columns: d.
    """

    squared: Float64[np.ndarray, " 3"]
    low: Float64[np.ndarray, " 3"]
    high: Float64[np.ndarray, " 3"]
    spread: Float64[np.ndarray, " 3"]
    variance: float
    n_samples: int
    columns: int

    @property
    def norms(self) -> Float64[np.ndarray, " 3"]:
        """Their signed roots."""
        return signed_root(self.squared)

    @property
    def scale_free(self) -> Float64[np.ndarray, " 3"]:
        """The norms over variance, variance^1.5 and variance^2: what does not depend on units."""
        return self.norms / self.variance ** np.array([1.0, 1.5, 2.0])


def cumulant_norms(
    samples: Float64[np.ndarray, "M d"],
    *,
    seed: int = 0,
    n_splits: int = 4,
    n_resamples: int = 0,
    level: float = 0.95,
) -> CumulantNorms:
    """The norms of M samples [M, d], as means over random halves; intervals by the bootstrap over samples.

    Raises:
        InvalidInput: there are fewer than four samples, or one that is not finite.
    """
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim != 2 or len(x) < 4 or not np.isfinite(x).all():
        raise InvalidInput("cumulants need four finite samples or more, [M, d]", received=list(x.shape))
    rng = np.random.default_rng(seed)
    once = np.ones(len(x), dtype=np.int64)
    squared = np.mean([_of_halves(x, once, rng) for _ in range(n_splits)], axis=0)
    drawn = np.array([_of_halves(x, _counts(len(x), rng), rng) for _ in range(n_resamples)]).reshape(-1, 3)
    low = high = spread = np.full(3, np.nan)
    if n_resamples:
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        spread = drawn.std(axis=0)
    return CumulantNorms(
        squared=squared, low=low, high=high, spread=spread, variance=float(x.var(axis=0).mean()), n_samples=len(x),
        columns=x.shape[1],
    )  # fmt: skip


def signed_root(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """sqrt of what is above 0, minus sqrt of minus what is below."""
    return np.asarray(np.sign(squared) * np.sqrt(np.abs(squared)))


def _counts(n: int, rng: np.random.Generator) -> Int64[np.ndarray, " M"]:
    """How often each sample is drawn in one resample."""
    return np.bincount(rng.integers(n, size=n), minlength=n)


def _of_halves(
    x: Float64[np.ndarray, "M d"], counts: Int64[np.ndarray, " M"], rng: np.random.Generator
) -> Float64[np.ndarray, " 3"]:
    """The three squares from one split into halves; the copies of a sample stay in one of them."""
    order = rng.permutation(len(x))
    halves = order[: len(x) // 2], order[len(x) // 2 :]
    (a, wa), (b, wb) = (_weighted(x[half], counts[half]) for half in halves)
    third = fourth = 0.0
    within_a, within_b = np.zeros(len(a)), np.zeros(len(b))  # a' S_B a and b' S_A b
    rows = max(1, _BLOCK_ENTRIES // len(b))
    for first in range(0, len(a), rows):
        part = slice(first, first + rows)
        g = a[part] @ b.T
        square = g * g
        within_a[part] = square @ wb
        within_b += wa[part] @ square
        third += float(wa[part] @ (square * g) @ wb)
        fourth += float(wa[part] @ (square * square) @ wb)
    s_a, s_b = ((values * w[:, None]).T @ values for values, w in ((a, wa), (b, wb)))
    both = s_a @ s_b
    trace = float(np.trace(both))
    corrections = 3 * wa @ within_a**2 + 3 * wb @ within_b**2 - 3 * trace**2 - 6 * float(np.sum(both * both.T))
    return np.array([trace - float(np.diag(s_a) @ np.diag(s_b)), third, fourth - corrections])


def _weighted(
    x: Float64[np.ndarray, "m d"], counts: Int64[np.ndarray, " m"]
) -> tuple[Float64[np.ndarray, "k d"], Float64[np.ndarray, " k"]]:
    """The samples that were drawn, about their mean, and their weights, of sum 1."""
    drawn = counts > 0
    weights = counts[drawn] / counts.sum()
    return x[drawn] - weights @ x[drawn], weights
