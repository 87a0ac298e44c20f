"""What a sampling run is asked for: its method, its start, its steps, its sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Int64

from gaga.base.errors import InvalidInput
from gaga.base.rng import STREAM_SIZE, uniforms
from gaga.models.model import Model
from gaga.noise import REFERENCE_KINDS, Moments, ReferenceGaussian, ReferenceKind

METHODS = ("ddpm", "ddim")


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How to sample.

    Attributes:
        method: `ddpm` draws every z_s from p(z_s | z_t); `ddim` follows the deterministic path.
        start: the reference Gaussian that stands for q(z_t) at the first step.
        t_start: the first step; None is the model's T*.
        stride: take every k-th step.
        dataset_var: a scalar variance in the place of the data's, for `start="scalar"`.
        sizes: numbers of atoms to draw from, evenly; None draws from the data's histogram.
        batch_size: molecules at a time; None fills batches by their edges, as suits the device.
        frames: keep this many frames of each molecule's trajectory; 0 keeps none.
    """

    method: str = "ddpm"
    start: str = "block"
    t_start: int | None = None
    stride: int = 1
    dataset_var: float | None = None
    sizes: tuple[int, ...] | None = None
    batch_size: int | None = None
    frames: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidInput("unknown sampling method", received=self.method, remedy=f"use {' or '.join(METHODS)}")
        if self.start not in REFERENCE_KINDS:
            raise InvalidInput(
                "unknown reference Gaussian",
                received=self.start,
                remedy=f"use one of {', '.join(REFERENCE_KINDS)}",
            )
        if self.stride < 1:
            raise InvalidInput("the stride must be at least 1", received=self.stride)
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


def step_sequence(model: Model, config: SampleConfig) -> list[int]:
    """The steps visited, from the first down to 0, every `stride`-th."""
    first = model.max_t if config.t_start is None else config.t_start
    if not 1 <= first <= model.schedule.T:
        raise InvalidInput(f"the first step must be 1 to {model.schedule.T}", received=first)
    if first > model.max_t:
        raise InvalidInput(
            f"this model was trained on steps 0 to {model.max_t} only",
            received=f"t-start {first}",
            remedy=f"start at {model.max_t} or below",
        )
    if config.stride > first:
        raise InvalidInput(f"the stride must be at most the first step, {first}", received=config.stride)
    return [*range(first, 0, -config.stride), 0]


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
