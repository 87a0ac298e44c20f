"""`gaga.stats.information` on a device: nearest-neighbour mutual information of thousands of sets at once.

The conventions are those of the numpy twin, and so are ties: the deviations that variables are divided by are the
same to the last bit (sums in its order, quotients and roots that are rounded once), and distances that tie there tie
here.
"""

from functools import lru_cache, reduce

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from gaga.stats.device.arrays import to_device
from gaga.stats.information import digamma_table


def mean_pairwise_information(
    values: Float64[Tensor, "n V B"], n_neighbors: int, working_set: int
) -> Float64[Tensor, " B"]:
    """Mean over all pairs of V variables of their mutual information (nats), for B sets of n samples each.

    0 if the numpy twin has 0: one variable, or n at most n_neighbors + 1. No working array holds more than about
    `working_set` numbers, or those of one set.
    """
    n, n_variables, n_sets = values.shape
    if n_variables < 2 or n <= n_neighbors + 1:
        return values.new_zeros(n_sets)
    tile = max(1, working_set // (n_variables * n * n))
    tiles = (values[:, :, b : b + tile].contiguous() for b in range(0, n_sets, tile))
    return torch.cat([_mean_of_tile(part, n_neighbors) for part in tiles])


def _mean_of_tile(values: Float64[Tensor, "n V B"], k: int) -> Float64[Tensor, " B"]:
    """The mean over pairs for one tile of sets; variable i goes against all that come after it at once."""
    _, n_variables, n_sets = values.shape
    distances = _scaled_distances(values)
    total = values.new_zeros(n_sets)
    for i in range(n_variables - 1):
        total += _information_with_rest(distances[:, :, i : i + 1], distances[:, :, i + 1 :], k).sum(dim=0)
    return total / (n_variables * (n_variables - 1) / 2)


def _scaled_distances(values: Float64[Tensor, "n V B"]) -> Float64[Tensor, "n_minus_1 n V B"]:
    """|x_b - x_a| / std of each variable, [n - 1, n, V, B]; first axis: b = a + 1, a + 2, ... mod n."""
    n = len(values)
    deviation = _square_root(_mean((values - _mean(values)).square()))
    scaled = values / deviation.masked_fill_(deviation == 0, 1.0)
    samples = torch.arange(n, device=values.device)
    return scaled[(samples + samples[1:, None]) % n].sub_(scaled).abs_()


def _mean(values: Float64[Tensor, "n V B"]) -> Float64[Tensor, "V B"]:
    """The mean along the first axis, added up in order; a number of Python's would be multiplied by its reciprocal."""
    return values.cumsum(dim=0)[-1] / values.new_full((), len(values))


def _square_root(values: Float64[Tensor, "V B"]) -> Float64[Tensor, "V B"]:
    """The nearest number to each root, which torch's own need not be on the CPU."""
    return torch.from_numpy(np.sqrt(values.numpy())) if values.device.type == "cpu" else values.sqrt()


def _information_with_rest(
    one: Float64[Tensor, "n_minus_1 n 1 B"], rest: Float64[Tensor, "n_minus_1 n R B"], k: int
) -> Float64[Tensor, "R B"]:
    """Equation 8 of Kraskov et al. for one variable against each of the rest."""
    n = len(one) + 1
    radius = torch.nextafter(kth_smallest(torch.maximum(one, rest), k), one.new_zeros(()))
    psi = _digamma(n, one.device)
    neighbours = psi[(one <= radius).sum(dim=0)] + psi[(rest <= radius).sum(dim=0)]
    return (psi[n - 1] + psi[k - 1] - neighbours.mean(dim=0)).clamp_(min=0.0)


@lru_cache(maxsize=1024)
def _digamma(n: int, device: torch.device) -> Float64[Tensor, " n"]:
    return to_device(digamma_table(n), device)


def kth_smallest(values: Float64[Tensor, "n *rest"], k: int) -> Float64[Tensor, "*rest"]:
    """The k-th smallest along the first axis: a tournament in which two halves keep their k smallest."""
    ranked = [values]
    while len(ranked[0]) > 1:
        ranked = _play_round(ranked, k)
    return ranked[k - 1][0]


def _play_round(ranked: list[Tensor], k: int) -> list[Tensor]:
    """Merge the first half of the entrants with the second; an odd one out waits, padded with infinity."""
    half = len(ranked[0]) // 2
    first, second = [r[:half] for r in ranked], [r[half : 2 * half] for r in ranked]
    merged = [_smallest_of_merged(first, second, m) for m in range(1, min(k, 2 * len(ranked)) + 1)]
    if len(ranked[0]) == 2 * half:
        return merged
    waiting = [r[2 * half :] for r in ranked]
    waiting += [torch.full_like(waiting[0], torch.inf)] * (len(merged) - len(waiting))
    return [torch.cat(pair) for pair in zip(merged, waiting, strict=True)]


def _smallest_of_merged(a: list[Tensor], b: list[Tensor], m: int) -> Tensor:
    """The m-th smallest of two sorted lists: the least, over i + j = m, of max(a_i, b_j)."""
    candidates = [torch.maximum(a[i - 1], b[m - i - 1]) for i in range(1, m) if i <= len(a) and m - i <= len(b)]
    candidates += [side[m - 1] for side in (a, b) if m <= len(side)]
    return reduce(torch.minimum, candidates)
