"""How far noised molecules are from Gaussians by the statistics of `gaga.stats.invariants`, by size and over all sizes.

The effect of a statistic is the KS distance of its values to their law under a Gaussian with the sample's own variance
and the same number of atoms; of the coupling it is the mean over molecules, in a Gaussian's standard deviations, of the
column of types with the largest. Over all sizes the values are pooled, each by its place in the law of its own size. A
KS distance is a lower bound of the total variation distance: at 0.1 at least one molecule in ten would have to be
another one.

Intervals hold whatever the law (the triangle inequality, as in `gaga.stats.curves`): the effect plus or minus the
`level` quantile of the distance between a resample of the molecules and the sample. With many molecules every
difference is significant, so that it is the upper end of the effect that T* is read from (`gaga.stats.tolerance`);
p-values calibrate. The null is simulated with the same sizes and as many molecules through the same code, the variance
estimated anew in each draw. It is the same at every step, because no statistic depends on the variance. Of a size with
more than `_NULL_MOLECULES` molecules or `_NULL_ATOMS` atoms fewer are drawn, and deviations scaled by the root of the
ratio.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import groupby

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Meter, Progress, silent
from gaga.core.rng import normals
from gaga.core.threads import map_in_threads
from gaga.data.features import FeatureSpace
from gaga.noise import Schedule
from gaga.stats.groups import Resampling, deal
from gaga.stats.invariants import CELLS, Table, is_defined, scores, statistics_of, table_of
from gaga.stats.shape_effects import ShapeEffects, shape_effects
from gaga.stats.states import NULL_STREAM, DataStates, same_size_chunks
from gaga.stats.tally import Deviations, Tally, count, deviations
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

NULL_DRAWS = 99
MIN_MOLECULES = 50  # of a size that has a row of its own
_NULL_MOLECULES, _NULL_ATOMS = 1_000, 20_000
_DRAWS_PER_PIECE = 33
_BLOCK_ATOMS = 50_000  # that are standardised together
_LEAST_TABLE, _MOST_TABLE, _TABLE_PER_MOLECULE = 1 << 14, 1 << 18, 16


@dataclass(frozen=True, kw_only=True, eq=False)
class MoleculeEffects:
    """Effects of Q statistics at S steps, over all sizes and for each of Z sizes of 50 molecules or more.

    Attributes:
        statistics: their names; the last, the coupling, is in standard deviations, all others are KS distances.
        n_molecules: number of molecules that all are of.
        sizes, counts: numbers of atoms that have a row of their own, and how many molecules have them, [Z].
        n_draws: how often the null was drawn.
        effect: over all sizes, [S, Q]; low, high: its interval; p: share of draws of the null, this one included, that
            lie as far off.
        null_limit: what true Gaussians stay below, at the level of the intervals, [Q].
        effect_by_size, low_by_size, high_by_size, p_by_size: the same of each size, [S, Z, Q]; 0 and p = 1 of a
            statistic that does not vary, as the smallest share of three atoms.
        null_limit_by_size: [Z, Q].
        shapes: the same against random shapes, if that was asked for (`gaga.stats.shape_effects`).
    """

    statistics: tuple[str, ...]
    n_molecules: int
    sizes: Int64[np.ndarray, " Z"] = field(metadata={"dims": ("sizes",)})
    counts: Int64[np.ndarray, " Z"] = field(metadata={"dims": ("sizes",)})
    n_draws: int
    effect: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})
    low: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})
    high: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})
    p: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})
    null_limit: Float64[np.ndarray, " Q"] = field(metadata={"dims": ("statistics",)})
    effect_by_size: Float64[np.ndarray, "S Z Q"] = field(metadata={"dims": ("timesteps", "sizes", "statistics")})
    low_by_size: Float64[np.ndarray, "S Z Q"] = field(metadata={"dims": ("timesteps", "sizes", "statistics")})
    high_by_size: Float64[np.ndarray, "S Z Q"] = field(metadata={"dims": ("timesteps", "sizes", "statistics")})
    p_by_size: Float64[np.ndarray, "S Z Q"] = field(metadata={"dims": ("timesteps", "sizes", "statistics")})
    null_limit_by_size: Float64[np.ndarray, "Z Q"] = field(metadata={"dims": ("sizes", "statistics")})
    shapes: ShapeEffects | None = None


def molecule_effects(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    timesteps: tuple[int, ...],
    *,
    seed: int,
    level: float = 0.95,
    n_resamples: int = 200,
    against: str = "size",
    chosen: Int64[np.ndarray, " m"] | None = None,
    threads: int = 1,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> MoleculeEffects:
    """Effects of molecules of two atoms or more, or of those `chosen`, at these steps; also against random shapes if
    `against="shape"`.

    The noise is that of `gaga.stats.gaussianity.gaussianity` with the same seed. A few thousand molecules are in memory
    at a time; the number of threads does not show. What is in `pieces` is not computed again.
    """
    several = np.flatnonzero(molecules.n_atoms > 1)
    tested = molecules if len(several) == len(molecules) else molecules.select(several)
    keys = None if chosen is None else np.searchsorted(several, chosen)
    centred = np.arange(space.columns) < space.centred_columns
    states = DataStates(tested, space, schedule, centred, seed, keys)
    resampling = deal(len(states), n_resamples, np.random.default_rng(seed))
    meter = Meter(progress, 0)
    measuring = Measuring(states, resampling, level, threads, meter)
    meter.expect(len(timesteps) * len(states) + NULL_DRAWS * int(measuring.drawn.sum()), "")
    null = measuring.null(pieces)
    at = [_kept(pieces, str(t), partial(measuring.at, t), meter, len(states)) for t in timesteps]
    effect, width, by_size, width_by_size = (np.stack([step[name] for step in at]) for name in at[0])
    return MoleculeEffects(
        statistics=measuring.names,
        n_molecules=len(states),
        sizes=measuring.sizes[measuring.shown],
        counts=measuring.counts[measuring.shown],
        n_draws=NULL_DRAWS,
        effect=effect,
        low=np.maximum(effect - width, 0.0),
        high=effect + width,
        p=p_values(effect, null["pooled"]),
        null_limit=np.quantile(null["pooled"], level, axis=0),
        effect_by_size=by_size,
        low_by_size=np.maximum(by_size - width_by_size, 0.0),
        high_by_size=by_size + width_by_size,
        p_by_size=p_values(by_size, null["by_size"]),
        null_limit_by_size=np.quantile(null["by_size"], level, axis=0),
        shapes=None
        if against == "size"
        else shape_effects(
            molecules if chosen is None else molecules.select(np.sort(chosen)),
            space,
            schedule,
            timesteps,
            seed=seed,
            level=level,
            n_resamples=n_resamples,
            progress=progress,
        ),
    )


def _kept(
    pieces: PartialResults, name: str, compute: Callable[[], Piece], advance: Callable[[int], None], work: int
) -> Piece:
    """The piece of that name; if it is there, its work counts as done."""
    if name in pieces:
        advance(work)
    return pieces.get_or_put(name, compute)


def p_values(
    effect: Float64[np.ndarray, "S *rest"], null: Float64[np.ndarray, "draws *rest"]
) -> Float64[np.ndarray, "S *rest"]:
    """Share of the null's draws, and of the sample as one more, that are as large."""
    return np.asarray((1 + (null[None] >= effect[:, None]).sum(axis=1)) / (1 + len(null)))


