"""What tells molecules from Gaussians: numbers of a noised molecule that do not change if it is turned or its atoms are
put in another order.

In 3 (N - 1) dimensions with any orientation and any order, tests of the whole vector (energy distance, Mardia,
Henze-Zirkler) average the difference away. Molecules differ from Gaussians in their overall shape, which is the last to
drown in noise, and in how near two atoms come to each other, which is the first. Of z_t [N, C] of one molecule, x its
positions' columns and h the others:

- gyration shares: the eigenvalues of x'x / (N - 1) divided by their sum. The largest is 1/3 if the molecule is round;
  the smallest is 0 if it is flat. Solc and Stockmayer, J. Chem. Phys. 54, 2756 (1971);
- nearest neighbour: the distance of each atom to the one next to it;
- marginals: the entries of a block of columns, the sample that D_t is of, but those of positions averaged over all
  orientations of the molecule: an entry of an atom at radius r is uniform in (-r, r), so that radii are counted. D_t
  takes molecules as they lie in their file, and that is what it sees first if long axes lie along x;
- coupling of type and radius: sum_i h_i (abs(x_i)^2 - mean), for each column of h: hydrogens lie outside.

Each sample of molecules of one size is divided by its own mean square, that of each block, so that only the form of its
law is left; the law under a Gaussian is then the same at every step and for every variance. A value becomes a cell: the
cells of each statistic are equally probable under a Gaussian of the same number of atoms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import chi

from gaga.stats.ks import N_CELLS, cells_of

CELLS = 1024
SHAPES = ("gyration share, largest", "gyration share, smallest", "nearest neighbour")
COUPLING = "type-radius coupling"
# Atoms from which on each of SHAPES, the marginals, and the coupling varies at all.
_LEAST_ATOMS = {SHAPES[0]: 3, SHAPES[1]: 4, COUPLING: 3}
_BUFFER = 200_000  # pair distances that are in memory at a time, which is quickest
_MOST_DISTANCES = 4_000_000  # in a table, which is precise to 0.001 then


def statistics_of(blocks: Sequence[str]) -> tuple[str, ...]:
    """The names of the statistics of molecules with these blocks of columns; the coupling is the last."""
    return (*SHAPES, *(f"marginals, {block}" for block in blocks), COUPLING)


def is_defined(statistic: str, n_atoms: int) -> bool:
    """Whether a statistic varies among molecules of this size: three atoms are always flat."""
    return n_atoms >= _LEAST_ATOMS.get(statistic, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Edges between cells of equal probability under a Gaussian of one number of atoms and variance 1.

    Attributes:
        shares: of the largest and the smallest gyration share, [2, CELLS - 1].
        nearest: of the distance to the nearest neighbour, [CELLS - 1].
    """

    shares: Float64[np.ndarray, "2 edges"]
    nearest: Float64[np.ndarray, " edges"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Cells of D samples of n molecules of one size, and their couplings.

    Attributes:
        cells: of the values of each statistic but the coupling, [D, n, values of a molecule].
        coupling: in standard deviations of a Gaussian of the sample's variances, [D, n, H]; H columns of types.
    """

    cells: tuple[Int64[np.ndarray, "D n values"], ...]
    coupling: Float64[np.ndarray, "D n H"]


def scores(z: Float64[np.ndarray, "D n N C"], blocks: Sequence[slice], table: Table) -> Scores:
    """The statistics of D samples, each standardised with its own mean squares; positions are the first block."""
    samples, molecules, atoms, _ = z.shape
    standard = [_standardised(z[..., block]) for block in blocks]
    # Entries of zero mean have (N - 1) / N of the variance on the zero-mean subspace.
    x = (standard[0] * np.sqrt((atoms - 1) / atoms)).reshape(samples * molecules, atoms, 3)
    shares, nearest = gyration_shares(x), nearest_distances(x)
    of_shapes = [
        _cells(shares[:, 0], table.shares[0]),
        _cells(shares[:, 1], table.shares[1]),
        _cells(nearest, table.nearest),
    ]
    of_entries = [_radius_cells(standard[0])]
    of_entries += [cells_of(values) // (N_CELLS // CELLS) for values in standard[1:]]
    return Scores(
        cells=tuple(cells.reshape(samples, molecules, -1) for cells in (*of_shapes, *of_entries)),
        coupling=_coupling(standard[0], z[..., blocks[0].stop :]),
    )


def _standardised(values: Float64[np.ndarray, "D n N c"]) -> Float64[np.ndarray, "D n N c"]:
    """Each sample's entries less their mean by column, of mean square 1."""
    centred = values - values.mean(axis=(1, 2), keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=(1, 2, 3), keepdims=True)))


def _cells(values: NDArray[np.float64], edges: Float64[np.ndarray, " edges"]) -> NDArray[np.int64]:
    return np.searchsorted(edges, values).astype(np.int64)


def _radius_cells(x: Float64[np.ndarray, "D n N 3"]) -> NDArray[np.int64]:
    """The cell of each atom's radius, which has the chi law of three degrees of freedom."""
    r = np.sqrt(np.square(x).sum(axis=3))
    probability = 2 * ndtr(r) - 1 - np.sqrt(2 / np.pi) * r * np.exp(-0.5 * r**2)
    return np.asarray(np.clip((probability * CELLS).astype(np.int64), 0, CELLS - 1))


