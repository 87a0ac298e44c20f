"""`gaga.stats.ks` on a device: distances to N(0, 1) of many samples at once, and of pooled histograms."""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from gaga.stats.ks import N_CELLS


def ks_distances(values: Float64[Tensor, "B n"]) -> Float64[Tensor, " B"]:
    """KS distance of each row to N(0, 1): the largest gap on either side of every sorted value."""
    n = values.shape[1]
    probabilities = torch.special.ndtr(values.sort(dim=1).values)
    steps = torch.arange(n + 1, dtype=torch.float64, device=values.device) / n
    return torch.maximum(steps[1:] - probabilities, probabilities - steps[:-1]).amax(dim=1)


def cells_of(values: Float64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    """The cell 0..N_CELLS - 1 of each value, where N_CELLS cells are equally probable under N(0, 1)."""
    shares: Tensor = torch.special.ndtr(values)
    return (shares * N_CELLS).long().clamp_(max=N_CELLS - 1)


def distance_of_counts(counts: Float64[Tensor, "*rest cells"]) -> Float64[Tensor, "*rest"]:
    """KS distance to N(0, 1) of the samples behind these cell counts, short by less than 1 / cells."""
    cells = counts.shape[-1]
    edges = torch.arange(1, cells + 1, dtype=torch.float64, device=counts.device) / cells
    return (_distribution(counts) - edges).abs().amax(dim=-1)


def distance_between_counts(
    counts: Float64[Tensor, "*rest cells"], others: Float64[Tensor, "*#rest cells"]
) -> Float64[Tensor, "*rest"]:
    """KS distance of the samples behind these cell counts to each other, as far as the edges of the cells tell."""
    return (_distribution(counts) - _distribution(others)).abs().amax(dim=-1)


def _distribution(counts: Float64[Tensor, "*rest cells"]) -> Float64[Tensor, "*rest cells"]:
    """The distribution function at the upper edge of each cell."""
    cumulative = counts.cumsum(dim=-1)
    return cumulative / cumulative[..., -1:]
