"""D_t: how far the marginals of z_t are from those of each reference Gaussian.

For each block of columns, every entry minus the reference's mean and divided by the reference's standard
deviation of one atom's column (the projection on zero mean included), all entries of all molecules pooled:
the Kolmogorov-Smirnov distance of that sample to N(0, 1). Entries are counted in 16384 cells of equal
probability, so a distance is short by less than 6.2e-5.

Intervals: a sample's D_t lies no further from that of all molecules than its distribution function does from theirs,
abs(D(F_n, Phi) - D(F, Phi)) <= sup abs(F_n - F) (the triangle inequality), and the law of that is the one of
sup abs(F* - F_n) over resamples of the molecules (Bickel and Freedman, Ann. Statist. 9, 1196, 1981). So D_t +- its
quantile holds at least as often as stated whatever F is, also if F is the Gaussian and D_t = 0. The resamples of D_t
itself would have their interval miss that 0, as those of any statistic at the edge of its range (Andrews, Econometrica
68, 399, 2000); T* is read from them all the same, at thresholds far from 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial

import numpy as np
from jaxtyping import Float32, Float64, Int64

from gaga.core.threads import map_in_threads
from gaga.noise import ReferenceGaussian, Schedule
from gaga.stats.groups import Resampling, recentre
from gaga.stats.ks import N_CELLS, cells_of, distance_between_counts, distance_of_counts
from gaga.stats.states import States, marginals, packed_chunks
from gaga.storage.partial import NO_PARTIALS, PartialResults

_CHUNK_ATOMS = 50_000
# Resamples are moved to the estimate, which takes away what wider cells cost a distance.
GROUP_CELLS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class DistanceCurves:
    """Pooled KS distances D_t to each of R reference Gaussians, for S steps and K blocks, with intervals.

    Attributes:
        estimate: D_t, [S, K, R].
        low: lower end of the interval, not below 0, [S, K, R].
        high: its upper end: as far from the estimate as the lower one would be.
        resampled: D_t of each resample, moved to the estimate as their mean, [B, S, K, R].
    """

    estimate: Float64[np.ndarray, "S K R"] = field(metadata={"dims": ("timesteps", "blocks", "references")})
    low: Float64[np.ndarray, "S K R"] = field(metadata={"dims": ("timesteps", "blocks", "references")})
    high: Float64[np.ndarray, "S K R"] = field(metadata={"dims": ("timesteps", "blocks", "references")})
    resampled: Float32[np.ndarray, "B S K R"] = field(
        metadata={"dims": ("resamples", "timesteps", "blocks", "references")}
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class DistancePlan:
    """What distances are taken: steps, blocks of columns, reference Gaussians, resamples, level."""

    schedule: Schedule
    timesteps: Int64[np.ndarray, " S"]
    blocks: tuple[slice, ...]
    references: tuple[ReferenceGaussian, ...]
    resampling: Resampling
    level: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chunk:
    """Packed states with the size and the group of each atom's molecule."""

    z: Float64[np.ndarray, "A C"]
    size: Int64[np.ndarray, " A"]
    group: Int64[np.ndarray, " A"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Counts:
    """Entries in each cell for every block and reference: of all molecules, and of each group in wider cells."""

    pooled: Int64[np.ndarray, "K R cells"]
    grouped: Int64[np.ndarray, "K R G wide_cells"]


# Mean [C] and, by number of atoms, standard deviation [N_max + 1, C] of one atom's columns.
_Law = tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, "N_max_plus_1 C"]]


def distance_curves(
    states: States,
    plan: DistancePlan,
    advance: Callable[[int], None],
    pieces: PartialResults = NO_PARTIALS,
    *,
    threads: int,
) -> DistanceCurves:
    """D_t of these states; `advance` is called with the number of molecule-steps done since the last call.

    The steps that are in `pieces` are not computed again.
    """
    steps = StepDistances(plan.timesteps, pieces)
    advance((len(plan.timesteps) - len(steps.missing)) * len(states))
    for t in steps.missing:
        steps.add(int(t), _distances_at(states, int(t), plan, advance, threads))
    return steps.curves(plan.level)


@dataclass(frozen=True, kw_only=True, eq=False)
class StepDistance:
    """D_t at one step, and of each resample D_t and the KS distance to the whole sample."""

    estimate: Float64[np.ndarray, "K R"]
    resampled: Float64[np.ndarray, "K R B"]
    deviation: Float64[np.ndarray, "K R B"]