class Measuring:
    """What is measured at each step, and of the null.

    Attributes:
        sizes, counts: numbers of atoms and of the molecules that have them. shown: those with rows of their own.
        drawn: molecules of each size in a draw of the null.
    """

    def __init__(
        self, states: DataStates, resampling: Resampling, level: float, threads: int, advance: Callable[[int], None]
    ) -> None:
        self._states, self._resampling, self._level = states, resampling, level
        self._threads, self._advance = threads, advance
        self.names = statistics_of(tuple(states.space.blocks))
        self._blocks = tuple(states.space.blocks.values())
        self.sizes, self.counts = np.unique(states.n_atoms, return_counts=True)
        self.shown = self.counts >= MIN_MOLECULES
        self.drawn = np.minimum(self.counts, np.clip(_NULL_ATOMS // self.sizes, 1, _NULL_MOLECULES))

    @cached_property
    def _tables(self) -> dict[int, Table]:
        # A table's own error shows where the null has fewer molecules than the data: it has more draws there.
        each = np.where(self.counts > _NULL_MOLECULES, 4, 1) * _TABLE_PER_MOLECULE
        draws = np.clip(each * self.counts, _LEAST_TABLE, _MOST_TABLE)
        # Powers of two, so that data sets of about as many molecules share a table.
        draws = 2 ** np.ceil(np.log2(draws)).astype(np.int64)
        tables = map_in_threads(lambda i: table_of(int(self.sizes[i]), int(draws[i])), range(len(draws)), self._threads)
        return dict(zip(self.sizes.tolist(), tables, strict=True))

    @property
    def _nothing(self) -> Tally:
        groups, others = self._resampling.n_groups, self._states.columns - self._blocks[0].stop
        counts = np.zeros((len(self.names) - 1, groups, CELLS), dtype=np.int64)
        return Tally(counts, np.zeros((groups, others)), np.zeros(groups, dtype=np.int64))

    def at(self, t: int) -> Piece:
        """Effects and half-widths at a step."""
        chunks = same_size_chunks(self._states.n_atoms, _BLOCK_ATOMS)
        tables = self._tables  # before the threads start
        tallies = map_in_threads(partial(self._tally, t, tables), chunks, self._threads)
        pooled, found = self._nothing, []
        for i, (_, pairs) in enumerate(groupby(tallies, key=lambda pair: pair[0])):
            of_size = self._nothing
            for _, tally, molecules in pairs:
                of_size = of_size + tally
                self._advance(molecules)
            if self.shown[i]:
                found.append(self._effects(of_size))
            pooled = pooled + of_size
        effect, width = self._effects(pooled)
        by_size = np.array(found).reshape(-1, 2, len(self.names))
        return {"effect": effect, "width": width, "by_size": by_size[:, 0], "width_by_size": by_size[:, 1]}

    def _tally(self, t: int, tables: dict[int, Table], indices: Int64[np.ndarray, " m"]) -> tuple[int, Tally, int]:
        """The size of these molecules, what is counted of them, and how many they are."""
        n = int(self._states.n_atoms[indices[0]])
        z = self._states.draw(indices, np.array([t])).reshape(1, len(indices), n, -1)
        group = self._resampling.group[indices][None]
        counted = count(scores(z, self._blocks, tables[n]), group, self._resampling.n_groups, n, self.names)
        return n, counted, len(indices)

    def _effects(self, tally: Tally) -> tuple[Float64[np.ndarray, " Q"], Float64[np.ndarray, " Q"]]:
        """Effects and the half-widths of their intervals."""
        sample = deviations(tally, np.ones((1, self._resampling.n_groups)))
        resampled = deviations(tally, self._resampling.weights) - sample
        return sample.largest[0], np.quantile(resampled.largest, self._level, axis=0)

    def null(self, pieces: PartialResults) -> Piece:
        """Effects of NULL_DRAWS samples of Gaussians: over all sizes [draws, Q], and of those shown [draws, Z, Q]."""
        work = _DRAWS_PER_PIECE * int(self.drawn.sum())
        found = [
            _kept(pieces, f"null/{first}", partial(self._null_from, first), self._advance, work)
            for first in range(0, NULL_DRAWS, _DRAWS_PER_PIECE)
        ]
        return {name: np.concatenate([piece[name] for piece in found]) for name in found[0]}

    def _null_from(self, first: int) -> Piece:
        """These draws, and those up to the next piece's."""
        tables = self._tables
        draw = partial(self._null_of_size, np.arange(first, first + _DRAWS_PER_PIECE), tables)
        weights = np.array([self._weights(int(n)) for n in self.sizes]) * self.counts[:, None]
        weights = weights / np.maximum(weights.sum(axis=0), 1)
        distributions, coupling, by_size = 0.0, 0.0, []
        for i, found in enumerate(map_in_threads(draw, range(len(self.sizes)), self._threads)):
            distributions = distributions + weights[i, :-1, None, None] * found.distributions
            coupling = coupling + weights[i, -1] * found.coupling
            if self.shown[i]:
                by_size.append(found.largest)
            self._advance(_DRAWS_PER_PIECE * int(self.drawn[i]))
        pooled = Deviations(np.asarray(distributions), np.asarray(coupling))
        shape = (-1, _DRAWS_PER_PIECE, len(self.names))
        return {"pooled": pooled.largest, "by_size": np.array(by_size).reshape(shape).transpose(1, 0, 2)}

    def _weights(self, n_atoms: int) -> list[int]:
        """Number of values that a molecule of this size gives to each statistic, 0 if it does not vary."""
        widths = [n_atoms * (block.stop - block.start) for block in self._blocks]
        return [
            values * is_defined(name, n_atoms)
            for name, values in zip(self.names, [1, 1, n_atoms, *widths, 1], strict=True)
        ]

    def _null_of_size(self, draws: Int64[np.ndarray, " D"], tables: dict[int, Table], i: int) -> Deviations:
        """Deviations of draws of Gaussians of one size, as large as those of as many molecules as there are."""
        n, molecules, states = int(self.sizes[i]), int(self.drawn[i]), self._states
        before, each = int(self.drawn[:i].sum()), int(self.drawn.sum())
        parts = []
        for some in np.array_split(draws, min(len(draws), -(-len(draws) * molecules * n // _BLOCK_ATOMS))):
            keys = (some[:, None] * each + before + np.arange(molecules)).reshape(-1)
            z = normals(states.seed, keys, np.full(len(keys), n), states.columns, NULL_STREAM)
            z = z.reshape(len(some), molecules, n, -1)
            z -= z.mean(axis=2, keepdims=True) * states.centred
            group = np.repeat(np.arange(len(some)), molecules).reshape(len(some), molecules)
            parts.append(deviations(count(scores(z, self._blocks, tables[n]), group, len(some), n, self.names)))
        scale = np.sqrt(molecules / self.counts[i])
        return Deviations(
            scale * np.concatenate([part.distributions for part in parts], axis=1),
            scale * np.concatenate([part.coupling for part in parts]),
        )
