"""Noise in closed form: schedules, the forward law q(z_t | x), and the reference Gaussians of q(z_t). Float64.

Variance-preserving path, z_t = alpha_t x + sigma_t eps with alpha_t^2 + sigma_t^2 = 1 (Hoogeboom et al. 2022,
section 2). GAGA (Qu et al. 2026) replaces q(z_T*) by a Gaussian of matched variance.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput

ScheduleName = Literal["polynomial_2", "cosine"]
ReferenceKind = Literal["published", "scalar", "block", "size", "matched", "prior"]
REFERENCE_KINDS: tuple[ReferenceKind, ...] = get_args(ReferenceKind)
SHAPE = "shape"  # no Gaussian: random shapes of training molecules (gaga.data.shapes)
START_KINDS = (*REFERENCE_KINDS, SHAPE)


@runtime_checkable
class Path(Protocol):
    """A Gaussian path z_t = alpha_t x + sigma_t eps, from the molecules at t = 0 to noise; times are in steps.

    Solvers (`gaga.models.sampling.solvers`) know a path by these three functions alone. `Schedule` is the
    variance-preserving path.
    """

    def gamma_at(self, t: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """gamma = -ln snr = 2 ln(sigma / alpha)."""
        ...

    def time_at(self, gamma: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The inverse of `gamma_at`."""
        ...

    def alpha_sigma_at(
        self, t: Float64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """alpha and sigma."""
        ...


@runtime_checkable
class Reference(Protocol):
    """What stands for q(z_t) at the start of sampling: `ReferenceGaussian`, or `gaga.data.shapes.ReferenceShape`."""

    def transform(
        self,
        noise: Float64[np.ndarray, "A C"],
        n_atoms: Int64[np.ndarray, " M"],
        alpha2: float,
        context: Float64[np.ndarray, "M K"] | None = None,
    ) -> Float64[np.ndarray, "A C"]:
        """z_t of packed molecules of these sizes from standard normal noise; sigma_t^2 is 1 - alpha_t^2.

        `context` is what a condition gives of each molecule (`gaga.models.sampling.loop.Condition`).
        """
        ...


@runtime_checkable
class DrawsFurther(Protocol):
    """A reference that needs more random numbers than z_t has: `transform` gets further columns behind those of z_t."""

    @property
    def further(self) -> int:
        """The number of further columns."""
        ...


@dataclass(frozen=True, eq=False)
class Schedule:
    """A discrete variance-preserving schedule of T steps, as its table gamma_t = -ln snr_t, t = 0..T."""

    name: str
    gamma: Float64[np.ndarray, " T_plus_1"]

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.gamma) - 1

    @property
    def alpha2(self) -> Float64[np.ndarray, " T_plus_1"]:
        """alpha_t^2 = sigmoid(-gamma_t)."""
        return _sigmoid(-self.gamma)

    @property
    def sigma2(self) -> Float64[np.ndarray, " T_plus_1"]:
        """sigma_t^2 = sigmoid(gamma_t)."""
        return _sigmoid(self.gamma)

    @property
    def snr(self) -> Float64[np.ndarray, " T_plus_1"]:
        """Signal-to-noise ratio alpha_t^2 / sigma_t^2."""
        snr: NDArray[np.float64] = np.exp(-self.gamma)
        return snr

    def matches(self, other: "Schedule") -> bool:
        """Whether both tables are the same but for float32 rounding."""
        return self.T == other.T and bool(np.allclose(self.gamma, other.gamma, rtol=0.0, atol=1e-4))

    def gamma_at(self, t: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """gamma at times in steps, linear between them."""
        gamma: NDArray[np.float64] = np.interp(t, np.arange(self.T + 1), self.gamma)
        return gamma

    def alpha2_at(self, t: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """alpha^2 at times in steps."""
        return _sigmoid(-self.gamma_at(t))

    def alpha_sigma_at(
        self, t: Float64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """alpha and sigma at times in steps; precise if either is nearly 0."""
        gamma = self.gamma_at(t)
        return np.exp(-0.5 * np.logaddexp(0, gamma)), np.exp(-0.5 * np.logaddexp(0, -gamma))

    def time_at(self, gamma: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The time, in steps, where gamma has these values: the inverse of `gamma_at`, cut to 0..T."""
        t: NDArray[np.float64] = np.interp(gamma, self.gamma, np.arange(self.T + 1))
        return t

    def step(self, t: int) -> int:
        """`t` if it is a step of this schedule.

        Raises:
            InvalidInput: t is not in 0..T.
        """
        if not 0 <= t <= self.T:
            raise InvalidInput(f"steps of this schedule are 0 to {self.T}", received=t)
        return t


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))


def make_schedule(name: str = "polynomial_2", T: int = 1000, precision: float = 1e-5) -> Schedule:
    """EDM's schedules by name.

    `polynomial_p`: alpha_t = (1 - 2 s)(1 - (t/T)^p) + s with s the precision (Hoogeboom et al. 2022, appendix B);
    `cosine`: Nichol and Dhariwal 2021. Both clip alpha_t^2 / alpha_{t-1}^2 from below at 0.001.

    Raises:
        InvalidInput: the name is unknown, or T or precision out of range.
    """
    if T < 1:
        raise InvalidInput("a schedule has at least one step", received=T)
    if not 0 < precision < 0.5:
        raise InvalidInput("a schedule's precision is between 0 and 0.5", received=precision)
    steps = np.arange(T + 1) / T
    kind, _, power = name.partition("_")
    if kind == "polynomial" and power.replace(".", "", 1).isdigit() and float(power) > 0:
        alpha2 = _clip_ratios((1 - steps ** float(power)) ** 2)
        alpha2 = (1 - 2 * precision) * alpha2 + precision
    elif name == "cosine":
        wave = np.cos((np.linspace(0, T + 2, T + 2) / (T + 2) + 0.008) / 1.008 * np.pi / 2) ** 2
        alpha2 = np.cumprod(np.clip((wave / wave[0])[1:] / (wave / wave[0])[:-1], 0.001, 1.0))
    else:
        raise InvalidInput("unknown noise schedule", received=name, remedy="use polynomial_2 or cosine")
    return Schedule(name, np.log1p(-alpha2) - np.log(alpha2))


def _clip_ratios(alpha2: NDArray[np.float64]) -> NDArray[np.float64]:
    ratios = np.clip(np.concatenate([[1.0], alpha2])[1:] / np.concatenate([[1.0], alpha2])[:-1], 0.001, 1.0)
    return np.cumprod(ratios)


@dataclass(frozen=True, eq=False)
class Moments:
    """The second moments of a data set, from which every reference Gaussian is made.

    Atoms are exchangeable and orientations uniform, so the covariance of a molecule of N atoms is
    within_N (x) (I - 11'/N) + between_N (x) 11'/N, over columns (x) atoms; a column that is centred per molecule
    has no second term.

    Attributes:
        blocks: names of the blocks of columns, positions first.
        starts: first column of each block, and the number C of columns last, [n_blocks + 1].
        centred: which columns have zero mean in every molecule, [C].
        mean: the data set's mean of each column, zero if centred, [C].
        counts: number of molecules of each size 0..N_max, [N_max + 1].
        scalar: variance on the zero-mean subspace over all columns.
        block: the same for each block, [n_blocks].
        within: covariance between columns within molecules of each size, [N_max + 1, C, C].
        between: N times the covariance of the molecules' column means, [N_max + 1, C, C].
        published: the value that the papers use as a scalar variance (for QM9 it is a standard deviation).
        of_one_element: number of atoms, element and count of the molecules of one element, [R, 3]; none if types are
            not centred. Centred types of such a molecule are 0, whatever its element.
    """

    blocks: tuple[str, ...]
    starts: Int64[np.ndarray, " n_blocks_plus_1"]
    centred: Bool[np.ndarray, " C"]
    mean: Float64[np.ndarray, " C"]
    counts: Int64[np.ndarray, " N_max_plus_1"]
    scalar: float
    block: Float64[np.ndarray, " n_blocks"]
    within: Float64[np.ndarray, "N_max_plus_1 C C"]
    between: Float64[np.ndarray, "N_max_plus_1 C C"]
    published: float
    of_one_element: Int64[np.ndarray, "R 3"] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))

    @property
    def columns(self) -> int:
        """C, all columns."""
        return len(self.mean)

    def slices(self) -> dict[str, slice]:
        """The columns of each block."""
        edges = pairwise(self.starts.tolist())
        return {name: slice(a, b) for name, (a, b) in zip(self.blocks, edges, strict=True)}

    def element_alone(self, n_atoms: int) -> int | None:
        """The element of most molecules of one element of this size, or else of any size; None if there are none."""
        rows = self.of_one_element
        some = rows[rows[:, 0] == n_atoms]
        totals = np.bincount(*(some if len(some) else rows)[:, 1:].T)
        return int(totals.argmax()) if len(rows) else None

    def extrapolates(self, n_atoms: int) -> bool:
        """Whether the data had no molecule of this size, so that its covariance comes from other sizes."""
        return n_atoms >= len(self.counts) or not self.counts[n_atoms]

    def of_size(self, n_atoms: int) -> tuple[Float64[np.ndarray, "C C"], Float64[np.ndarray, "C C"]]:
        """(within, between) at this number of atoms.

        Beyond the largest molecule of the data, positions follow the line through the variances by size (a chain
        of atoms grows so), types stay as they are at the largest.
        """
        n_max = len(self.counts) - 1
        if n_atoms <= n_max:
            return self.within[n_atoms], self.between[n_atoms]
        within = self.within[n_max].copy()
        sizes = np.flatnonzero(self.counts)
        if len(sizes) > 1:
            variances = np.array([np.trace(self.within[n][:3, :3]) / 3 for n in sizes])
            slope, intercept = np.polyfit(sizes, variances, 1, w=np.sqrt(self.counts[sizes]))
            at_max = slope * n_max + intercept
            if slope > 0 and at_max > 0:
                within[:3, :3] *= (slope * n_atoms + intercept) / at_max
        return within, self.between[n_max]


@dataclass(frozen=True)
class ReferenceGaussian:
    """The closed-form Gaussian that stands for q(z_t): GAGA equation for v_t, and its refinements.

    `published`, `scalar`: one variance v for every column, v_t = alpha_t^2 v + sigma_t^2; `block`: one for
    each block; `size`: one for each block and number of atoms; `matched`: the exact second moments at each number
    of atoms; `prior`: N(0, I) whatever t. Always on the subspace where centred columns have zero mean.
    """

    kind: ReferenceKind
    moments: Moments

    def covariances(self, n_atoms: int, alpha2: float) -> tuple[Float64[np.ndarray, "C C"], Float64[np.ndarray, "C C"]]:
        """(within, between) covariance of z_t at this number of atoms, with sigma_t^2 = 1 - alpha_t^2."""
        m = self.moments
        eye = np.eye(m.columns)
        free = np.diag((~m.centred).astype(float))
        if self.kind == "prior":
            return eye, free
        if self.kind == "matched":
            within, between = m.of_size(n_atoms)
        else:
            within = np.diag(self._column_variances(n_atoms))
            between = within @ free
        return alpha2 * within + (1 - alpha2) * eye, alpha2 * between + (1 - alpha2) * free

    def factors(self, n_atoms: int, alpha2: float) -> tuple[Float64[np.ndarray, "C C"], Float64[np.ndarray, "C C"]]:
        """The symmetric square roots of `covariances`."""
        within, between = self.covariances(n_atoms, alpha2)
        return _factor(within), _factor(between)

    def mean(self, alpha2: float) -> Float64[np.ndarray, " C"]:
        """Mean of z_t, alpha_t mu: zero for centred columns, and for the prior."""
        return np.zeros(self.moments.columns) if self.kind == "prior" else np.sqrt(alpha2) * self.moments.mean

    def marginal_variances(self, n_atoms: int, alpha2: float) -> Float64[np.ndarray, " C"]:
        """Variance of one atom's column in z_t, the projection on zero mean included: W (N - 1)/N + B / N."""
        within, between = self.covariances(n_atoms, alpha2)
        return np.diag(within) * (n_atoms - 1) / n_atoms + np.diag(between) / n_atoms

    def transform(
        self,
        noise: Float64[np.ndarray, "A C"],
        n_atoms: Int64[np.ndarray, " M"],
        alpha2: float,
        context: Float64[np.ndarray, "M K"] | None = None,
    ) -> Float64[np.ndarray, "A C"]:
        """z_t from standard normal noise of packed molecules of these sizes; the same whatever the context."""
        offsets = np.concatenate([[0], np.cumsum(n_atoms)])
        z: NDArray[np.float64] = np.empty_like(noise)
        factors = {int(n): self.factors(int(n), alpha2) for n in np.unique(n_atoms)}
        for n, start, stop in zip(n_atoms, offsets, offsets[1:], strict=False):
            within, between = factors[int(n)]
            average = noise[start:stop].mean(axis=0)
            z[start:stop] = (noise[start:stop] - average) @ within.T + average @ between.T
        z += self.mean(alpha2)
        return z

    def _column_variances(self, n_atoms: int) -> Float64[np.ndarray, " C"]:
        m = self.moments
        if self.kind in ("published", "scalar"):
            return np.full(m.columns, m.published if self.kind == "published" else m.scalar)
        if self.kind == "block":
            return np.repeat(m.block, np.diff(m.starts))
        within, between = m.of_size(n_atoms)
        total = np.diag(within) * (n_atoms - 1) + np.diag(between)
        per_column = np.where(m.centred, np.diag(within), total / max(n_atoms, 1))
        return np.concatenate([np.full(s.stop - s.start, per_column[s].mean()) for s in m.slices().values()])


def _factor(covariance: Float64[np.ndarray, "C C"]) -> Float64[np.ndarray, "C C"]:
    """The symmetric square root of a covariance, which may be singular; it turns with the positions."""
    values, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    return root


def expected_variance(v: float, alpha2: float) -> float:
    """Variance of z_t on the zero-mean subspace, alpha_t^2 v + sigma_t^2, for data of variance v there."""
    return alpha2 * v + (1.0 - alpha2)
