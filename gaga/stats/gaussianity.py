"""When noised molecules become Gaussian: the published per-molecule test and the curves of GAGA (Qu et al.
2026).

Both are computed for the data and for true Gaussians of the same sizes through the same code, the null.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import cast

import numpy as np
from jaxtyping import Float64, Int64

from gaga.base.errors import InvalidInput
from gaga.base.journal import KEEPS_NONE, Pieces
from gaga.base.molecules import PackedMolecules
from gaga.base.progress import Progress, silent
from gaga.data.features import FeatureSpace
from gaga.noise import REFERENCE_KINDS, Moments, ReferenceGaussian, ReferenceKind, Schedule
from gaga.stats.curves import DistanceCurves, DistancePlan, beside
from gaga.stats.dependence import NULLS, PAIRS, DependenceCurves, dependence_curves, null_of
from gaga.stats.engine import Engine, Flags, Sums, engine_on
from gaga.stats.groups import Resampling, deal
from gaga.stats.reference import TESTS, ReferenceTest, TestPlan
from gaga.stats.states import DataStates, GaussianStates, States, typical_sizes
from gaga.stats.variance import variance


@dataclass(frozen=True, kw_only=True)
class GaussianityConfig:
    """What is tested, and how hard.

    Attributes:
        timesteps: increasing steps of the schedule.
        alpha: level of the per-molecule KS test.
        mi_threshold: a molecule's mean mutual information passes below it (nats).
        k_positions: neighbours of the mutual information of positions.
        k_types: neighbours of that of types, and of charges.
        test_variances: v of each block that the per-molecule test standardises with; None is what the
            published script does, the mean over molecules of the block's standard deviation.
        references: the reference Gaussians that distances are taken to.
        n_null: number of true Gaussian molecules, at most as many as there is data.
        n_resamples: bootstrap resamples.
        level: level of every interval.

    Raises:
        InvalidInput: a value is out of its range.
    """

    timesteps: tuple[int, ...] = tuple(range(50, 1001, 50))
    alpha: float = 0.05
    mi_threshold: float = 0.1
    k_positions: int = 2
    k_types: int = 3
    test_variances: tuple[float, ...] | None = None
    references: tuple[str, ...] = REFERENCE_KINDS
    n_null: int = 10_000
    n_resamples: int = 200
    level: float = 0.95

    def __post_init__(self) -> None:
        steps = self.timesteps
        if not steps or any(a >= b for a, b in pairwise(steps)):
            raise InvalidInput("timesteps are one or more increasing steps", received=steps)
        if not 0 < self.alpha < 1 or not 0 < self.level < 1:
            raise InvalidInput("alpha and level lie between 0 and 1", received=f"{self.alpha} and {self.level}")
        if not self.mi_threshold > 0:
            raise InvalidInput("the mutual information threshold is positive", received=self.mi_threshold)
        if min(self.k_positions, self.k_types) < 1:
            raise InvalidInput("neighbours number one or more", received=min(self.k_positions, self.k_types))
        if self.n_null < 2 or self.n_resamples < 2:
            raise InvalidInput(
                "the null and the resamples number two or more", received=min(self.n_null, self.n_resamples)
            )
        if not self.references or not set(self.references) <= set(REFERENCE_KINDS):
            raise InvalidInput(
                "unknown reference Gaussian",
                received=self.references,
                remedy=f"use some of {', '.join(REFERENCE_KINDS)}",
            )
        if self.test_variances is not None and not all(v > 0 for v in self.test_variances):
            raise InvalidInput("the test's variances are positive", received=self.test_variances)


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianityResult:
    """Per-molecule flags and curves of the data and of the null, at S steps for K blocks.

    Attributes:
        schedule: name of the noise schedule; gamma: its table, gamma_t = -ln snr_t.
        timesteps: the steps, [S]; alpha2: alpha_t^2 there.
        blocks, references, nulls, pairs, tests: names along the axes of the arrays.
        n_molecules: number of molecules tested; n_null: of true Gaussians beside them.
        n_left_out: molecules of one atom, which have nothing to test.
        reference: the published test of each molecule.
        distances: D_t of the data to each reference Gaussian.
        null_distances: D_t of the true Gaussians `nulls` to themselves: what sampling alone gives.
        dependence: Dep_t, the data's less each null's.
    """

    schedule: str
    gamma: Float64[np.ndarray, " T_plus_1"] = field(metadata={"dims": ("t",)})
    timesteps: Int64[np.ndarray, " S"] = field(metadata={"dims": ("timesteps",)})
    alpha2: Float64[np.ndarray, " S"] = field(metadata={"dims": ("timesteps",)})
    blocks: tuple[str, ...]
    references: tuple[str, ...]
    nulls: tuple[str, ...]
    pairs: tuple[str, ...]
    tests: tuple[str, ...]
    n_molecules: int
    n_null: int
    n_left_out: int
    seed: int
    level: float
    reference: ReferenceTest
    distances: DistanceCurves
    null_distances: DistanceCurves
    dependence: DependenceCurves


def gaussianity(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    moments: Moments,
    config: GaussianityConfig,
    *,
    seed: int,
    threads: int | None = None,
    device: str | None = None,
    progress: Progress = silent,
    pieces: Pieces = KEEPS_NONE,
) -> GaussianityResult:
    """Test noised molecules at each step, and true Gaussians of the same sizes beside them.

    The noise of a molecule depends on the seed, the molecule's index and the step alone; the result does not
    depend on the number of threads (all cores where None). With a device such as "cuda" torch computes it there,
    the same but for rounding; without one, numpy on the threads. What is in `pieces`, of the same computation, is not
    computed again, and what is finished is put there.

    Raises:
        InvalidInput: fewer than two molecules of two atoms or more, a step that the schedule does not have,
            or moments, test variances and space that do not belong together.
    """
    several = molecules.n_atoms > 1
    tested = molecules if several.all() else molecules.take(np.flatnonzero(several))
    _check(tested, space, schedule, moments, config)
    rng = np.random.default_rng(seed)
    states = DataStates(tested, space, schedule, moments.centred, seed)
    data = _Sample(states=states, resampling=deal(len(tested), config.n_resamples, rng))
    nulls = _nulls(tested, schedule, moments, config, seed, rng)
    n_null = len(nulls[0].states)
    bench = _Bench(
        schedule=schedule,
        moments=moments,
        plan=_test_plan(tested, space, schedule, config),
        level=config.level,
        advance=_counter(progress, 2 * len(config.timesteps) * (len(tested) + len(nulls) * n_null)),
        engine=engine_on(device, threads or os.cpu_count() or 1),
        pieces=pieces,
    )
    reference, dependence = bench.test(data, nulls)
    return GaussianityResult(
        schedule=schedule.name,
        gamma=schedule.gamma,
        timesteps=bench.plan.timesteps,
        alpha2=schedule.alpha2[bench.plan.timesteps],
        blocks=tuple(space.blocks),
        references=config.references,
        nulls=NULLS[: len(nulls)],
        pairs=PAIRS,
        tests=TESTS,
        n_molecules=len(tested),
        n_null=n_null,
        n_left_out=len(molecules) - len(tested),
        seed=seed,
        level=config.level,
        reference=reference,
        distances=bench.distances(data, config.references),
        null_distances=beside([bench.distances(null, (null.kind,)) for null in nulls]),
        dependence=dependence,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sample:
    """Molecules that can be noised and resampled, their name, and the Gaussian that they are, where they are one."""

    states: States
    resampling: Resampling
    name: str = "data"
    kind: ReferenceKind = "prior"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bench:
    """What every sample is tested with."""

    schedule: Schedule
    moments: Moments
    plan: TestPlan
    level: float
    advance: Callable[[int], None]
    engine: Engine
    pieces: Pieces

    def test(self, data: _Sample, nulls: list[_Sample]) -> tuple[ReferenceTest, DependenceCurves]:
        """The per-molecule test of the data and of the first null, and Dep_t against every null."""
        # A null's states have the variance that is expected of them already.
        null_plan = replace(self.plan, expected=np.ones_like(self.plan.expected))
        passes, sums = self._run_test(data, self.plan)
        runs = [self._run_test(null, null_plan) for null in nulls]
        reference = ReferenceTest(
            alpha=self.plan.alpha,
            mi_threshold=self.plan.mi_threshold,
            variances=self.plan.variances,
            neighbours=np.array(self.plan.neighbours, dtype=np.int64),
            passes=passes,
            null_passes=runs[0][0],
        )
        null_sums = [null for _, null in runs]
        return reference, dependence_curves(sums, data.resampling, null_sums, nulls[0].resampling, self.level)

    def _run_test(self, sample: _Sample, plan: TestPlan) -> tuple[Flags, Sums]:
        pieces = self.pieces.within(f"test/{sample.name}")
        return self.engine.run_test(sample.states, plan, sample.resampling, self.advance, pieces)

    def distances(self, sample: _Sample, kinds: tuple[str, ...]) -> DistanceCurves:
        """Pooled distances of a sample to these reference Gaussians."""
        plan = DistancePlan(
            schedule=self.schedule,
            timesteps=self.plan.timesteps,
            blocks=self.plan.blocks,
            references=tuple(ReferenceGaussian(cast(ReferenceKind, kind), self.moments) for kind in kinds),
            resampling=sample.resampling,
            level=self.level,
        )
        pieces = self.pieces.within(f"distances/{sample.name}")
        return self.engine.distance_curves(sample.states, plan, self.advance, pieces)


def _nulls(
    molecules: PackedMolecules,
    schedule: Schedule,
    moments: Moments,
    config: GaussianityConfig,
    seed: int,
    rng: np.random.Generator,
) -> list[_Sample]:
    """True Gaussians of the same sizes: of independent columns and atoms and, where asked for, matched."""
    sizes = typical_sizes(molecules.n_atoms, config.n_null)
    resampling = deal(len(sizes), config.n_resamples, rng)
    # The prior is, at any step, independent but for the zero mean; each curve divides by the deviations
    # anyway.
    wanted = {null_of(kind) for kind in config.references} | {"independent"}
    kinds: list[ReferenceKind] = ["prior", "matched"]
    return [
        _Sample(
            states=GaussianStates(ReferenceGaussian(kind, moments), schedule, sizes, seed),
            resampling=resampling,
            name=name,
            kind=kind,
        )
        for name, kind in zip(NULLS, kinds, strict=True)
        if name in wanted
    ]


def _test_plan(
    molecules: PackedMolecules, space: FeatureSpace, schedule: Schedule, config: GaussianityConfig
) -> TestPlan:
    timesteps = np.array(config.timesteps, dtype=np.int64)
    if config.test_variances is None:
        variances = variance(molecules, space).standard_deviation_biased.mean[: len(space.blocks)]
    else:
        variances = np.array(config.test_variances)
    return TestPlan(
        timesteps=timesteps,
        blocks=tuple(space.blocks.values()),
        variances=variances,
        expected=schedule.alpha2[timesteps, None] * variances + schedule.sigma2[timesteps, None],
        neighbours=tuple(config.k_positions if n == "positions" else config.k_types for n in space.blocks),
        alpha=config.alpha,
        mi_threshold=config.mi_threshold,
    )


def _check(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    moments: Moments,
    config: GaussianityConfig,
) -> None:
    if len(molecules) < 2:
        raise InvalidInput("Gaussianity needs two molecules of two atoms or more", received=len(molecules))
    if moments.slices() != space.blocks or bool(moments.centred[-1]) != space.centred_features:
        raise InvalidInput(
            "the moments are of other columns than the molecules",
            received=", ".join(moments.blocks),
            remedy="estimate the moments again",
        )
    n_variances = len(space.blocks if config.test_variances is None else config.test_variances)
    if n_variances != len(space.blocks):
        raise InvalidInput(f"{len(space.blocks)} blocks need as many test variances", received=n_variances)
    for t in config.timesteps:
        schedule.step(t)


def _counter(progress: Progress, total: int) -> Callable[[int], None]:
    """A callback that adds up what is done and reports the sum."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    return advance
