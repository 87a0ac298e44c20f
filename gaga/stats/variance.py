"""Variance of molecules, by every definition; what GAGA publishes as a variance is a standard deviation.

For a block of c columns, a molecule of N atoms has d = N c entries and, about their mean,

- biased: variance = sum of squares / d,
- unbiased: variance = sum of squares / (d - 1),
- subspace: squares about each column's own mean, / (N - 1) per column: on the zero-mean subspace.

A standard deviation is the square root of a molecule's variance, and means over molecules come after the
root: the mean standard deviation is not the root of the mean variance.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Progress, silent
from gaga.core.threads import map_in_threads
from gaga.data.features import FeatureSpace, molecule_means
from gaga.stats.states import chunks_of

ALL_COLUMNS = "all"


@dataclass(frozen=True, kw_only=True, eq=False)
class MolecularStatistic:
    """One number per molecule and block, and its summaries over molecules; K blocks with "all" last, S sizes.

    A molecule too small for the statistic (one atom on the subspace) has 0 and is left out of the summaries.

    Attributes:
        per_molecule: the values, [M, K].
        mean: mean over molecules, [K].
        spread: standard deviation over molecules (1/M), [K].
        minimum: smallest value, [K].
        maximum: largest value, [K].
        mean_by_size: mean over the molecules of each size, [S, K].
        counted: number of molecules in the summaries, [K].
    """

    per_molecule: Float32[np.ndarray, "M K"] = field(metadata={"dims": ("molecules", "blocks")})
    mean: Float64[np.ndarray, " K"] = field(metadata={"dims": ("blocks",)})
    spread: Float64[np.ndarray, " K"] = field(metadata={"dims": ("blocks",)})
    minimum: Float64[np.ndarray, " K"] = field(metadata={"dims": ("blocks",)})
    maximum: Float64[np.ndarray, " K"] = field(metadata={"dims": ("blocks",)})
    mean_by_size: Float64[np.ndarray, "S K"] = field(metadata={"dims": ("sizes", "blocks")})
    counted: Int64[np.ndarray, " K"] = field(metadata={"dims": ("blocks",)})


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceResult:
    """Standard deviations and variances of every molecule, in the units of the columns (positions in Å).

    The "variance" 0.848 that GAGA publishes for QM9 is `standard_deviation_biased` of block "all".
    """

    blocks: tuple[str, ...]
    n_molecules: int
    n_atoms: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecules",)})
    sizes: Int64[np.ndarray, " S"] = field(metadata={"unit": "atoms", "dims": ("sizes",)})
    molecules_by_size: Int64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    standard_deviation_biased: MolecularStatistic
    standard_deviation_unbiased: MolecularStatistic
    standard_deviation_subspace: MolecularStatistic
    variance_biased: MolecularStatistic
    variance_unbiased: MolecularStatistic
    variance_subspace: MolecularStatistic


def variance(
    molecules: PackedMolecules, space: FeatureSpace, *, threads: int = 1, progress: Progress = silent
) -> VarianceResult:
    """Per-molecule variance of each block of columns and of all together, by every definition.

    The number of threads does not show in the result.

    Raises:
        InvalidInput: there are no molecules, or an element is not in the vocabulary.
    """
    if not len(molecules):
        raise InvalidInput("variance needs at least one molecule")
    about_mean, about_columns = _sums_of_squares(molecules, space, threads, progress)
    n_atoms = molecules.n_atoms
    columns = np.array([s.stop - s.start for s in _blocks(space).values()])
    sizes, which, counts = np.unique(n_atoms, return_inverse=True, return_counts=True)
    summaries: dict[str, MolecularStatistic] = {}
    for name, squares, atoms, less in (
        ("biased", about_mean, n_atoms, 0),
        ("unbiased", about_mean, n_atoms, 1),
        ("subspace", about_columns, n_atoms - 1, 0),
    ):
        values = _ratio(squares, atoms[:, None] * columns - less)
        summaries[f"variance_{name}"] = _summary(values, which, len(sizes))
        summaries[f"standard_deviation_{name}"] = _summary(np.sqrt(values), which, len(sizes))
    return VarianceResult(
        blocks=tuple(_blocks(space)),
        n_molecules=len(molecules),
        n_atoms=n_atoms,
        sizes=sizes,
        molecules_by_size=counts.astype(np.int64),
        **summaries,
    )


def mean_deviations(
    molecules: PackedMolecules, space: FeatureSpace, *, threads: int = 1
) -> Float64[np.ndarray, " n_blocks"]:
    """The mean of `standard_deviation_biased` for each block of columns: what is published as a variance."""
    about_mean, _ = _sums_of_squares(molecules, space, threads, silent)
    columns = np.array([s.stop - s.start for s in _blocks(space).values()])
    values = np.sqrt(_ratio(about_mean, molecules.n_atoms[:, None] * columns))
    return np.asarray(np.ma.filled(values, 0.0).sum(axis=0) / len(molecules))[: len(space.blocks)]


def _blocks(space: FeatureSpace) -> dict[str, slice]:
    return space.blocks | {ALL_COLUMNS: slice(0, space.columns)}


def _sums_of_squares(
    molecules: PackedMolecules, space: FeatureSpace, threads: int, progress: Progress
) -> tuple[Float64[np.ndarray, "M K"], Float64[np.ndarray, "M K"]]:
    """Squares of each molecule's entries about their mean, and about their column's mean, by block."""
    about_mean, about_columns = (np.empty((len(molecules), len(_blocks(space)))) for _ in range(2))
    chunks = chunks_of(len(molecules))
    squares = map_in_threads(partial(_squares_of_chunk, molecules, space), chunks, threads)
    for chunk, (of_mean, of_columns) in zip(chunks, squares, strict=True):
        here = slice(chunk.start, chunk.stop)
        about_mean[here], about_columns[here] = of_mean, of_columns
        progress(chunk.stop, len(molecules))
    return about_mean, about_columns


def _squares_of_chunk(
    all_molecules: PackedMolecules, space: FeatureSpace, chunk: range
) -> tuple[Float64[np.ndarray, "m K"], Float64[np.ndarray, "m K"]]:
    molecules = all_molecules.take(np.asarray(chunk))
    values = space.encode(molecules)
    n_atoms = molecules.n_atoms[:, None]
    column_means = molecule_means(values, molecules.offsets)
    squares = n_atoms * molecule_means(
        (values - np.repeat(column_means, n_atoms[:, 0], axis=0)) ** 2, molecules.offsets
    )
    blocks = _blocks(space).values()
    within = np.stack([squares[:, s].sum(axis=1) for s in blocks], axis=1)
    between = np.stack([n_atoms[:, 0] * column_means[:, s].var(axis=1) * (s.stop - s.start) for s in blocks], axis=1)
    return within + between, within


def _ratio(squares: Float64[np.ndarray, "M K"], freedom: Int64[np.ndarray, "M K"]) -> NDArray[np.float64]:
    """squares / freedom as a masked array if nothing is free."""
    return np.ma.masked_array(squares / np.maximum(freedom, 1), mask=freedom < 1)


def _summary(values: NDArray[np.float64], which: NDArray[np.intp], n_sizes: int) -> MolecularStatistic:
    counted = np.ma.count(values, axis=0)
    filled = np.ma.filled(values, 0.0)
    valid = ~np.ma.getmaskarray(values)
    return MolecularStatistic(
        per_molecule=filled.astype(np.float32),
        mean=filled.sum(axis=0) / np.maximum(counted, 1),
        spread=np.ma.filled(values.std(axis=0), 0.0),
        minimum=np.ma.filled(values.min(axis=0), 0.0),
        maximum=np.ma.filled(values.max(axis=0), 0.0),
        mean_by_size=_by_size(filled, which, n_sizes) / np.maximum(_by_size(valid.astype(float), which, n_sizes), 1.0),
        counted=counted.astype(np.int64),
    )


def _by_size(values: NDArray[np.float64], which: NDArray[np.intp], n_sizes: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(which, weights=column, minlength=n_sizes) for column in values.T], axis=1)
