"""Bootstrap over groups of molecules: intervals of any pooled statistic from one pass over the data.

Molecules are dealt at random into equal groups and groups are resampled, so that what is kept per group
(sums, or counts in cells) is enough. With as many groups as molecules this is the bootstrap of Efron (1979).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from gaga.core.statistics import bootstrap_weights

MAX_GROUPS = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampling:
    """The group of each molecule, [M], and the weights of the groups in each resample, [R, G], of sum 1."""

    group: Int64[np.ndarray, " M"]
    weights: Float64[np.ndarray, "R G"]

    @property
    def n_groups(self) -> int:
        """G."""
        return int(self.weights.shape[1])


def deal(n_molecules: int, n_resamples: int, rng: np.random.Generator) -> Resampling:
    """At most 100 groups of molecules, as equal as can be, and their weights in n_resamples resamples."""
    n_groups = min(n_molecules, MAX_GROUPS)
    return Resampling(
        group=(rng.permutation(n_molecules) % n_groups).astype(np.int64),
        weights=bootstrap_weights(n_groups, n_resamples, rng),
    )


def resampled_means(
    sums: Float64[np.ndarray, "G *rest"], resampling: Resampling
) -> tuple[Float64[np.ndarray, "*rest"], Float64[np.ndarray, "R *rest"]]:
    """Mean over molecules from sums over groups, and the means of the resamples."""
    counts = np.bincount(resampling.group, minlength=resampling.n_groups).astype(np.float64)
    totals = np.tensordot(resampling.weights, sums, axes=1)
    sizes = (resampling.weights @ counts).reshape(-1, *[1] * (sums.ndim - 1))
    return sums.sum(axis=0) / counts.sum(), totals / sizes


def quantile_interval(
    resampled: Float[np.ndarray, "R *rest"], level: float
) -> tuple[Float64[np.ndarray, "*rest"], Float64[np.ndarray, "*rest"]]:
    """(low, high) that hold the middle `level` of the resamples."""
    low, high = np.quantile(resampled.astype(np.float64), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def recentre(
    resampled: Float[np.ndarray, "R *rest"], estimate: Float64[np.ndarray, "*rest"]
) -> Float32[np.ndarray, "R *rest"]:
    """Resamples of a distance moved so that their mean is the estimate, and not below 0.

    A resample lies further from any law than the sample does, by the sample's own error once more.
    """
    moved = resampled - (resampled.mean(axis=0) - estimate)
    return np.asarray(np.maximum(moved, 0.0), dtype=np.float32)
