"""When noised molecules become Gaussian: the published per-molecule test and the curves of GAGA (Qu et al.
2026).

Both are computed for the data and for true Gaussians of the same sizes through the same code, the null. Neither sees a
molecule: the KS test of one molecule's positions has so few entries that 99 % of real molecules pass it without any
noise, and D_t pools the entries of all atoms, so that how the atoms of one molecule lie to each other is lost. They are
kept for parity with what was published; `gaga.stats.effects` has the statistics that see molecules.
"""

import os
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Meter, Progress, silent
from gaga.data.features import FeatureSpace
from gaga.noise import Moments, Schedule
from gaga.stats.bench import Bench, Measured, NullKinds, Sample
from gaga.stats.config import GaussianityConfig
from gaga.stats.curves import DistanceCurves
from gaga.stats.dependence import PAIRS, DependenceCurves
from gaga.stats.effects import MoleculeEffects
from gaga.stats.engine import engine_on
from gaga.stats.groups import deal
from gaga.stats.price_summary import PriceSummary
from gaga.stats.reference import TESTS, ReferenceTest, TestPlan
from gaga.stats.states import DataStates, typical_sizes
from gaga.stats.until import Confidence, measure_until
from gaga.stats.variance import mean_deviations
from gaga.storage.partial import NO_PARTIALS, PartialResults


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianityResult:
    """Per-molecule flags and curves of the data and of the null, at S steps for K blocks.

    Attributes:
        schedule: name of the noise schedule; gamma: its table, gamma_t = -ln snr_t.
        timesteps: the steps, [S]; alpha2: alpha_t^2 there.
        blocks, references, nulls, pairs, tests: names along the axes of the arrays.
        n_molecules: number of molecules that were used, those of D_t; n_null: of true Gaussians.
        n_left_out: molecules of one atom, which have nothing to test.
        reference: the published test of each molecule; with `until`, of those that everything was measured of.
        distances: D_t of the data to each reference Gaussian.
        null_distances: D_t of the true Gaussians `nulls` to themselves: what sampling alone gives.
        dependence: Dep_t, the data's less each null's.
        confidence: how well the curves are known if that was asked for, and which molecules it took.
        effects: statistics that see molecules (`gaga.stats.effects`), which `gaga.runs.gaussianity` adds; None in
            results of earlier versions.
        price: what a start from a Gaussian costs, in nats (`gaga.stats.price`), which it adds too; None in results of
            earlier versions, and if no number of atoms has two molecules.
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
    confidence: Confidence | None = None
    effects: MoleculeEffects | None = None
    price: PriceSummary | None = None

    @property
    def measured(self) -> Int64[np.ndarray, "K 2"]:
        """Of how many molecules Dep_t of each block and kind of pairs is: of all but with `until`."""
        if self.confidence is None or self.confidence.measured is None:
            return np.full((len(self.blocks), len(self.pairs)), self.n_molecules, dtype=np.int64)
        return self.confidence.measured

    @property
    def measured_text(self) -> str:
        """Such as "1,000 to 64,000"."""
        least, most = int(self.measured.min()), int(self.measured.max())
        return f"{most:,}" if least == most else f"{least:,} to {most:,}"


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
    pieces: PartialResults = NO_PARTIALS,
) -> GaussianityResult:
    """Test noised molecules at each step, and true Gaussians of the same sizes.

    The noise of a molecule depends on the seed, the molecule's index and the step alone; the result does not
    depend on the number of threads (None: all cores). With a device such as "cuda" torch computes it there,
    the same but for rounding; without one, numpy on the threads. What is in `pieces`, of the same computation, is not
    computed again, and what is finished is put there.

    Raises:
        InvalidInput: fewer than two molecules of two atoms or more, a step that the schedule does not have,
            or moments, test variances and space that do not belong together.
    """
    several = molecules.n_atoms > 1
    tested = molecules if several.all() else molecules.select(np.flatnonzero(several))
    _check(tested, space, schedule, moments, config)
    threads = threads or os.cpu_count() or 1
    states = DataStates(tested, space, schedule, moments.centred, seed)
    kinds = NullKinds(moments=moments, schedule=schedule, references=config.references, seed=seed)
    bench = Bench(
        schedule=schedule,
        moments=moments,
        plan=_test_plan(tested, space, schedule, config, threads),
        references=config.references,
        level=config.level,
        advance=Meter(progress, 0),
        engine=engine_on(device, threads),
        pieces=pieces,
    )
    found, confidence = _measure(states, kinds, bench, config, np.random.default_rng(seed))
    if confidence is not None:  # numbers among all molecules, those of one atom included
        confidence = replace(confidence, molecules=np.flatnonzero(several)[confidence.molecules])
    return GaussianityResult(
        schedule=schedule.name,
        gamma=schedule.gamma,
        timesteps=bench.plan.timesteps,
        alpha2=schedule.alpha2[bench.plan.timesteps],
        blocks=tuple(space.blocks),
        references=config.references,
        nulls=kinds.names,
        pairs=PAIRS,
        tests=TESTS,
        n_left_out=len(molecules) - len(tested),
        seed=seed,
        level=config.level,
        **vars(found),
        confidence=confidence,
    )


def _measure(
    states: DataStates, kinds: NullKinds, bench: Bench, config: GaussianityConfig, rng: np.random.Generator
) -> tuple[Measured, Confidence | None]:
    """All the data and `n_null` true Gaussians, or as many of both as `until` takes."""
    if config.until is not None:
        return measure_until(states, kinds, bench, config.until, config.n_resamples, rng)
    data = Sample(states=states, resampling=deal(len(states), config.n_resamples, rng))
    sizes = typical_sizes(states.n_atoms, config.n_null)
    nulls = kinds.samples(sizes, deal(len(sizes), config.n_resamples, rng))
    bench.advance.expect(2 * len(config.timesteps) * (len(states) + len(nulls) * len(sizes)), note="")
    return bench.measure(data, nulls), None


def _test_plan(
    molecules: PackedMolecules, space: FeatureSpace, schedule: Schedule, config: GaussianityConfig, threads: int
) -> TestPlan:
    timesteps = np.array(config.timesteps, dtype=np.int64)
    if config.test_variances is None:
        variances = mean_deviations(molecules, space, threads=threads)
    else:
        variances = np.array(config.test_variances)
    return TestPlan(
        timesteps=timesteps,
        blocks=tuple(space.blocks.values()),
        variances=variances,
        expected=schedule.alpha2[timesteps, None] * variances + schedule.sigma2[timesteps, None],
        neighbours=tuple(config.k_positions if n == "positions" else config.k_types for n in space.blocks),
        parts=np.ones((len(space.blocks), len(TESTS)), dtype=bool),
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
