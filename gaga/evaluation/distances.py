"""Wasserstein-1 distances between a sample's bond lengths, angles and sizes and the data's."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from gaga.chem.geometry import Measured
from gaga.evaluation.reference import Quantiles

N_QUANTILES = 400
MIN_VALUES = 20  # with fewer values of a kind, its distance is the noise of the sample


@dataclass(frozen=True, eq=False)
class Distances:
    """Wasserstein-1 distance of each kind's distribution to the data's; Å for lengths, degrees for angles.

    Attributes:
        kinds: names of the data's frequent kinds, most frequent first.
        distances: of each kind, [K]; NaN where the sample has fewer than 20 of it.
        counts: number of values in the sample, [K].
        shares: the kind's part of all of the data's bonds or angles, [K].
        mean: mean of the distances that are known, weighted by shares; NaN where none is.
    """

    kinds: tuple[str, ...]
    distances: Float64[np.ndarray, " K"]
    counts: Int64[np.ndarray, " K"]
    shares: Float64[np.ndarray, " K"]
    mean: float


NO_DISTANCES = Distances((), np.zeros(0), np.zeros(0, np.int64), np.zeros(0), float("nan"))
"""Where there is nothing to compare with."""


def distances_to(reference: Quantiles, sample: Measured, kinds: tuple[str, ...]) -> Distances:
    """The distances of a sample to the reference whose kinds have these names."""
    groups = [sample.values[sample.codes == code] for code in reference.codes]
    distances = np.array(
        [_wasserstein(values, row) for values, row in zip(groups, reference.values, strict=True)],
        dtype=np.float64,
    )
    known = np.isfinite(distances)
    weights = reference.shares[known]
    mean = float(np.average(distances[known], weights=weights)) if known.any() else float("nan")
    counts = np.array([len(values) for values in groups], dtype=np.int64)
    return Distances(kinds, distances, counts, reference.shares, mean)


def size_distance(n_atoms: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " N_max_plus_1"]) -> float:
    """Wasserstein-1 distance of numbers of atoms to a histogram of them; NaN for an empty sample."""
    from scipy.stats import wasserstein_distance

    if not len(n_atoms):
        return float("nan")
    return float(wasserstein_distance(n_atoms, np.arange(len(sizes)), v_weights=sizes))


def quantiles_of(sample: Measured, min_share: float) -> Quantiles:
    """The distributions of the kinds that make up at least this part of a sample."""
    codes, counts = np.unique(sample.codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= min_share * len(sample.codes)]
    levels = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    rows = [np.quantile(sample.values[sample.codes == code], levels) for code in codes[order]]
    return Quantiles(codes[order], counts[order] / len(sample.codes), np.array(rows, dtype=np.float32))


def _wasserstein(values: np.ndarray, quantiles: np.ndarray) -> float:
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(values, quantiles)) if len(values) >= MIN_VALUES else float("nan")
