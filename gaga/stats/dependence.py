"""Dep_t: how much more the components of z_t depend on each other than those of a Gaussian do.

The mean over molecules and pairs of columns (and, apart, of atoms) of their nearest-neighbour mutual
information, minus the same for the null: at the size of a molecule the estimator is far from zero even for
independent numbers, and the difference removes that. The estimator divides each variable by its own
deviation, so that all reference Gaussians without correlation share one null; `matched` has correlated types
and a null of its own.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from gaga.stats.groups import quantile_interval

PAIRS = ("features", "atoms")
NULLS = ("independent", "matched")

_DIMS = ("timesteps", "blocks", "pairs", "nulls")

Means = tuple[Float64[np.ndarray, "S K 2"], Float64[np.ndarray, "B S K 2"]]
"""Mean over molecules of their mean mutual informations, and that of each resample."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DependenceCurves:
    """Dep_t in nats for S steps, K blocks, pairs of features or of atoms, and L nulls, with intervals.

    Attributes:
        estimate: mean of the data minus mean of the null, [S, K, 2, L].
        low: lower end of the bootstrap interval over the molecules of both, [S, K, 2, L].
        high: its upper end.
        resampled: Dep_t of each resample, [B, S, K, 2, L].
        data_mean: mean mutual information of the data, [S, K, 2].
        null_mean: that of the nulls, [S, K, 2, L].
        null_resampled: means of the nulls' resamples minus their mean, [B, S, K, 2, L].
    """

    estimate: Float64[np.ndarray, "S K 2 L"] = field(metadata={"unit": "nats", "dims": _DIMS})
    low: Float64[np.ndarray, "S K 2 L"] = field(metadata={"unit": "nats", "dims": _DIMS})
    high: Float64[np.ndarray, "S K 2 L"] = field(metadata={"unit": "nats", "dims": _DIMS})
    resampled: Float32[np.ndarray, "B S K 2 L"] = field(metadata={"unit": "nats", "dims": ("resamples", *_DIMS)})
    data_mean: Float64[np.ndarray, "S K 2"] = field(metadata={"unit": "nats", "dims": _DIMS[:3]})
    null_mean: Float64[np.ndarray, "S K 2 L"] = field(metadata={"unit": "nats", "dims": _DIMS})
    null_resampled: Float32[np.ndarray, "B S K 2 L"] = field(metadata={"unit": "nats", "dims": ("resamples", *_DIMS)})


def null_of(reference: str) -> str:
    """The null that belongs to a reference Gaussian."""
    return "matched" if reference == "matched" else "independent"


def dependence_curves(
    data: Means,
    nulls: list[Means],
    level: float,
) -> DependenceCurves:
    """Dep_t from the mean mutual informations of the data and of each null."""
    data_mean, data_resampled = data
    null_mean = np.stack([mean for mean, _ in nulls], axis=-1)
    null_resampled = np.stack([means for _, means in nulls], axis=-1)
    resampled = data_resampled[..., None] - null_resampled
    low, high = quantile_interval(resampled, level)
    return DependenceCurves(
        estimate=data_mean[..., None] - null_mean,
        low=low,
        high=high,
        resampled=resampled.astype(np.float32),
        data_mean=data_mean,
        null_mean=null_mean,
        null_resampled=(null_resampled - null_mean).astype(np.float32),
    )
