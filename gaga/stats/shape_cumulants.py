"""Cumulants of the random shapes that `gaga sample --start shape` starts from, in closed form: no shape is drawn.

A random shape (`gaga.data.shapes`) has the gyration eigenvalues and the composition of a random molecule, a uniform
frame and types in random order. Its moments are those of the molecules averaged over all orthogonal mixings of their
N - 1 free rows of positions, and over all orders of their types apart from the positions. Averaging is a projection of
the cumulants, as both laws have the same covariance, and so (Pythagoras)

    ||kappa_k(data) - kappa_k(shape)||^2 = ||kappa_k(data)||^2 - ||kappa_k(shape)||^2.

With P = X X' of one molecule in units of v, n = N - 1, D = 3 n, the zonal polynomials of degree 2 (James 1964)
C_2 = ((tr P)^2 + 2 tr P^2) / 3 and C_11 = 2 ((tr P)^2 - tr P^2) / 3, and their Laguerre polynomials
L = C - 2 G tr P / D + G, G the mean of C of a Gaussian,

    ||C4(x)||^2       = (E L_2)^2 / (5 C_2(I_n)) + (E L_11)^2 / (2 C_11(I_n))
    ||C3(x, x, h)||^2 = 0
    ||C4(x, x, h, h)||^2 = 6 sum over k, l of (E (|x|^2 - D) (h_k . h_l - n delta_kl))^2 / (D n)

and cumulants of types are those of the data. Squares of means are means over pairs of different groups of molecules.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from gaga.stats.molecule_cumulants import OneSize, PairMeans, products


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapeMeans:
    """Of the sample in row 0, then of each of the R resamples; q products of two columns of types.

    Attributes:
        positions: ||C4(x)||^2, [1 + R]. cross4: as `PairMeans.cross4`, [1 + R, q].
        scatter4, scatter2: what the squares of C4(x), and of the covariance, of a single molecule's random shape lie
            above those of all on average, [1 + R]: over m, what those of m molecules do.
    """

    positions: Float64[np.ndarray, " rows"]
    cross4: Float64[np.ndarray, "rows q"]
    scatter4: Float64[np.ndarray, " rows"]
    scatter2: Float64[np.ndarray, " rows"]

    def taken_from(self, means: PairMeans) -> PairMeans:
        """What is left of the positions' part, and of positions with types."""
        return replace(means, positions=means.positions - self.positions, cross4=means.cross4 - self.cross4)


def laguerre(columns: Float64[np.ndarray, "n C N"]) -> Float64[np.ndarray, "n 2"]:
    """L_2 and L_11 of molecules, over the roots of 5 C_2(I_n) and 2 C_11(I_n); of two atoms there is no L_11.

    Of two molecules, the sum of the products of both is the mean of the kernel of ||C4(x)||^2 over all mixings.
    """
    x, free = columns[:, :3], columns.shape[2] - 1
    gyration = x @ x.swapaxes(1, 2)
    first = np.trace(gyration, axis1=1, axis2=2)
    powers = np.stack([first**2, (gyration**2).sum(axis=(1, 2))])
    of_gaussian = np.array([(3 * free) ** 2 + 6 * free, 3 * free * (free + 4)])
    zonal = np.array([[1, 2], [2, -2]]) / 3
    c, g = zonal @ powers, zonal @ of_gaussian
    norms = np.array([5 * free * (free + 2) / 3, 4 * free * (free - 1) / 3])
    polynomials = c - 2 * g[:, None] * first / (3 * free) + g[:, None]
    scale = np.divide(1.0, np.sqrt(norms), out=np.zeros(2), where=norms > 0)
    return np.asarray((polynomials * scale[:, None]).T)


def shape_means(some: OneSize) -> ShapeMeans:
    """Cumulants of random shapes of these molecules, in the resamples in which `pair_means` has the molecules' own."""
    free, rank = some.columns.shape[2] - 1, some.rank
    first, second, _ = products(rank)
    h = some.columns[:, 3:]
    along = np.einsum("nqi,nqi->nq", h[:, first], h[:, second]) - free * (first == second)
    deviation = some.radii - 3 * free
    values = np.column_stack([laguerre(some.columns), deviation[:, None] * along / np.sqrt(3 * free * free)])
    squares = np.column_stack([(values[:, :2] ** 2).sum(axis=1), deviation**2 / (3 * free)])
    counts = np.bincount(some.resampling.group, minlength=some.resampling.n_groups)
    n_groups = len(counts)
    weights = np.vstack([np.full(n_groups, 1 / n_groups), some.resampling.weights])
    of_groups = _group_means(values, some.resampling.group, counts)
    found = _of_pairs(of_groups, weights)
    mean_squares = weights @ _group_means(squares, some.resampling.group, counts)
    around = _of_pairs(_group_means(deviation[:, None], some.resampling.group, counts), weights) / (3 * free)
    positions = found[:, :2].sum(axis=1)
    return ShapeMeans(
        positions=positions,
        cross4=found[:, 2:],
        scatter4=mean_squares[:, 0] - positions,
        scatter2=mean_squares[:, 1] - around[:, 0],
    )


def _group_means(
    values: Float64[np.ndarray, "n K"], group: Int64[np.ndarray, " n"], counts: Int64[np.ndarray, " G"]
) -> Float64[np.ndarray, "G K"]:
    sums = np.stack([np.bincount(group, weights=column, minlength=len(counts)) for column in values.T], axis=1)
    return np.asarray(sums / counts[:, None])


def _of_pairs(
    means: Float64[np.ndarray, "G K"], weights: Float64[np.ndarray, "rows G"]
) -> Float64[np.ndarray, "rows K"]:
    """Squares of means, from pairs of different groups."""
    total = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    return np.asarray(((weights @ means) ** 2 - weights**2 @ means**2) / total[:, None])
