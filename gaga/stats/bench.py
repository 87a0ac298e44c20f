"""What the data and its nulls are tested with: the per-molecule test, Dep_t and D_t, through one piece of code."""

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Bool, Int64

from gaga.core.progress import Meter
from gaga.noise import Moments, ReferenceGaussian, ReferenceKind, Schedule
from gaga.stats.curves import DistanceCurves, DistancePlan, side_by_side
from gaga.stats.dependence import NULLS, DependenceCurves, dependence_curves, null_of
from gaga.stats.engine import Engine, Flags, Sums
from gaga.stats.groups import Resampling, resampled_means
from gaga.stats.reference import ReferenceTest, TestPlan
from gaga.stats.states import GaussianStates, States
from gaga.storage.partial import PartialResults


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Molecules that can be noised and resampled, their name, and the Gaussian that they are, if they are one."""

    states: States
    resampling: Resampling
    name: str = "data"
    kind: ReferenceKind | None = None


Scores = tuple[Flags, Sums]
"""Flags of each molecule of a sample, and its mean mutual informations summed over each group."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """The published test, Dep_t and D_t of the data and of its nulls.

    Attributes: as those of `GaussianityResult`.
    """

    n_molecules: int
    n_null: int
    reference: ReferenceTest
    dependence: DependenceCurves
    distances: DistanceCurves
    null_distances: DistanceCurves


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """What every sample is tested with.

    Attributes:
        references: the reference Gaussians that the data's distances are taken to.
        advance: called with the number of molecule-steps done.
    """

    schedule: Schedule
    moments: Moments
    plan: TestPlan
    references: tuple[str, ...]
    level: float
    advance: Meter
    engine: Engine
    pieces: PartialResults

    def measure(self, data: Sample, nulls: list[Sample]) -> Measured:
        """Everything of samples that are tested in one go."""
        flags, means = [], []
        for sample in (data, *nulls):
            passes, sums = self.scores(sample)
            flags.append(passes)
            means.append(resampled_means(sums, sample.resampling))
        distances, null_distances = self.all_distances(data, nulls)
        return Measured(
            n_molecules=len(data.states),
            n_null=len(nulls[0].states),
            reference=self.test(flags[0], flags[1]),
            dependence=dependence_curves(means[0], means[1:], self.level),
            distances=distances,
            null_distances=null_distances,
        )

    def scores(self, sample: Sample, stage: str = "") -> Scores:
        """The per-molecule test of a sample, whose pieces are kept under its name and the stage."""
        return self._run(sample, self.plan.parts, f"test/{sample.name}{stage}")

    def information(self, sample: Sample, pairs: Bool[np.ndarray, "K 2"], stage: str) -> Sums:
        """Of the per-molecule test only the mean mutual informations of these blocks and pairs; 0 of the others."""
        parts = np.insert(pairs, 0, False, axis=1)
        which = "".join(str(int(wanted)) for wanted in pairs.flat)
        return self._run(sample, parts, f"information/{which}/{sample.name}{stage}")[1]

    def _run(self, sample: Sample, parts: Bool[np.ndarray, "K 3"], stage: str) -> Scores:
        plan = replace(self.plan, parts=parts)
        if sample.kind is not None:  # a null's states have the variance that is expected of them already
            plan = replace(plan, expected=np.ones_like(plan.expected))
        return self.engine.run_test(sample.states, plan, sample.resampling, self.advance, self.pieces.subset(stage))

    def test(self, passes: Flags, null_passes: Bool[np.ndarray, "N S K 3"]) -> ReferenceTest:
        """The published test, of the flags of the data and of the first null."""
        return ReferenceTest(
            alpha=self.plan.alpha,
            mi_threshold=self.plan.mi_threshold,
            variances=self.plan.variances,
            neighbours=np.array(self.plan.neighbours, dtype=np.int64),
            passes=passes,
            null_passes=null_passes,
        )

    def all_distances(
        self, data: Sample, nulls: list[Sample], stage: str = ""
    ) -> tuple[DistanceCurves, DistanceCurves]:
        """D_t of the data to each reference, and of each null to itself."""
        distances = self._distances(data, self.references, stage)
        return distances, side_by_side([self._distances(null, (str(null.kind),), stage) for null in nulls])

    def _distances(self, sample: Sample, kinds: tuple[str, ...], stage: str) -> DistanceCurves:
        """Pooled distances of a sample to these reference Gaussians."""
        plan = DistancePlan(
            schedule=self.schedule,
            timesteps=self.plan.timesteps,
            blocks=self.plan.blocks,
            references=tuple(ReferenceGaussian(cast(ReferenceKind, kind), self.moments) for kind in kinds),
            resampling=sample.resampling,
            level=self.level,
        )
        pieces = self.pieces.subset(f"distances/{sample.name}{stage}")
        return self.engine.distance_curves(sample.states, plan, self.advance, pieces)


@dataclass(frozen=True, kw_only=True, eq=False)
class NullKinds:
    """True Gaussians: of independent columns and atoms and, if a reference asks for it, matched.

    The prior is, at any step, independent but for the zero mean; each curve divides by the deviations anyway.
    """

    moments: Moments
    schedule: Schedule
    references: tuple[str, ...]
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        wanted = {null_of(kind) for kind in self.references} | {"independent"}
        return tuple(name for name in NULLS if name in wanted)

    def samples(
        self,
        sizes: Int64[np.ndarray, " M"],
        resampling: Resampling,
        keys: Int64[np.ndarray, " M"] | None = None,
    ) -> list[Sample]:
        """One of each, of molecules of these sizes with noise of these keys."""
        kinds: dict[str, ReferenceKind] = {"independent": "prior", "matched": "matched"}
        return [
            Sample(
                states=GaussianStates(ReferenceGaussian(kind, self.moments), self.schedule, sizes, self.seed, keys),
                resampling=resampling,
                name=name,
                kind=kind,
            )
            for name, kind in kinds.items()
            if name in self.names
        ]
