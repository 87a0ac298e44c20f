"""From curves and flags over the grid of steps to first steps: what the estimators of T* share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gaga.stats.dependence import null_of
from gaga.stats.gaussianity import GaussianityResult


@dataclass(frozen=True, kw_only=True, eq=False)
class WorstCurves:
    """Dep_t of the worst block and pairs, D_t of the worst block, [S], and those of each resample, [B, S]."""

    dependence: Float64[np.ndarray, " S"]
    distance: Float64[np.ndarray, " S"]
    dependence_resampled: Float[np.ndarray, "B S"]
    distance_resampled: Float[np.ndarray, "B S"]


def worst_curves(result: GaussianityResult, reference: str) -> WorstCurves:
    """The data's curves against this reference Gaussian."""
    r = result.references.index(reference)
    null = result.nulls.index(null_of(reference))
    return WorstCurves(
        dependence=result.dependence.estimate[..., null].max(axis=(1, 2)),
        distance=result.distances.estimate[..., r].max(axis=1),
        dependence_resampled=result.dependence.resampled[..., null].max(axis=(2, 3)),
        distance_resampled=result.distances.resampled[..., r].max(axis=2),
    )


def worst_null_curves(result: GaussianityResult, reference: str) -> WorstCurves:
    """The same of the Gaussian that the reference is, whose Dep_t is 0 but for sampling."""
    null = result.nulls.index(null_of(reference))
    return WorstCurves(
        dependence=np.zeros(len(result.timesteps)),
        distance=result.null_distances.estimate[..., null].max(axis=1),
        dependence_resampled=result.dependence.null_resampled[..., null].max(axis=(2, 3)),
        distance_resampled=result.null_distances.resampled[..., null].max(axis=2),
    )


def first_lasting(passes: Bool[np.ndarray, "*rest S"]) -> Int64[np.ndarray, "*rest"]:
    """Index of the first step from which all that follow pass; S if the last one fails."""
    return np.asarray(passes.shape[-1] - np.logical_and.accumulate(passes[..., ::-1], axis=-1).sum(axis=-1))


def first_run(passes: Bool[np.ndarray, "M S"], consecutive: int) -> Int64[np.ndarray, " M"]:
    """Index of the first step from which `consecutive` steps pass; S if there is no such step."""
    windows: NDArray[np.bool_] = sliding_window_view(passes, consecutive, axis=1)
    runs = np.logical_and.reduce(windows, axis=-1)
    return np.asarray(np.where(np.logical_or.reduce(runs, axis=1), runs.argmax(axis=1), passes.shape[1]))


def steps_at(indices: Int64[np.ndarray, "*rest"], timesteps: Int64[np.ndarray, " S"]) -> Float64[np.ndarray, "*rest"]:
    """The steps at these indices; index S, no step, is infinity."""
    return np.asarray(np.append(timesteps.astype(np.float64), np.inf)[indices])
