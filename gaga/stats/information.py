"""Mutual information from nearest neighbours: Kraskov, Stögbauer and Grassberger, Phys. Rev. E 69, 066138.

Their first estimator (2004), with the conventions of scikit-learn: each variable divided by its standard
deviation, the largest-coordinate metric, negative estimates set to 0. A pair of variables costs O(n^2) here,
with no tree: the samples are the few atoms or columns of a molecule, and thousands of molecules share each
operation.
"""

from functools import lru_cache, reduce

import numpy as np
from jaxtyping import Float, Float64, Num
from numpy.typing import NDArray
from scipy.special import digamma

from gaga.core.errors import InvalidInput

# Numbers in one working array of `mean_pairwise_information`, so that a few of them stay in a core's cache.
_WORKING_SET = 262144


def mutual_information(x: Num[np.ndarray, " n"], y: Num[np.ndarray, " n"], n_neighbors: int) -> float:
    """Mutual information of two continuous variables in nats, at least 0.

    Unlike scikit-learn no noise is added: equal values stay ties, and the count of neighbours is of those
    strictly nearer than the k-th.

    Raises:
        InvalidInput: the samples differ in length, are not finite, or n_neighbors is not in 1..n-1.
    """
    samples = np.stack([_column(x, len(x)), _column(y, len(x))])
    n = samples.shape[1]
    if not 1 <= n_neighbors < n:
        raise InvalidInput(f"the neighbours of {n} samples number 1 to {n - 1}", received=n_neighbors)
    return float(_mean_of_tile(samples[:, :, None], n_neighbors)[0])


def mean_pairwise_information(values: Float[np.ndarray, "V n B"], n_neighbors: int) -> Float64[np.ndarray, " B"]:
    """Mean over all pairs of V variables of their mutual information (nats), for B sets of n samples each.

    If there is one variable, or no more samples than neighbours, nothing can be estimated and the mean is
    0. So it is at n = n_neighbors + 1: ties apart, the farthest sample sets the radius in just one of the two
    variables, and the estimate is psi(n) + psi(n - 1) - psi(n) - psi(n - 1).
    """
    n_variables, n, n_sets = values.shape
    if n_variables < 2 or n <= n_neighbors + 1:
        return np.zeros(n_sets)
    tile = max(8, _WORKING_SET // (n_variables * n * n))
    means = [_mean_of_tile(values[:, :, b : b + tile], n_neighbors) for b in range(0, n_sets, tile)]
    return np.concatenate(means) if means else np.zeros(0)


def _mean_of_tile(values: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """The mean over pairs for one tile of sets; variable i goes against all that come after it at once."""
    n_variables, _, n_sets = values.shape
    distances = _scaled_distances(values)
    total = np.zeros(n_sets)
    for i in range(n_variables - 1):
        total += _information_with_rest(distances[:, i : i + 1], distances[:, i + 1 :], k).sum(axis=0)
    return np.asarray(total / (n_variables * (n_variables - 1) / 2))


def _scaled_distances(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """|x_b - x_a| / std of each variable, [n - 1, V, n, B]; first axis: b = a + 1, a + 2, ... mod n."""
    deviation = values.std(axis=1, keepdims=True)
    scaled = values / np.where(deviation == 0, 1, deviation)
    return np.stack([np.abs(np.roll(scaled, -shift, axis=1) - scaled) for shift in range(1, values.shape[1])])


def _information_with_rest(one: NDArray[np.floating], rest: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """Equation 8 for one variable [n - 1, 1, n, B] against each of the rest [n - 1, R, n, B] -> [R, B]."""
    n = len(one) + 1
    radius = np.nextafter(kth_smallest(np.maximum(one, rest), k), np.zeros((), one.dtype))
    psi = digamma_table(n)
    neighbours = psi.take(_count(one <= radius)) + psi.take(_count(rest <= radius))
    estimate = psi[n - 1] + psi[k - 1] - neighbours.mean(axis=1)
    return np.asarray(np.maximum(estimate, 0.0))


def _count(within: NDArray[np.bool_]) -> NDArray[np.integer]:
    dtype = np.uint8 if len(within) < 256 else np.int32
    return np.asarray(np.add.reduce(within.view(np.uint8), axis=0, dtype=dtype))


@lru_cache(maxsize=1024)
def digamma_table(n: int) -> NDArray[np.float64]:
    """digamma(count + 1) for counts 0..n-1."""
    return np.asarray(digamma(np.arange(1, n + 1)), dtype=np.float64)


def kth_smallest(values: Float[np.ndarray, "n *rest"], k: int) -> Float[np.ndarray, "*rest"]:
    """The k-th smallest along the first axis: a tournament in which two halves keep their k smallest."""
    ranked = [values]
    while len(ranked[0]) > 1:
        ranked = _play_round(ranked, k)
    return np.asarray(ranked[k - 1][0])


def _play_round(ranked: list[NDArray[np.floating]], k: int) -> list[NDArray[np.floating]]:
    """Merge the first half of the entrants with the second; an odd one out waits, padded with infinity."""
    half = len(ranked[0]) // 2
    merged = [
        _smallest_of_merged([r[:half] for r in ranked], [r[half : 2 * half] for r in ranked], m)
        for m in range(1, min(k, 2 * len(ranked)) + 1)
    ]
    if len(ranked[0]) == 2 * half:
        return merged
    waiting = [r[2 * half :] for r in ranked]
    waiting += [np.full_like(waiting[0], np.inf)] * (len(merged) - len(waiting))
    return [np.concatenate([m, w]) for m, w in zip(merged, waiting, strict=True)]


def _smallest_of_merged(a: list[NDArray[np.floating]], b: list[NDArray[np.floating]], m: int) -> NDArray[np.floating]:
    """The m-th smallest of two sorted lists: the least, over i + j = m, of max(a_i, b_j)."""
    candidates = [np.maximum(a[i - 1], b[m - i - 1]) for i in range(1, m) if i <= len(a) and m - i <= len(b)]
    candidates += [side[m - 1] for side in (a, b) if m <= len(side)]
    return reduce(np.minimum, candidates)


def _column(values: NDArray[np.generic], n: int) -> Float64[np.ndarray, " n"]:
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (n,) or not np.all(np.isfinite(column)):
        raise InvalidInput("mutual information needs two equally long columns of finite values", received=column.shape)
    return column
