"""Gaussianity of no more molecules than it takes to know every curve to a stated width.

Molecules come in an order keyed by the seed, in growing rounds, until the interval of each curve at each step has a
half-width of `until` at most, or there are no more. The half-width of D_t is the way from the estimate to the upper end
of its interval, so that what is cut off below 0 counts; that of Dep_t, in nats, is half the interval's length. The size
of a round follows from the widest interval of the one before, since widths fall with the root of the number of
molecules; Dep_t, which costs more and needs more, decides first.

Dep_t of a block and kind of pairs that is known at every step and to every null is not measured again, in the data or
in the nulls: it stays that of the first molecules, as many as it took. The published test needs everything of a
molecule, and is of those of the rounds in which everything was measured. D_t, which is cheap, is of all molecules.

What to measure and when to stop is decided by the widths and never by the values, so that the intervals keep their
level: they are the fixed-width sequential confidence intervals of Chow and Robbins, Ann. Math. Statist. 36, 457 (1965),
which hold with the stated probability as the width goes to 0. Dep_t of each block and kind of pairs has a stopping time
of its own, the first round after which its widest interval is narrow enough; those of D_t share one, the last round.
The level is that of each interval by itself. Rounds are few and start at a thousand molecules, so that no interval is
taken from a handful.

Each null has as many molecules as the data, and of the same sizes: what a molecule's size does to the estimator of
mutual information cancels, and the groups of both are resampled together. A resample draws the same groups for every
curve: a mean over n molecules and one over N, these among them, covary in the resamples as they do over samples, with
1 / N, and so the resamples of the worst of several curves hold together too.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gaga.core.rng import uniforms
from gaga.core.statistics import bootstrap_weights
from gaga.stats.bench import Bench, Measured, NullKinds, Sample
from gaga.stats.curves import DistanceCurves
from gaga.stats.dependence import PAIRS, DependenceCurves, Means, dependence_curves
from gaga.stats.engine import Flags, Sums
from gaga.stats.groups import MAX_GROUPS, Resampling, resampled_means
from gaga.stats.reference import TESTS, ReferenceTest
from gaga.stats.states import DataStates

_FIRST = 1000  # molecules of the first round
_LEAST, _MOST = 1.25, 4.0  # how many times as many molecules there are after the next round
_SURPLUS = 1.05  # on the squared ratio of widths, since they are estimates
# Stream of random numbers beyond those of the data's steps and of the nulls'.
_ORDER_STREAM = 0xFFFFFFFD


@dataclass(frozen=True, kw_only=True, eq=False)
class Confidence:
    """How well the curves are known that were measured on no more molecules than that took.

    Attributes:
        until: the half-width asked for.
        reached: whether every interval is as narrow; if not, all molecules were used.
        available: how many molecules there were.
        rounds: number of molecules used by the end of each round.
        molecules: the index of each molecule used, in the order in which they came: those of D_t.
        distances: half-width of the intervals of D_t, [S, K, R].
        dependence: that of Dep_t, [S, K, 2, L].
        measured: of how many of these molecules, the first, Dep_t of each block and kind of pairs is, [K, 2]; of all
            if it is None, as in results of before each had a number of its own.
    """

    until: float
    reached: bool
    available: int
    rounds: Int64[np.ndarray, " rounds"] = field(metadata={"dims": ("rounds",)})
    molecules: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecules",)})
    distances: Float64[np.ndarray, "S K R"] = field(metadata={"dims": ("timesteps", "blocks", "references")})
    dependence: Float64[np.ndarray, "S K 2 L"] = field(
        metadata={"unit": "nats", "dims": ("timesteps", "blocks", "pairs", "nulls")}
    )
    measured: Int64[np.ndarray, "K 2"] | None = field(default=None, metadata={"dims": ("blocks", "pairs")})


def measure_until(
    data: DataStates, kinds: NullKinds, bench: Bench, until: float, n_resamples: int, rng: np.random.Generator
) -> tuple[Measured, Confidence]:
    """Test molecules of `data` round by round until every curve is known to `until`, or there are no more.

    The pieces of a round are kept under the number of molecules before it, those of its distances under the number
    after it.
    """
    sample = GrowingSample(data, kinds, bench, bootstrap_weights(_n_groups(len(data)), n_resamples, rng))
    wanted, unknown = _FIRST, np.ones((len(bench.plan.blocks), len(PAIRS)), dtype=bool)
    while True:
        sample.grow(wanted, unknown)
        dependence = sample.dependence()
        widths = _of_dependence(dependence).max(axis=(0, 3))
        unknown, widest = widths > until, float(widths.max())
        if not unknown.any() or sample.is_all:
            distances, null_distances = sample.distances()
            widest = max(widest, float(_of_distances(distances).max()))
            if widest <= until or sample.is_all:
                break
        wanted = next_size(sample.n, widest / until)
    return (
        Measured(
            n_molecules=sample.n,
            n_null=sample.n,
            reference=sample.test(),
            dependence=dependence,
            distances=distances,
            null_distances=null_distances,
        ),
        Confidence(
            until=until,
            reached=widest <= until,
            available=len(data),
            rounds=np.array(sample.ends, dtype=np.int64),
            molecules=sample.molecules,
            distances=_of_distances(distances),
            dependence=_of_dependence(dependence),
            measured=sample.measured,
        ),
    )


def _of_distances(curves: DistanceCurves) -> Float64[np.ndarray, "S K R"]:
    """Half-widths, before intervals are cut at 0."""
    return np.asarray(curves.high - curves.estimate)


def _of_dependence(curves: DependenceCurves) -> Float64[np.ndarray, "S K 2 L"]:
    """Half-widths in nats."""
    return np.asarray((curves.high - curves.low) / 2)


def order_of(n_molecules: int, seed: int) -> Int64[np.ndarray, " M"]:
    """The indices of the molecules in the order in which they are used."""
    keys = np.arange(n_molecules, dtype=np.int64)
    return np.argsort(uniforms(seed, keys, _ORDER_STREAM), kind="stable").astype(np.int64)


def next_size(n: int, ratio: float) -> int:
    """Molecules after the next round, where the widest interval is `ratio` times as wide as it may be."""
    wanted = n * min(max(_SURPLUS * ratio**2, _LEAST), _MOST)
    return MAX_GROUPS * int(np.ceil(wanted / MAX_GROUPS))


def _n_groups(n_molecules: int) -> int:
    """Groups that molecules are dealt to in turn, so that none is empty after the first round."""
    return min(n_molecules, _FIRST, MAX_GROUPS)


class GrowingSample:
    """The first n molecules in the order of their seed, and nulls of the same sizes; n grows.

    What was scored is not scored again: the noise of a molecule is keyed by its own index.

    Attributes:
        ends: the number of molecules at the end of each round.
        measured: of how many of them, the first, each block's mutual information of features and of atoms is, [K, 2].
    """

    def __init__(self, data: DataStates, kinds: NullKinds, bench: Bench, weights: Float64[np.ndarray, "B G"]) -> None:
        self._data, self._kinds, self._bench, self._weights = data, kinds, bench, weights
        self._order = order_of(len(data), data.seed)
        # Of the data and of each null; the flags are of the molecules of which everything was measured.
        n, shape = 1 + len(kinds.names), (len(bench.plan.timesteps), len(bench.plan.blocks))
        self._flags: list[Flags] = [np.empty((0, *shape, len(TESTS)), dtype=bool)] * n
        self._sums: list[Sums] = [np.zeros((weights.shape[1], *shape, len(PAIRS)))] * n
        self.measured = np.zeros((shape[1], len(PAIRS)), dtype=np.int64)
        self.ends: list[int] = []

    @property
    def n(self) -> int:
        """The number of molecules so far."""
        return self.ends[-1] if self.ends else 0

    @property
    def is_all(self) -> bool:
        """Whether there are no more."""
        return self.n == len(self._data)

    @property
    def molecules(self) -> Int64[np.ndarray, " M"]:
        """Their indices, in their order."""
        return self._order[: self.n]

    def grow(self, wanted: int, unknown: Bool[np.ndarray, "K 2"]) -> None:
        """Take the next molecules, up to `wanted` of them or to the last, and score what is unknown of Dep_t."""
        start, stop = self.n, min(wanted, len(self._data))
        # What costs nothing comes along, so that it does not end the published test.
        pairs = unknown | self._bench.plan.always_zero if unknown.any() else unknown
        scored = stop - start if pairs.any() else 0
        samples = self._samples(start, stop)
        steps = len(self._bench.plan.timesteps) * len(samples)
        # Those of this round, and then the distances of all so far.
        self._bench.advance.expect(steps * (scored + stop), f"{stop:,} of {len(self._data):,} molecules")
        if scored:
            self._score(samples, pairs, f"/{start}")
        self.measured = np.where(pairs, stop, self.measured)
        self.ends.append(stop)

    def _score(self, samples: list[Sample], pairs: Bool[np.ndarray, "K 2"], stage: str) -> None:
        """Add these samples' mutual informations and, if they are all wanted, their flags."""
        for i, sample in enumerate(samples):
            if pairs.all():
                flags, sums = self._bench.scores(sample, stage)
                self._flags[i] = np.concatenate([self._flags[i], flags])
            else:
                sums = self._bench.information(sample, pairs, stage)
            self._sums[i] = self._sums[i] + sums

    def test(self) -> ReferenceTest:
        """The published test of the molecules of which everything was measured."""
        return self._bench.test(self._flags[0], self._flags[1])

    def dependence(self) -> DependenceCurves:
        """Dep_t, of each block and kind of pairs of the molecules of which it was measured."""
        data, *nulls = [self._means(sums) for sums in self._sums]
        return dependence_curves(data, nulls, self._bench.level)

    def _means(self, sums: Sums) -> Means:
        mean, resampled = np.empty(sums.shape[1:]), np.empty((len(self._weights), *sums.shape[1:]))
        for n in np.unique(self.measured).tolist():
            these = self.measured == n
            mean[:, these], resampled[..., these] = resampled_means(sums[..., these], self._resampling(0, n))
        return mean, resampled

    def distances(self) -> tuple[DistanceCurves, DistanceCurves]:
        """D_t of the molecules so far and of their nulls."""
        data, *nulls = self._samples(0, self.n)
        return self._bench.all_distances(data, nulls, f"/{self.n}")

    def _samples(self, start: int, stop: int) -> list[Sample]:
        """The data and its nulls, of the molecules from one place in the order to another."""
        keys, resampling = self._order[start:stop], self._resampling(start, stop)
        data = Sample(states=replace(self._data, chosen=keys), resampling=resampling)
        return [data, *self._kinds.samples(data.states.n_atoms, resampling, keys)]

    def _resampling(self, start: int, stop: int) -> Resampling:
        return Resampling(group=np.arange(start, stop) % self._weights.shape[1], weights=self._weights)
