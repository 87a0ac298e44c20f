"""Second moments of a data set: what the reference Gaussians are made from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, of_one_element
from gaga.core.progress import Meter, Progress, silent
from gaga.core.threads import map_in_threads
from gaga.data.features import FeatureSpace, molecule_means
from gaga.noise import Moments
from gaga.stats.states import chunks_of

MIN_MOLECULES = 50
Summed = TypeVar("Summed")


def estimate_moments(
    molecules: PackedMolecules,
    space: FeatureSpace,
    published: float | None = None,
    *,
    threads: int = 1,
    progress: Progress = silent,
) -> Moments:
    """Moments of the columns of `space` over these molecules; the number of threads does not show in them.

    A size with fewer than 50 molecules borrows from the sizes around it, as far out as it takes, positions in
    proportion to the line through their variances by size: a few molecules of 181 atoms are wider than the smaller
    ones that they borrow from. Molecules of one atom carry no information on the zero-mean subspace. `published`
    defaults to the mean per-molecule standard deviation over all columns, which is what the published code calls the
    variance.

    Raises:
        InvalidInput: no molecule has two atoms or more.
    """
    sizes = molecules.n_atoms
    if not np.any(sizes > 1):
        raise InvalidInput("moments need molecules of two atoms or more", received=f"{len(molecules)} molecules")
    centred = np.zeros(space.columns, dtype=bool)
    centred[: space.columns if space.centred_features else 3] = True
    pieces = _Pieces(molecules, space, threads, Meter(progress, 2 * len(molecules)))
    totals, deviation = _first_pass(pieces)
    mean = np.where(centred, 0.0, totals / sizes.sum())
    within_sums, between_sums = _sums_by_size(pieces, centred, mean)
    counts = np.bincount(sizes)
    growth = _growth(within_sums, counts)
    within, between = _smooth(within_sums, counts, growth), _smooth(between_sums, counts, growth)
    starts = np.array([s.start for s in space.blocks.values()] + [space.columns], dtype=np.int64)
    # Per-molecule variance on the subspace, averaged over molecules: / (N - 1) per centred column; a column that
    # is not centred has all N degrees of freedom around the data set's mean.
    per_column = _variance_by_column(within_sums, between_sums, counts, centred)
    return Moments(
        blocks=tuple(space.blocks),
        starts=starts,
        centred=centred,
        mean=mean,
        counts=counts.astype(np.int64),
        scalar=float(per_column.mean()),
        block=np.array([per_column[s].mean() for s in space.blocks.values()]),
        within=within,
        between=between,
        published=deviation if published is None else published,
        **({"of_one_element": of_one_element(molecules)} if space.centred_features and space.n_types > 1 else {}),
    )


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Molecules of which a few thousand are in memory at a time, for each thread."""

    molecules: PackedMolecules
    space: FeatureSpace
    threads: int
    advance: Meter

    def each(self, function: Callable[[PackedMolecules, NDArray[np.float64]], Summed]) -> Iterator[Summed]:
        """The function of some molecules and their columns [a, C], and of the next ones, in their order."""

        def of_chunk(chunk: range) -> Summed:
            some = self.molecules.take(np.asarray(chunk))
            return function(some, self.space.encode(some))

        chunks = chunks_of(len(self.molecules))
        for chunk, summed in zip(chunks, map_in_threads(of_chunk, chunks, self.threads), strict=True):
            yield summed
            self.advance(len(chunk))


def _first_pass(pieces: _Pieces) -> tuple[Float64[np.ndarray, " C"], float]:
    """Sums of the columns over all atoms, and the mean over molecules of the deviation of all their entries."""
    totals, deviations = np.zeros(pieces.space.columns), 0.0
    for total, deviation in pieces.each(_totals):
        totals += total
        deviations += deviation
    return totals, deviations / len(pieces.molecules)


def _totals(some: PackedMolecules, values: Float64[np.ndarray, "a C"]) -> tuple[Float64[np.ndarray, " C"], float]:
    return values.sum(axis=0), float(np.sqrt(_entry_variance(values, some)).sum())


def _sums_by_size(
    pieces: _Pieces, centred: Bool[np.ndarray, " C"], mean: Float64[np.ndarray, " C"]
) -> tuple[Float64[np.ndarray, "S C C"], Float64[np.ndarray, "S C C"]]:
    """Sums over molecules of each size of the within covariance (/ (N - 1)) and of N times the means' covariance."""
    within = np.zeros((pieces.molecules.n_atoms.max() + 1, len(mean), len(mean)))
    between = np.zeros_like(within)
    for some in pieces.each(partial(_squares_by_size, centred, mean)):
        for n, (inner, outer) in some.items():
            within[n] += inner
            between[n] += outer
    # Orientations are uniform and reflections allowed: positions are isotropic and uncorrelated with the rest.
    for table in (within, between):
        isotropic = np.trace(table[:, :3, :3], axis1=1, axis2=2) / 3
        table[:, :3, :] = 0.0
        table[:, :, :3] = 0.0
        table[:, :3, :3] = isotropic[:, None, None] * np.eye(3)
    return within, between