@lru_cache(maxsize=1)
def entries_of_radii() -> Float64[np.ndarray, "CELLS edges"]:
    """P(entry <= edge) of an atom whose radius is in each cell, at every fourth edge of N(0, 1)'s cells.

    An entry along a random direction is uniform between minus and plus the radius (Archimedes).
    """
    radii = chi.ppf((np.arange(CELLS) + 0.5) / CELLS, 3)
    edges = ndtri(np.arange(4, CELLS, 4) / CELLS)
    return np.asarray(np.clip((edges / radii[:, None] + 1) / 2, 0.0, 1.0))


def gyration_shares(x: Float64[np.ndarray, "m N 3"]) -> Float64[np.ndarray, "m 2"]:
    """The largest and the smallest eigenvalue of each molecule's gyration matrix, in parts of their sum."""
    return shares_of(np.matmul(x.transpose(0, 2, 1), x))


def shares_of(gyration: Float64[np.ndarray, "m 3 3"]) -> Float64[np.ndarray, "m 2"]:
    """The same of the matrices."""
    values = np.linalg.eigvalsh(gyration)
    return np.asarray(values[:, [2, 0]] / values.sum(axis=1, keepdims=True))


def nearest_distances(x: Float64[np.ndarray, "m N 3"]) -> Float64[np.ndarray, "m N"]:
    """The distance of each atom to its nearest neighbour."""
    molecules, atoms, _ = x.shape
    found, count = np.empty((molecules, atoms)), max(1, _BUFFER // atoms**2)
    itself = np.arange(atoms)
    for start in range(0, molecules, count):
        some = x[start : start + count]
        half = 0.5 * np.square(some).sum(axis=2)
        squares = np.matmul(some, some.transpose(0, 2, 1))
        squares -= half[:, :, None]
        squares -= half[:, None, :]
        squares[:, itself, itself] = -np.inf
        found[start : start + count] = squares.max(axis=2)
    return np.sqrt(np.maximum(-2.0 * found, 0.0))


def _coupling(
    x: Float64[np.ndarray, "D n N 3"], others: Float64[np.ndarray, "D n N H"]
) -> Float64[np.ndarray, "D n H"]:
    """sum_i h_i abs(x_i)^2 with h of zero mean in the molecule, in deviations of a Gaussian's.

    With h ~ N(0, v P) and x ~ N(0, w P) in each of three columns, P the projection on zero mean, the coupling has the
    variance 6 v w^2 (N - 1)(N - 2) / N.
    """
    atoms = x.shape[2]
    if atoms < _LEAST_ATOMS[COUPLING]:
        return np.zeros((*x.shape[:2], others.shape[3]))
    h = others - others.mean(axis=2, keepdims=True)
    variance = np.square(h).sum(axis=2).mean(axis=1, keepdims=True) / (atoms - 1)
    radius = np.square(x).sum(axis=3)
    w = atoms / (atoms - 1)  # entries of x have mean square 1
    sums = np.matmul(radius[:, :, None, :], h)[:, :, 0]
    return np.asarray(sums / np.sqrt(6 * variance * w**2 * (atoms - 1) * (atoms - 2) / atoms))


@lru_cache(maxsize=1024)
def table_of(n_atoms: int, draws: int) -> Table:
    """The table of molecules of this size, from as many Gaussians; the same numbers whenever it is asked for."""
    rng = np.random.default_rng([n_atoms, draws])
    shares, chunk = np.empty((2, draws), dtype=np.float32), 1 << 14
    for start in range(0, draws, chunk):
        some = shares[:, start : start + chunk]
        some[:] = _gaussian_shares(n_atoms, some.shape[1], rng).T
    molecules, chunk = max(1, min(draws, _MOST_DISTANCES // n_atoms)), max(1, _BUFFER // n_atoms)
    nearest = np.empty((molecules, n_atoms), dtype=np.float32)
    for start in range(0, molecules, chunk):
        some = nearest[start : start + chunk]
        x = rng.standard_normal((len(some), n_atoms, 3))
        some[:] = nearest_distances(x - x.mean(axis=1, keepdims=True))
    return Table(shares=np.stack([_edges(values) for values in shares]), nearest=_edges(nearest.reshape(-1)))


def _gaussian_shares(n_atoms: int, draws: int, rng: np.random.Generator) -> Float64[np.ndarray, "draws 2"]:
    """Shares of W = L L' of a Gaussian with N - 1 free atoms (Bartlett 1933)."""
    factor = np.zeros((draws, 3, 3))
    for i in range(3):
        factor[:, i, i] = np.sqrt(2 * rng.standard_gamma(max(n_atoms - 1 - i, 0) / 2, draws))
        factor[:, i, :i] = rng.standard_normal((draws, i))
    return shares_of(np.matmul(factor, factor.transpose(0, 2, 1)))


def _edges(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Quantiles between cells of equally many of these values, which are sorted in place to save memory."""
    values.sort()
    return values[len(values) * np.arange(1, CELLS) // CELLS].astype(np.float64)
