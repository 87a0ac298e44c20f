"""The price of truncation without a network: how far q(z_t) is from its matched Gaussian, from cumulants of the data.

The leading term of an expansion (Edgeworth) of a KL divergence in nats per molecule,

    KL(q(z_t) || matched_t) ~ kappa3^2 / 12 + kappa4^2 / 48,

with kappa the norms of the cumulants that are whitened by the covariance of z_t (`gaga.stats.molecule_cumulants`), for
each number of atoms, then averaged over the molecules. What it is, and what it is not:

- It is neither exact nor a bound. Heavy tails make it too large, about twice at 1 nat, and at small t, where it is many
  nats, it has no meaning: an expansion around the Gaussian says nothing of what is far from it (docs/TSTAR.md).
- A trained network gives a lower bound of the same divergence (I-MMSE, `gaga truncation`). Within a few nats the truth
  lies between.
- It is of the data's own second moments, the `matched` Gaussian. Another Gaussian costs a closed form more.

Against the random shapes of `--start shape` (`against="shape"`) the leading term is of the difference of the cumulants,

    KL(q(z_t) || shape_t) ~ sum over k of ||kappa_k(data) - kappa_k(shape)||^2 / (2 k!)

with those of random shapes in closed form (`gaga.stats.shape_cumulants`): of the shapes of all molecules, of which
those here are a sample, so that it is no gain to know one's own shape. A model starts from shapes of at most 256
molecules of each size. What these have by chance is a part of its own, `library`: the mean over such libraries.

It needs no network and no noise: cumulants contract as alpha^k, so that the curve is known at every step at once.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Meter, Progress, silent
from gaga.core.text import counted
from gaga.data.features import FeatureSpace
from gaga.data.shapes import library_size
from gaga.noise import Moments, Schedule
from gaga.stats.groups import deal
from gaga.stats.molecule_cumulants import OneSize, PairMeans, of_sizes, pair_means, squares_at
from gaga.stats.price_config import AGAINST, BONDS_SHOW, PriceConfig
from gaga.stats.price_curve import PriceCurve
from gaga.stats.shape_cumulants import ShapeMeans, shape_means
from gaga.storage.partial import NO_PARTIALS, PartialResults

TERMS = ("positions_c4", "cross_c3", "cross_c4", "types_c3", "types_c4")
LIBRARY = "library"  # a further term against shapes
_NATS = 1 / np.array([48.0, 12.0, 48.0, 12.0, 48.0])
# A number of atoms with fewer molecules than OWN borrows; curves by size are averaged over windows of WINDOW molecules.
OWN, WINDOW = 10, 50
MOST = 50_000  # molecules of one size that are used: what fits into the memory, and more than an estimate needs
_SMALLEST = 1e-9  # of the largest variance of types: below it a direction is none


@dataclass(frozen=True, kw_only=True, eq=False)
class PriceResult:
    """The leading term of KL(q(z_t) || start), nats per molecule: an estimate, no bound (see the module).

    S numbers of atoms, T steps, five terms of which the price is the sum; against random shapes also the library's.

    Attributes:
        schedule: name of the noise schedule; gamma: its table, gamma_t = -ln snr_t.
        price: averaged over the molecules, with its interval.
        terms: names of the parts; by_term: each part of `price`, [T + 1, 5 or 6].
        sizes: numbers of atoms, [S]; molecules: how many there are of each, [S].
        borrowed: whether a size has no cumulants of its own, as it has fewer than ten molecules, [S].
        window: the curve of a size is the mean over sizes at most this far from it, [S].
        nats_by_size, low_by_size, high_by_size: the curves, [S, T + 1].
        squares: squared norms at t = 0 of offdiag Cov (of types) and the five terms, [S, 6], where positions and types
            are divided by their scalar standard deviations; nan if borrowed.
        squares_low, squares_high: their interval, [S, 6]; nan for offdiag.
        variance: of positions per degree of freedom, Å² (unit of the columns), [S]; type_variance: of types, [S].
        n_molecules: of two atoms or more. n_left_out: of one atom. n_pairs: pairs of molecules in all.
        seed, level: of pairs and resamples; of intervals.
        against: what is started from: the matched Gaussian ("matched"), or random shapes ("shape").
    """

    schedule: str
    gamma: Float64[np.ndarray, " T_plus_1"] = field(metadata={"dims": ("t",)})
    price: PriceCurve
    terms: tuple[str, ...]
    by_term: Float64[np.ndarray, "T_plus_1 terms"] = field(metadata={"unit": "nats", "dims": ("t", "terms")})
    sizes: Int64[np.ndarray, " S"] = field(metadata={"unit": "atoms", "dims": ("sizes",)})
    molecules: Int64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    borrowed: NDArray[np.bool_] = field(metadata={"dims": ("sizes",)})
    window: Int64[np.ndarray, " S"] = field(metadata={"unit": "atoms", "dims": ("sizes",)})
    nats_by_size: Float64[np.ndarray, "S T_plus_1"] = field(metadata={"unit": "nats", "dims": ("sizes", "t")})
    low_by_size: Float64[np.ndarray, "S T_plus_1"] = field(metadata={"unit": "nats", "dims": ("sizes", "t")})
    high_by_size: Float64[np.ndarray, "S T_plus_1"] = field(metadata={"unit": "nats", "dims": ("sizes", "t")})
    squares: Float64[np.ndarray, "S 6"] = field(metadata={"dims": ("sizes", "norms")})
    squares_low: Float64[np.ndarray, "S 6"] = field(metadata={"dims": ("sizes", "norms")})
    squares_high: Float64[np.ndarray, "S 6"] = field(metadata={"dims": ("sizes", "norms")})
    variance: Float64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    type_variance: Float64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    n_molecules: int
    n_left_out: int
    n_pairs: int
    seed: int
    level: float
    against: str = AGAINST[0]

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.gamma) - 1

    @property
    def alpha2(self) -> Float64[np.ndarray, " T_plus_1"]:
        """alpha_t^2."""
        return Schedule(self.schedule, self.gamma).alpha2

    @property
    def bonds_show(self) -> int:
        """The step before which there is less noise than 0.75 Å, and a price against shapes is too small."""
        return int(np.argmax(1 - self.alpha2 >= BONDS_SHOW**2 * self.alpha2))

    def curve_of(self, n_atoms: int) -> PriceCurve:
        """The curve of the molecules of this number of atoms.

        Raises:
            InvalidInput: the data has no molecule of this size.
        """
        found = np.flatnonzero(self.sizes == n_atoms)
        if not len(found):
            raise InvalidInput("the data has no molecule of this number of atoms", received=n_atoms)
        i = int(found[0])
        nats, low, high = self.nats_by_size[i], self.low_by_size[i], self.high_by_size[i]
        return PriceCurve(nats=nats, low=low, high=high, spread=np.full(len(nats), np.nan))


def price(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    moments: Moments,
    config: PriceConfig = PriceConfig(),
    *,
    against: str = AGAINST[0],
    seed: int = 0,
    threads: int = 1,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> PriceResult:
    """The price at every step, from pairs of molecules of each number of atoms; the number of threads does not show.

    Args:
        molecules: M molecules; those of one atom are left out, and of one size at most 50,000 are used. Conformers
            count as molecules.
        space: their columns, types centred in each molecule. moments: what whitens them, by number of atoms.
        schedule: the noise. config: how many pairs and resamples. seed: of pairs, orders of atoms and resamples.
        against: what is started from, the matched Gaussian ("matched") or random shapes of such molecules ("shape").
        pieces: sizes that an earlier run has finished, and where this one puts its own.

    Raises:
        InvalidInput: no number of atoms has two molecules, types are not centred, or there is no such start.
    """
    if against not in AGAINST:
        raise InvalidInput("unknown start", received=against, remedy=f"use one of {', '.join(AGAINST)}")
    if not space.centred_features or space.include_charges:
        raise InvalidInput("cumulants are of positions and centred types", remedy="take a space without charges")
    sizes = dict(of_sizes(molecules.n_atoms))
    counts = np.array([len(indices) for indices in sizes.values()], dtype=np.int64)
    least = OWN if np.any(counts >= OWN) else 2
    own = counts >= least
    if not own.any():
        raise InvalidInput(
            "no number of atoms has two molecules",
            received=counted(len(molecules), "molecule"),
            remedy="the price is made of pairs of molecules of one size: take more of them",
        )
    meter = Meter(progress, int(own.sum()))
    found: list[_OfSize | None] = []
    for (n_atoms, indices), enough in zip(sizes.items(), own, strict=True):
        if not enough:
            found.append(None)
            continue
        if (kept := pieces.get(str(n_atoms))) is None:
            indices = _at_most(indices, np.random.default_rng([seed, n_atoms]))
            library = min(len(indices), library_size(len(sizes))) if against == "shape" else None
            one = _of_size(
                molecules.take(indices), space, schedule, moments, config, library=library, seed=seed, threads=threads
            )
            pieces.put(str(n_atoms), vars(one))
        else:
            one = _OfSize(**kept)
        found.append(one)
        meter(1)
    return _result(
        found, np.array(list(sizes), dtype=np.int64), counts, schedule, moments, config, len(molecules), seed, against
    )


def _at_most(indices: Int64[np.ndarray, " n"], rng: np.random.Generator) -> Int64[np.ndarray, " m"]:
    return indices if len(indices) <= MOST else indices[np.sort(rng.permutation(len(indices))[:MOST])]


@dataclass(frozen=True, kw_only=True, eq=False)
class _OfSize:
    """What one number of atoms gives: parts in nats [T + 1, 5 or 6], their sum in each resample [R, T + 1], squares at
    t = 0 of the sample and of each resample [1 + R, 6], and the number of pairs."""

    parts: Float64[np.ndarray, "T_plus_1 terms"]
    resampled: Float32[np.ndarray, "R T_plus_1"]
    squares: Float64[np.ndarray, "rows 6"]
    n_pairs: NDArray[np.int64]


def _of_size(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    moments: Moments,
    config: PriceConfig,
    *,
    library: int | None,
    seed: int,
    threads: int,
) -> _OfSize:
    n, n_atoms = len(molecules), int(molecules.n_atoms[0])
    within, _ = moments.of_size(n_atoms)
    v, types = float(within[0, 0]), within[3:, 3:]
    values, vectors = np.linalg.eigh(types)
    kept = values > _SMALLEST * max(float(values.max(initial=0.0)), _SMALLEST)
    c, vectors = values[kept], vectors[:, kept]
    columns = space.encode(molecules).reshape(n, n_atoms, -1)
    whitened = np.concatenate([columns[..., :3] / np.sqrt(v), columns[..., 3:] @ (vectors / np.sqrt(c))], axis=2)
    resampling = deal(n, config.n_resamples, np.random.default_rng([seed, n_atoms]))
    some = OneSize(columns=np.ascontiguousarray(whitened.swapaxes(1, 2)), resampling=resampling)
    means = pair_means(some, config.n_pairs, seed, threads=threads)
    alpha2, sigma2 = schedule.alpha2, schedule.sigma2
    rho = alpha2 * v / (alpha2 * v * means.variance[:, None] + sigma2)
    b = alpha2[:, None] * c / (alpha2[:, None] * c + sigma2[:, None])
    if library is None:
        nats = squares_at(means, len(c), n_atoms, rho, b) * _NATS
    else:
        nats = _against_shapes(means, shape_means(some), library, n_atoms, rho, b)
    return _OfSize(
        parts=nats[0],
        resampled=nats[1:].sum(axis=-1).astype(np.float32),
        squares=_at_zero(means, types, c, n_atoms),
        n_pairs=np.array(means.n_pairs),
    )


def _against_shapes(
    means: PairMeans,
    shapes: ShapeMeans,
    library: int,
    n_atoms: int,
    rho: Float64[np.ndarray, "rows T"],
    b: Float64[np.ndarray, "T r"],
) -> Float64[np.ndarray, "rows T 6"]:
    """The parts that are left, and that of a library of so many molecules. Cumulants of types alone are the same."""
    nats = squares_at(shapes.taken_from(means), b.shape[1], n_atoms, rho, b) * _NATS
    nats[..., TERMS.index("types_c3") :] = 0.0
    scatter = rho**4 * shapes.scatter4[:, None] / 48 + rho**2 * shapes.scatter2[:, None] / 4
    return np.concatenate([nats, scatter[..., None] / library], axis=-1)


def _at_zero(
    means: PairMeans, types: Float64[np.ndarray, "K K"], c: Float64[np.ndarray, " r"], n_atoms: int
) -> Float64[np.ndarray, "rows 6"]:
    """Squared norms without noise, where positions and types are divided by scalar standard deviations."""
    mean = float(np.trace(types)) / len(types) or 1.0  # of one element there is nothing to divide
    rows = squares_at(means, len(c), n_atoms, 1 / means.variance[:, None], (c / mean)[None])[:, 0]
    offdiag = (n_atoms - 1) * float(np.sum(types**2) - np.sum(np.diag(types) ** 2)) / mean**2
    return np.column_stack([np.full(len(rows), offdiag), rows])


def _windows(sizes: Int64[np.ndarray, " S"], counts: Int64[np.ndarray, " S"]) -> Int64[np.ndarray, " S"]:
    """How far around each size, in atoms, there are 50 molecules, or all there are, of sizes with cumulants."""
    needed, widths = min(WINDOW, int(counts.sum())), np.zeros(len(sizes), dtype=np.int64)
    for i, n in enumerate(sizes):
        while counts[np.abs(sizes - n) <= widths[i]].sum() < needed:
            widths[i] += 1
    return widths


def _result(
    found: list[_OfSize | None],
    sizes: Int64[np.ndarray, " S"],
    counts: Int64[np.ndarray, " S"],
    schedule: Schedule,
    moments: Moments,
    config: PriceConfig,
    n_molecules: int,
    seed: int,
    against: str,
) -> PriceResult:
    own = np.array([one is not None for one in found])
    there = [one for one in found if one is not None]
    available = np.where(own, counts, 0)
    window = _windows(sizes, available)
    near = (np.abs(sizes[:, None] - sizes[own]) <= window[:, None]) * counts[own]
    near = near / near.sum(axis=1, keepdims=True)  # [S, own]: what the curve by size is the mean of
    shares = counts / counts.sum()
    # The average over molecules has each size's own cumulants; sizes without any have those of their neighbours.
    average = np.where(own, 0.0, shares) @ near + shares[own]
    parts = np.stack([one.parts for one in there])
    resampled = np.stack([one.resampled for one in there])  # [own, R, T + 1]
    ends = [(1 - config.level) / 2, (1 + config.level) / 2]
    low, high = np.stack([np.quantile(np.tensordot(row, resampled, axes=1), ends, axis=0) for row in near], axis=1)
    squares = np.full((3, len(sizes), 6), np.nan)
    for i, one in enumerate(found):
        if one is not None:
            squares[0, i], squares[1:, i, 1:] = one.squares[0], np.quantile(one.squares[1:, 1:], ends, axis=0)
    by_term = np.tensordot(average, parts, axes=1)
    within = [moments.of_size(int(n))[0] for n in sizes]
    return PriceResult(
        schedule=schedule.name,
        gamma=schedule.gamma,
        price=_curve(by_term.sum(axis=1), np.tensordot(average, resampled, axes=1), ends),
        terms=TERMS if against == AGAINST[0] else (*TERMS, LIBRARY),
        by_term=by_term,
        sizes=sizes,
        molecules=counts,
        borrowed=~own,
        window=window,
        nats_by_size=near @ parts.sum(axis=2),
        low_by_size=low,
        high_by_size=high,
        squares=squares[0],
        squares_low=squares[1],
        squares_high=squares[2],
        variance=np.array([float(w[0, 0]) for w in within]),
        type_variance=np.array([float(np.trace(w[3:, 3:])) / (len(w) - 3) for w in within]),
        n_molecules=int(counts.sum()),
        n_left_out=n_molecules - int(counts.sum()),
        n_pairs=sum(int(one.n_pairs) for one in there),
        seed=seed,
        level=config.level,
        against=against,
    )


def _curve(
    nats: Float64[np.ndarray, " T_plus_1"], resampled: Float64[np.ndarray, "R T_plus_1"], ends: list[float]
) -> PriceCurve:
    low, high = np.quantile(resampled, ends, axis=0)
    return PriceCurve(nats=nats, low=low, high=high, spread=resampled.std(axis=0))
