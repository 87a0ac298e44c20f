"""Cumulants of molecules of one size, averaged over what has no meaning: order of atoms and orientation.

On the zero-mean subspace of N atoms, positions x (D = 3 (N - 1), covariance v I) and whitened types h (r columns,
covariance I (N - 1)), for two different molecules X, Y and a random order pi of the atoms of the second:

    M = X' pi Y (3 x 3), A = M M';  over rotations  E s^2 = tr A / 3,  E s^4 = (2 (tr A)^2 - tr A^2) / 5
    S_k = sum over atoms of h_k pi h_k
    ||C4(x)||^2       = E[s^4 - 6 v (|x|^2 + |y|^2) s^2 + ...]          (Hermite polynomials of both molecules)
    ||C3(x, x, h)||^2 = 3 E[(s^2 - v |x|^2 - v |y|^2 + v^2 D) S]
    ||C4(x, x, h, h)||^2 = 6 E[(the same) (S^2 - |h_x|^2 - |h_y|^2 + tr)]
    ||C3(h)||^2 = E S^3;  ||C4(h)||^2 = E S^4 - 6 E |h|^4 + 3 tr^2 + 6 tr

The third cumulant of positions is 0 by symmetry. In this form an error of v enters the squares only by its own square.
S and its products are kept for each column of types, so that whitening with any noise is a polynomial. No noise is
drawn: every noise level is known from the one at t = 0, as C^(k)(z) = alpha^k C^(k)(x).

Pairs are of molecules of different groups, at most 100 of them. Resampling groups gives intervals, and no molecule is
paired with its own copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from gaga.core.threads import map_in_threads
from gaga.stats.groups import Resampling

_PAIRS_IN_MEMORY = 20_000
_MOST_PICKED = 64  # molecules of a group for each other group
_ORDERS = 64  # random orders of one pair of molecules are enough


@dataclass(frozen=True, kw_only=True, eq=False)
class OneSize:
    """n molecules of N atoms, and the groups that they are dealt into.

    Attributes:
        columns: positions over sqrt(v), then types whitened by their covariance, [n, 3 + r, N].
        resampling: the group of each molecule, and the weights of the groups in the resamples.
    """

    columns: Float64[np.ndarray, "n columns N"]
    resampling: Resampling

    @property
    def rank(self) -> int:
        """r, columns of types."""
        return int(self.columns.shape[1]) - 3

    @cached_property
    def radii(self) -> Float64[np.ndarray, " n"]:
        """|x|^2 of each molecule in units of v, with mean D."""
        return np.asarray((self.columns[:, :3] ** 2).sum(axis=(1, 2)))

    @cached_property
    def type_radii(self) -> Float64[np.ndarray, "n r"]:
        """|h_k|^2 of each molecule and column of types."""
        return np.asarray((self.columns[:, 3:] ** 2).sum(axis=2))


@dataclass(frozen=True, kw_only=True, eq=False)
class PairMeans:
    """Means over pairs: of the sample in row 0, then of each of the R resamples. r columns of types, q their products.

    Attributes:
        positions: Hermite kernel of x of order 4, [1 + R]. cross3: [1 + R, r]. cross4: [1 + R, q].
        types3: means of products of q and r, [1 + R, q r]. types4: of q and q, [1 + R, q q].
        type_squares: means over molecules of |h_k|^2 |h_l|^2, [1 + R, r r].
        variance: v of positions over the v that they were divided by, [1 + R].
        n_pairs: number of pairs; of each of them one order of atoms was drawn.
    """

    positions: Float64[np.ndarray, " rows"]
    cross3: Float64[np.ndarray, "rows r"]
    cross4: Float64[np.ndarray, "rows q"]
    types3: Float64[np.ndarray, "rows qr"]
    types4: Float64[np.ndarray, "rows qq"]
    type_squares: Float64[np.ndarray, "rows rr"]
    variance: Float64[np.ndarray, " rows"]
    n_pairs: int


def products(rank: int) -> tuple[Int64[np.ndarray, " q"], Int64[np.ndarray, " q"], Float64[np.ndarray, " q"]]:
    """Columns of each product of two columns of types, and how often a square of their sum has it."""
    first, second = np.triu_indices(rank)
    return first, second, np.where(first == second, 1.0, 2.0)


def pair_means(some: OneSize, n_pairs: int, seed: int, *, threads: int = 1) -> PairMeans:
    """The means over about `n_pairs` pairs of different molecules, the same on any number of threads.

    Few molecules have fewer pairs: each with at most 64 orders of the atoms.
    """
    n_groups, n = some.resampling.n_groups, len(some.columns)
    pairs_of_groups = np.stack(np.triu_indices(n_groups, 1), axis=1)
    wanted = min(n_pairs, _ORDERS * n * (n - 1) // 2) / len(pairs_of_groups)
    picked = max(1, min(_MOST_PICKED, round(float(np.sqrt(wanted)))))
    rounds = max(1, round(wanted / picked**2))
    rows = np.tile(pairs_of_groups, (rounds, 1))
    chunk = max(1, _PAIRS_IN_MEMORY // picked**2)
    work = [(i, rows[first : first + chunk]) for i, first in enumerate(range(0, len(rows), chunk))]
    members = np.argsort(some.resampling.group, kind="stable")
    counts = np.bincount(some.resampling.group, minlength=n_groups)
    drawn = _Drawn(some=some, members=members, counts=counts, picked=picked, seed=seed)
    weights = np.vstack([np.full(n_groups, 1 / n_groups), some.resampling.weights])
    # A resample of two or three molecules may be one of them several times, which has no pairs: then it is the sample.
    weights[(weights > 0).sum(axis=1) < 2] = 1 / n_groups
    sums, total = 0.0, np.zeros(len(weights))
    for (_, groups), found in zip(work, map_in_threads(partial(_sums, drawn), work, threads), strict=True):
        of_pairs = weights[:, groups[:, 0]] * weights[:, groups[:, 1]]
        sums = sums + of_pairs @ found
        total += of_pairs.sum(axis=1) * picked**2
    return _split(some, sums / total[:, None], weights * counts, n_pairs=len(rows) * picked**2)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Drawn:
    """Molecules by group, and how many of each are picked for each other group."""

    some: OneSize
    members: Int64[np.ndarray, " n"]
    counts: Int64[np.ndarray, " G"]
    picked: int
    seed: int

    def pick(self, groups: Int64[np.ndarray, " b"], rng: np.random.Generator) -> Int64[np.ndarray, "b m"]:
        """Random molecules of each group."""
        starts = np.cumsum(self.counts) - self.counts
        place = (rng.random((len(groups), self.picked)) * self.counts[groups, None]).astype(np.int64)
        return np.asarray(self.members[starts[groups, None] + place])


def _sums(drawn: _Drawn, work: tuple[int, Int64[np.ndarray, "b 2"]]) -> Float64[np.ndarray, "b features"]:
    """Sums over the pairs of each two groups: positions, cross3, cross4, types3, types4 side by side."""
    number, groups = work
    some = drawn.some
    rng = np.random.default_rng([drawn.seed, some.columns.shape[2], number])
    left, right = (drawn.pick(groups[:, side], rng) for side in (0, 1))
    # Both in random orders: files put heavy atoms first, and one order would then be that of all partners.
    x, y = (_shuffled(some.columns[picked], rng) for picked in (left, right))
    even, fourth = _rotated(x[:, :, :3], y[:, :, :3])
    kernels = _Kernels(some, some.radii[left][:, :, None], some.radii[right][:, None, :])
    found = [kernels.positions(even, fourth).sum(axis=(1, 2))[:, None]]
    if some.rank:
        s = np.stack([x[:, :, k] @ y[:, :, k].swapaxes(1, 2) for k in range(3, 3 + some.rank)], axis=-1)
        found += kernels.with_types(even, s, some.type_radii[left], some.type_radii[right])
    return np.concatenate(found, axis=1)


def _shuffled(columns: Float64[np.ndarray, "b m C N"], rng: np.random.Generator) -> Float64[np.ndarray, "b m C N"]:
    """Each molecule with its atoms in a random order."""
    order = rng.random((*columns.shape[:2], 1, columns.shape[3])).argsort(axis=-1)
    return np.take_along_axis(columns, order, axis=3)


def _rotated(
    x: Float64[np.ndarray, "b m 3 N"], y: Float64[np.ndarray, "b m 3 N"]
) -> tuple[Float64[np.ndarray, "b m m"], Float64[np.ndarray, "b m m"]]:
    """Means of (x . R y)^2 and (x . R y)^4 over all rotations R, for each pair of molecules."""
    m = [[x[:, :, a] @ y[:, :, c].swapaxes(1, 2) for c in range(3)] for a in range(3)]
    diagonal = [row[0] ** 2 + row[1] ** 2 + row[2] ** 2 for row in m]
    trace = diagonal[0] + diagonal[1] + diagonal[2]
    of_square = diagonal[0] ** 2 + diagonal[1] ** 2 + diagonal[2] ** 2
    for a, b in ((0, 1), (0, 2), (1, 2)):
        of_square += 2 * (m[a][0] * m[b][0] + m[a][1] * m[b][1] + m[a][2] * m[b][2]) ** 2
    return trace / 3, (2 * trace**2 - of_square) / 5


class _Kernels:
    """What is averaged over pairs of molecules of these squared radii, in units of v."""

    def __init__(self, some: OneSize, left: Float64[np.ndarray, "b m 1"], right: Float64[np.ndarray, "b 1 m"]) -> None:
        self._rank, self._free = some.rank, some.columns.shape[2] - 1
        self._sum, self._product, self._squares = left + right, left * right, left**2 + right**2

    def positions(
        self, even: Float64[np.ndarray, "b m m"], fourth: Float64[np.ndarray, "b m m"]
    ) -> Float64[np.ndarray, "b m m"]:
        """The inner product of Hermite polynomials of order 4 of both molecules."""
        d, both = 3 * self._free, self._sum
        constant = 6 * self._product + 3 * self._squares - 6 * (d + 2) * both + 3 * d * (d + 2)
        kernel: NDArray[np.float64] = fourth + 6 * (d + 4 - both) * even + constant
        return kernel

    def with_types(
        self,
        even: Float64[np.ndarray, "b m m"],
        s: Float64[np.ndarray, "b m m r"],
        left: Float64[np.ndarray, "b m r"],
        right: Float64[np.ndarray, "b m r"],
    ) -> list[Float64[np.ndarray, "b features"]]:
        """Sums over the pairs of what has types in it."""
        first, second, _ = products(self._rank)
        squares = first == second
        pairs = s.shape[1] * s.shape[2]
        s2 = s[..., first] * s[..., second]
        of_positions = (even - self._sum + 3 * self._free).reshape(len(s), 1, pairs)
        flat, flat2 = s.reshape(len(s), pairs, -1), s2.reshape(len(s), pairs, -1)  # views
        deviation = left[:, :, None] + right[:, None, :] - self._free
        s2[..., squares] -= deviation
        cross4 = of_positions @ s2.reshape(len(s), pairs, -1)
        s2[..., squares] += deviation
        moments = flat2.swapaxes(1, 2)
        return [
            (of_positions @ flat)[:, 0],
            cross4[:, 0],
            (moments @ flat).reshape(len(s), -1),
            (moments @ flat2).reshape(len(s), -1),
        ]


def _split(
    some: OneSize, means: Float64[np.ndarray, "rows features"], of_groups: Float64[np.ndarray, "rows G"], n_pairs: int
) -> PairMeans:
    """The means by name, with those over molecules."""
    r, q = some.rank, some.rank * (some.rank + 1) // 2
    positions, cross3, cross4, types3, types4 = np.split(means, np.cumsum([1, r, q, q * r]), axis=1)
    if not r:
        cross3, cross4, types3, types4 = (np.zeros((len(means), 0)) for _ in range(4))
    per_molecule = of_groups / of_groups.sum(axis=1, keepdims=True) / np.maximum(_sizes(some), 1)
    weights = per_molecule[:, some.resampling.group]
    squares = np.einsum("mn,nk,nl->mkl", weights, some.type_radii, some.type_radii, optimize=True)
    return PairMeans(
        positions=positions[:, 0], cross3=cross3, cross4=cross4, types3=types3, types4=types4,
        type_squares=squares.reshape(len(means), -1),
        variance=weights @ some.radii / (3 * (some.columns.shape[2] - 1)),
        n_pairs=n_pairs,
    )  # fmt: skip


def _sizes(some: OneSize) -> Int64[np.ndarray, " G"]:
    return np.bincount(some.resampling.group, minlength=some.resampling.n_groups)


def squares_at(
    means: PairMeans, rank: int, n_atoms: int, rho: Float64[np.ndarray, "rows T"], b: Float64[np.ndarray, "T r"]
) -> Float64[np.ndarray, "rows T 5"]:
    """The five squared norms where positions have `rho` of their variance from the data, and types `b`.

    With rho = alpha^2 v / v_t and b likewise: whitened by the noised covariance. With rho = v, b = the covariance: raw.
    """
    first, second, often = products(rank)
    q = often * b[:, first] * b[:, second]  # so that S^2 at any noise is q . products
    beta, free = b**2, n_atoms - 1
    cubes = (q[:, :, None] * b[:, None, :]).reshape(len(q), len(first) * rank)
    fourths = (q[:, :, None] * q[:, None, :]).reshape(len(q), len(first) ** 2)
    betas = (beta[:, :, None] * beta[:, None, :]).reshape(len(q), rank**2)
    constant = 3 * (free * beta.sum(axis=1)) ** 2 + 6 * free * (beta**2).sum(axis=1)
    return np.stack(
        [
            rho**4 * means.positions[:, None],
            3 * rho**2 * (means.cross3 @ b.T),
            6 * rho**2 * (means.cross4 @ q.T),
            means.types3 @ cubes.T,
            means.types4 @ fourths.T - 6 * means.type_squares @ betas.T + constant,
        ],
        axis=-1,
    )


def of_sizes(n_atoms: Int64[np.ndarray, " M"]) -> Iterator[tuple[int, Int64[np.ndarray, " n"]]]:
    """Each number of atoms, from two up, with the indices of its molecules."""
    for n in np.unique(n_atoms[n_atoms > 1]):
        yield int(n), np.flatnonzero(n_atoms == n)