def _squares_by_size(
    centred: Bool[np.ndarray, " C"],
    mean: Float64[np.ndarray, " C"],
    some: PackedMolecules,
    values: Float64[np.ndarray, "a C"],
) -> dict[int, tuple[Float64[np.ndarray, "C C"], Float64[np.ndarray, "C C"]]]:
    """The same two sums of some molecules, for each of their sizes."""
    sizes = some.n_atoms
    means = np.where(centred, 0.0, molecule_means(values, some.offsets))
    deviations = values - np.repeat(means, sizes, axis=0)
    atom_sizes, found = np.repeat(sizes, sizes), {}
    for n in np.unique(sizes):
        d, b = deviations[atom_sizes == n], means[sizes == n] - mean
        found[int(n)] = d.T @ d / max(n - 1, 1), n * (b.T @ b)
    return found


def _growth(sums: Float64[np.ndarray, "S C C"], counts: Int64[np.ndarray, " S"]) -> Float64[np.ndarray, " S"]:
    """What the variance of positions is in proportion to: the line through it by size, or 1 if it does not grow.

    It is kept above a twentieth of the variance of all, should it fall below 0 at the smallest sizes.
    """
    sizes = np.flatnonzero(counts[2:]) + 2
    if len(sizes) < 2:
        return np.ones(len(counts))
    variances = np.trace(sums[sizes, :3, :3], axis1=1, axis2=2) / (3 * counts[sizes])
    slope, intercept = np.polyfit(sizes, variances, 1, w=np.sqrt(counts[sizes]))
    if slope <= 0:
        return np.ones(len(counts))
    least = 0.05 * float(variances @ counts[sizes]) / counts[sizes].sum()
    return np.asarray(np.maximum(slope * np.arange(len(counts)) + intercept, least))


def _smooth(
    sums: Float64[np.ndarray, "S C C"], counts: Int64[np.ndarray, " S"], growth: Float64[np.ndarray, " S"]
) -> Float64[np.ndarray, "S C C"]:
    """Averages by size over windows [n - k, n + k] just wide enough for 50 molecules, or for all there are.

    Those of positions are in proportion to `growth`.
    """
    usable = counts.copy()
    usable[:2] = 0
    needed = min(MIN_MOLECULES, int(usable.sum()))
    averages = np.zeros_like(sums)
    for n in range(len(counts)):
        k = 0
        while usable[max(n - k, 0) : n + k + 1].sum() < needed:
            k += 1
        window = slice(max(n - k, 2), n + k + 1)
        averages[n] = sums[window].sum(axis=0) / usable[window].sum()
        of_positions = sums[window, :3, :3] * (growth[n] / growth[window])[:, None, None]
        averages[n, :3, :3] = of_positions.sum(axis=0) / usable[window].sum()
    return averages


def _variance_by_column(
    within: Float64[np.ndarray, "S C C"],
    between: Float64[np.ndarray, "S C C"],
    counts: Int64[np.ndarray, " S"],
    centred: Bool[np.ndarray, " C"],
) -> Float64[np.ndarray, " C"]:
    """Mean over molecules of each column's variance on its own subspace."""
    sizes = np.arange(len(counts))
    usable = np.where(sizes > 1, counts, 0)
    w = np.diagonal(within, axis1=1, axis2=2)
    b = np.diagonal(between, axis1=1, axis2=2)
    free = (w * np.maximum(sizes - 1, 0)[:, None] + b) / np.maximum(sizes, 1)[:, None]
    subspace = np.where(centred, w, free)
    average: NDArray[np.float64] = subspace[usable > 0].sum(axis=0) / usable.sum()
    return average


def _entry_variance(values: Float64[np.ndarray, "A C"], molecules: PackedMolecules) -> Float64[np.ndarray, " M"]:
    """Variance over all N C entries of each molecule, about their mean."""
    mean = molecule_means(values, molecules.offsets).mean(axis=1)
    second = molecule_means(values**2, molecules.offsets).mean(axis=1)
    variance: NDArray[np.float64] = np.maximum(second - mean**2, 0.0)
    return variance