class StepDistances:
    """What is found at each step: what is in `pieces` to begin with."""

    def __init__(self, timesteps: Int64[np.ndarray, " S"], pieces: PartialResults) -> None:
        self._timesteps, self._pieces = timesteps, pieces
        self._found = {int(t): StepDistance(**piece) for t in timesteps if (piece := pieces.get(str(t))) is not None}

    @property
    def missing(self) -> Int64[np.ndarray, " s"]:
        """The steps that are not there yet."""
        return self._timesteps[[int(t) not in self._found for t in self._timesteps]]

    def add(self, t: int, found: StepDistance) -> None:
        """What is found at one step."""
        self._found[t] = found
        self._pieces.put(str(t), vars(found))

    def curves(self, level: float) -> DistanceCurves:
        """The curves of all steps."""
        steps = [self._found[int(t)] for t in self._timesteps]
        estimate = np.stack([step.estimate for step in steps])
        reach = np.quantile(np.stack([step.deviation for step in steps]), level, axis=-1)
        resampled = np.moveaxis(np.stack([step.resampled for step in steps]), -1, 0)
        return DistanceCurves(
            estimate=estimate,
            low=np.maximum(estimate - reach, 0.0),
            high=estimate + reach,
            resampled=recentre(resampled, estimate),
        )


def side_by_side(curves: list[DistanceCurves]) -> DistanceCurves:
    """Curves of the same steps and blocks as one, their references side by side."""
    names = [f.name for f in fields(DistanceCurves)]
    return DistanceCurves(**{n: np.concatenate([getattr(c, n) for c in curves], axis=-1) for n in names})


def _distances_at(
    states: States, t: int, plan: DistancePlan, advance: Callable[[int], None], threads: int
) -> StepDistance:
    """Distances at one step, and those of the resamples."""
    shape = (len(plan.blocks), len(plan.references))
    counts = _Counts(
        pooled=np.zeros((*shape, N_CELLS), dtype=np.int64),
        grouped=np.zeros((*shape, plan.resampling.n_groups, GROUP_CELLS), dtype=np.int64),
    )
    laws = [marginals(r, states.n_atoms, float(plan.schedule.alpha2[t])) for r in plan.references]
    pairs = list(np.ndindex(*shape))
    for indices in packed_chunks(states.n_atoms, _CHUNK_ATOMS):
        sizes = states.n_atoms[indices]
        chunk = _Chunk(
            z=states.draw(indices, np.array([t]))[0],
            size=np.repeat(sizes, sizes),
            group=np.repeat(plan.resampling.group[indices], sizes),
        )
        # Each pair owns its slice of the counts, so that threads never meet.
        for _ in map_in_threads(partial(_count, counts, chunk, laws, plan), pairs, threads):
            pass
        advance(len(indices))
    resampled = np.array([_resampled_distances(counts.grouped[pair], plan.resampling) for pair in pairs])
    distances, deviations = (resampled[:, i].reshape(*shape, -1) for i in range(2))
    return StepDistance(estimate=distance_of_counts(counts.pooled), resampled=distances, deviation=deviations)


def _count(counts: _Counts, chunk: _Chunk, laws: list[_Law], plan: DistancePlan, pair: tuple[int, ...]) -> None:
    """Add one chunk's entries of one block, standardised by one reference, to their cells."""
    columns, (mean, deviations) = plan.blocks[pair[0]], laws[pair[1]]
    values = (chunk.z[:, columns] - mean[columns]) / deviations[chunk.size][:, columns]
    cells = cells_of(values.reshape(-1))
    counts.pooled[pair] += np.bincount(cells, minlength=N_CELLS)
    grouped = counts.grouped[pair]
    cells //= N_CELLS // GROUP_CELLS
    cells += np.repeat(chunk.group * GROUP_CELLS, values.shape[1])
    grouped += np.bincount(cells, minlength=grouped.size).reshape(grouped.shape)


def _resampled_distances(counts: Int64[np.ndarray, "G cells"], resampling: Resampling) -> Float64[np.ndarray, "2 B"]:
    """The distance to N(0, 1) in each resample of the groups, and to all of them together."""
    resampled = resampling.weights @ counts
    return np.stack([distance_of_counts(resampled), distance_between_counts(resampled, counts.sum(axis=0)[None])])
