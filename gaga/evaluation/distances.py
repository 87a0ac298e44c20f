"""Wasserstein-1 distances between a sample's bond lengths, angles and sizes and the data's."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from gaga.chem.geometry import Measured
from gaga.evaluation.verdicts import OnDiskMeasurements

N_QUANTILES = 400
MIN_VALUES = 20  # with fewer values of a kind, its distance is the noise of the sample


@dataclass(frozen=True, eq=False)
class Quantiles:
    """The distributions of K kinds of bonds or angles, each as Q equally likely values.

    Attributes:
        codes: the kinds, most frequent first, [K].
        shares: each kind's part of all bonds or angles, [K].
        values: quantiles at the levels (i + 1/2) / Q, [K, Q], in Å or degrees.
    """

    codes: Int32[np.ndarray, " K"]
    shares: Float64[np.ndarray, " K"]
    values: Float32[np.ndarray, "K Q"]


@dataclass(frozen=True, eq=False)
class Distances:
    """Wasserstein-1 distance of each kind's distribution to the data's; Å for lengths, degrees for angles.

    Attributes:
        kinds: names of the data's frequent kinds, most frequent first.
        distances: of each kind, [K]; NaN if the sample has fewer than 20 of it.
        counts: number of values in the sample, [K].
        shares: the kind's part of all of the data's bonds or angles, [K].
        mean: mean of the known distances, weighted by shares; NaN if none is known.
    """

    kinds: tuple[str, ...]
    distances: Float64[np.ndarray, " K"]
    counts: Int64[np.ndarray, " K"]
    shares: Float64[np.ndarray, " K"]
    mean: float


NO_DISTANCES = Distances((), np.zeros(0), np.zeros(0, np.int64), np.zeros(0), float("nan"))
"""Without a reference."""


def distances_to(
    reference: Quantiles, sample: Measured | OnDiskMeasurements, name_of: Callable[[int], str]
) -> Distances:
    """The distances of a sample to the reference, whose kinds are named by their code; one is in memory at a time."""
    codes = reference.codes.tolist()
    distances, counts = np.zeros(len(codes)), np.zeros(len(codes), dtype=np.int64)
    for i, (code, row) in enumerate(zip(codes, reference.values, strict=True)):
        values = sample.of_kind(code)
        distances[i], counts[i] = _wasserstein(values, row), len(values)
    known = np.isfinite(distances)
    weights = reference.shares[known]
    mean = float(np.average(distances[known], weights=weights)) if known.any() else float("nan")
    return Distances(tuple(map(name_of, codes)), distances, counts, reference.shares, mean)


def size_distance(n_atoms: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " N_max_plus_1"]) -> float:
    """Wasserstein-1 distance of numbers of atoms to a histogram of them; NaN for an empty sample."""
    from scipy.stats import wasserstein_distance

    if not len(n_atoms):
        return float("nan")
    return float(wasserstein_distance(n_atoms, np.arange(len(sizes)), v_weights=sizes))


def quantiles_of(sample: Measured | OnDiskMeasurements, min_share: float) -> Quantiles:
    """The distributions of the kinds that make up at least this part of a sample."""
    codes, counts = np.unique(sample.codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= min_share * counts.sum()]
    levels = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    rows = [np.quantile(sample.of_kind(int(code)), levels) for code in codes[order]]
    values = np.array(rows, dtype=np.float32).reshape(len(rows), N_QUANTILES)
    return Quantiles(codes[order], counts[order] / max(counts.sum(), 1), values)


def _wasserstein(values: Float32[np.ndarray, " n"], quantiles: Float32[np.ndarray, " k"]) -> float:
    """Integral of |F^-1 - G^-1| over 0 to 1, F^-1 of n steps and G^-1 of k; NaN for too few values.

    Step i of the first covers [i k, (i + 1) k) of a line of length n k, step j of the second [j n, (j + 1) n): whole
    numbers, so that each overlap is exact, and one step of the second is in memory in float64 at a time.
    """
    n, k = len(values), len(quantiles)
    if n < MIN_VALUES:
        return float("nan")
    ours, total = np.sort(values), 0.0
    for j, theirs in enumerate(np.sort(quantiles)):
        start, stop = j * n, (j + 1) * n
        first, last = start // k, (stop - 1) // k
        steps = np.arange(first, last + 1)
        overlaps = np.minimum((steps + 1) * k, stop) - np.maximum(steps * k, start)
        total += float(overlaps @ np.abs(ours[first : last + 1].astype(np.float64) - float(theirs)))
    return total / (n * k)
