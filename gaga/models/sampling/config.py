"""What a sampling run is asked for: its method, its start, its steps, its sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from jaxtyping import Int64

from gaga.base.errors import InvalidInput
from gaga.base.rng import STREAM_SIZE, uniforms
from gaga.models.model import Model
from gaga.models.sampling.solvers import (
    MAX_BEND,
    METHODS,
    SPACINGS,
    Solver,
    ancestral,
    annealed,
    euler,
    heun,
    spaced,
    two_step,
)
from gaga.noise import REFERENCE_KINDS, Moments, ReferenceGaussian, ReferenceKind

BY_STEP = ("ddpm", "ddim")  # methods that visit the steps of the schedule
_EVALUATIONS = 50  # of the others, where not given


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How to sample.

    Attributes:
        method: a way of gaga.models.sampling.solvers: `ddpm`, `ddim`, `heun`, `dpm++` or `annealed`.
        start: the reference Gaussian that stands for q(z_t) at the first step.
        t_start: the first step; None is the model's T*.
        stride: take every k-th step of the schedule, with `ddpm` and `ddim` and without `steps`.
        steps: evaluations of the network for each molecule (`heun`, two a step and one, takes the odd number below an
            even one); None visits the schedule's own steps with `ddpm` and `ddim`, and is 50 with the others.
        spacing: where those evaluations are (gaga.models.sampling.solvers.spaced).
        bend: of the arcsine spacing.
        raised: factor of the noise level before each step of `annealed`.
        raised_between: smallest and largest sigma / alpha where `annealed` raises it.
        dataset_var: a scalar variance in the place of the data's, for `start="scalar"`.
        sizes: numbers of atoms to draw from, evenly; None draws from the data's histogram.
        batch_size: molecules at a time; None fills batches by their edges, as suits the device.
        frames: keep this many frames of each molecule's trajectory; 0 keeps none.
    """

    method: str = "annealed"
    start: str = "block"
    t_start: int | None = None
    stride: int = 1
    steps: int | None = None
    spacing: str = "arcsine"
    bend: float = 2.0
    raised: float = 1.8
    raised_between: tuple[float, float] = (0.03, 3.0)
    dataset_var: float | None = None
    sizes: tuple[int, ...] | None = None
    batch_size: int | None = None
    frames: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidInput("unknown sampling method", received=self.method, remedy=f"use {', '.join(METHODS)}")
        if self.start not in REFERENCE_KINDS:
            raise InvalidInput(
                "unknown reference Gaussian",
                received=self.start,
                remedy=f"use one of {', '.join(REFERENCE_KINDS)}",
            )
        if self.stride < 1:
            raise InvalidInput("the stride must be at least 1", received=self.stride)
        if self.stride > 1 and (self.steps is not None or self.method not in BY_STEP):
            raise InvalidInput(
                "a stride goes with ddpm and ddim, through the schedule's own steps",
                received=f"stride {self.stride}, method {self.method}, steps {self.steps}",
                remedy="give the number of evaluations as steps instead",
            )
        least = 2 if self.method in BY_STEP else 1  # their last evaluation reads the types off z_0
        if self.steps is not None and self.steps < least:
            raise InvalidInput(f"steps must be at least {least} with {self.method}", received=self.steps)
        if self.spacing not in SPACINGS:
            raise InvalidInput("unknown spacing", received=self.spacing, remedy=f"use one of {', '.join(SPACINGS)}")
        if not 0 <= self.bend < MAX_BEND:
            raise InvalidInput(f"the bend must be from 0 to below {MAX_BEND}", received=self.bend)
        if not 1 <= self.raised < np.inf:
            raise InvalidInput("the noise level is raised by a factor of at least 1", received=self.raised)
        if not 0 <= self.raised_between[0] <= self.raised_between[1]:
            raise InvalidInput("raised_between is a smallest and a largest level", received=self.raised_between)
        if self.batch_size is not None and self.batch_size < 1:
            raise InvalidInput("the batch size must be at least 1", received=self.batch_size)
        if self.dataset_var is not None and not 0 < self.dataset_var < np.inf:
            raise InvalidInput("the variance of the data set must be a positive number", received=self.dataset_var)
        if self.dataset_var is not None and self.start not in ("scalar", "published"):
            raise InvalidInput(
                "one variance for all columns goes with the start `scalar` or `published`",
                received=self.start,
            )
        if self.sizes is not None and (not self.sizes or min(self.sizes) < 1):
            raise InvalidInput("sizes must be one or more numbers of atoms, each at least 1", received=self.sizes)

    @property
    def unused(self) -> set[str]:
        """Options that have no effect beside the others."""
        by_schedule = self.method in BY_STEP and self.steps is None
        annealed = {"raised", "raised_between"} if self.method != "annealed" else set()
        bend = {"bend"} if by_schedule or self.spacing != "arcsine" else set()
        return annealed | bend | ({"spacing"} if by_schedule else set())

    def effective(self) -> dict[str, Any]:
        """The options that molecules depend on, by name."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in plain.items() if name not in self.unused}


def solver_of(model: Model, config: SampleConfig) -> Solver:
    """The evaluations of a run and the steps behind them, from its first step down to the molecule.

    Raises:
        InvalidInput: the first step is out of range, or the stride longer than the way.
    """
    schedule, first = model.schedule, first_step(model, config)
    if config.steps is None and config.method in BY_STEP:
        times = np.array(step_sequence(model, config), dtype=np.float64)
    else:
        evaluations = config.steps or _EVALUATIONS
        n = (evaluations + 1) // 2 if config.method == "heun" else evaluations
        times = spaced(schedule, first, n, config.spacing, bend=config.bend)
    if config.method == "annealed":
        return annealed(schedule, times, config.raised, config.raised_between)
    return {"ddpm": ancestral, "ddim": euler, "heun": heun, "dpm++": two_step}[config.method](schedule, times)


def step_sequence(model: Model, config: SampleConfig) -> list[int]:
    """The steps of the schedule that are visited, from the first down to 0, every `stride`-th."""
    first = first_step(model, config)
    if config.stride > first:
        raise InvalidInput(f"the stride must be at most the first step, {first}", received=config.stride)
    return [*range(first, 0, -config.stride), 0]


def first_step(model: Model, config: SampleConfig) -> int:
    """The step that sampling starts at: that of the configuration, else the model's T*.

    Raises:
        InvalidInput: it is out of range.
    """
    first = model.max_t if config.t_start is None else config.t_start
    if not 1 <= first <= model.schedule.T:
        raise InvalidInput(f"the first step must be 1 to {model.schedule.T}", received=first)
    if first > model.max_t:
        raise InvalidInput(
            f"this model was trained on steps 0 to {model.max_t} only",
            received=f"t-start {first}",
            remedy=f"start at {model.max_t} or below",
        )
    return first


def start_reference(moments: Moments, config: SampleConfig) -> ReferenceGaussian:
    """The Gaussian that sampling starts from."""
    if config.dataset_var is not None:
        moments = replace(moments, scalar=config.dataset_var, published=config.dataset_var)
    return ReferenceGaussian(cast(ReferenceKind, config.start), moments)


def draw_sizes(
    indices: Int64[np.ndarray, " M"], moments: Moments, sizes: Sequence[int] | None, seed: int
) -> Int64[np.ndarray, " M"]:
    """Number of atoms of each molecule key, from the data's histogram or evenly from `sizes`."""
    u = uniforms(seed, indices, STREAM_SIZE)
    if sizes is not None:
        return np.asarray(sizes, dtype=np.int64)[(u * len(sizes)).astype(np.int64)]
    cumulative = np.cumsum(moments.counts) / moments.counts.sum()
    return np.searchsorted(cumulative, u, side="left").astype(np.int64)
