"""From noise to molecules: ancestral (DDPM) and deterministic (DDIM) sampling from T* down to 0.

Ho et al. 2020 (arXiv 2006.11239) in EDM's form (Hoogeboom et al. 2022, algorithm 2); Song et al. 2021
(arXiv 2010.02502). The start is a reference Gaussian for q(z_T*) (Qu et al. 2026), not the prior at T.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Event, Lock
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from gaga.base.errors import InvalidInput
from gaga.base.progress import Progress, silent
from gaga.base.rng import MAX_SEED, STREAM_SIZE, STREAM_START, normals, uniforms
from gaga.base.threads import map_in_threads
from gaga.models.diffusion import PosteriorStep
from gaga.models.layout import Layout
from gaga.models.model import Model
from gaga.noise import REFERENCE_KINDS, Moments, ReferenceGaussian, ReferenceKind

Draw = Callable[[int], Tensor]
METHODS = ("ddpm", "ddim")
STREAM_END = STREAM_START - 1
_WINDOW = 16  # batches whose molecules are sorted by size together


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
        batch_size: molecules at a time; None chooses for the device.
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


@dataclass(frozen=True, eq=False)
class Sampled:
    """One molecule. `index` is its key under the run's seed: the pair always gives this molecule.

    Attributes:
        index: number of the molecule under its seed.
        atomic_numbers: [N].
        positions: [N, 3] in Å, centred.
        finite: false where the network gave numbers that are not finite; positions are zero there.
        frames: trajectory as (atomic_numbers, positions) pairs, from noise to molecule.
    """

    index: int
    atomic_numbers: UInt8[np.ndarray, " N"]
    positions: Float32[np.ndarray, "N 3"]
    finite: bool = True
    frames: tuple[tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]], ...] = ()


def sample_stream(
    model: Model, indices: Sequence[int], config: SampleConfig, *, seed: int = 0, progress: Progress = silent
) -> Iterator[Sampled]:
    """Molecules for these keys, in their order, as soon as that order allows.

    Args:
        model: what to sample from.
        indices: molecule keys, each once; the same key and seed give the same molecule whatever else is drawn, up to
            floating-point summation order.
        config: how to sample.
        seed: the run's seed, 0 to 2^32 - 1.
        progress: called after each step of a batch with molecule-steps done and in all.

    Raises:
        InvalidInput: the seed or the first step is out of range, or the model holds no moments.
    """
    finished: dict[int, Sampled] = {}
    awaited = iter(indices)
    key = next(awaited, None)
    for batch in sample_batches(model, indices, config, seed=seed, progress=progress):
        finished.update((molecule.index, molecule) for molecule in batch)
        while key is not None and key in finished:
            yield finished.pop(key)
            key = next(awaited, None)


def sample_batches(
    model: Model,
    indices: Sequence[int],
    config: SampleConfig,
    *,
    seed: int = 0,
    done: Collection[int] = (),
    progress: Progress = silent,
) -> Iterator[list[Sampled]]:
    """Batches of molecules as they are finished, like sizes together; arguments and errors as of `sample_stream`.

    Which molecules share a batch depends on `indices` and the batch size alone, so that a run that goes on, with the
    keys that it has `done`, computes what an uninterrupted one would have. A batch that is not done whole is
    computed again.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput(f"a seed is a whole number from 0 to {MAX_SEED}", received=seed)
    steps = step_sequence(model, config)
    reference = start_reference(model.known_moments(), config)
    keys = np.asarray(indices, dtype=np.int64)
    sizes = draw_sizes(keys, reference.moments, config.sizes, seed)
    batches = batches_of_like_sizes(sizes, config.batch_size or default_batch_size(model))
    batches = [b for b in batches if not all(int(i) in done for i in keys[b])]
    count = _Counter(progress, sum(map(len, batches)) * (len(steps) - 1))

    def draw(members: Int64[np.ndarray, " B"]) -> list[Sampled]:
        return _sample_batch(model, reference, steps, keys[members], sizes[members], config, seed, count)

    with _one_thread_each(model, len(batches)) as workers:
        yield from map_in_threads(draw, batches, workers, stop=count.stop)


def default_batch_size(model: Model) -> int:
    """Molecules at a time: as many as stay in the processor's cache, or as keep a GPU busy."""
    return 16 if _parameters_of(model).device.type == "cpu" else 1024


@contextmanager
def _one_thread_each(model: Model, n_batches: int) -> Iterator[int]:
    """How many batches run at a time: on the CPU as many as torch has threads, each on one thread.

    A choice for shared machines (benchmarks/RESULTS.md): where another program takes a core it is a third faster than
    threads inside the small operations of one batch, which then wait for each other; else a little slower.
    """
    threads = torch.get_num_threads()
    if _parameters_of(model).device.type != "cpu" or min(threads, n_batches) < 2:
        yield 1
        return
    torch.set_num_threads(1)
    try:
        yield min(threads, n_batches)
    finally:
        torch.set_num_threads(threads)


def batches_of_like_sizes(sizes: Int64[np.ndarray, " M"], batch_size: int) -> list[Int64[np.ndarray, " B"]]:
    """Positions of molecules in batches, none larger than `batch_size`, all of a window as equal as can be.

    Molecules are sorted by size within windows of sixteen batches.
    """
    batches: list[Int64[np.ndarray, " B"]] = []
    for first in range(0, len(sizes), _WINDOW * batch_size):
        window = first + np.argsort(sizes[first : first + _WINDOW * batch_size], kind="stable")
        batches += np.array_split(window, -(-len(window) // batch_size))
    return batches


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


def _parameters_of(model: Model) -> Tensor:
    """A tensor of the network's device and type; a network without parameters runs in float32 on the CPU."""
    return next(iter(model.network.parameters())) if isinstance(model.network, torch.nn.Module) else torch.zeros(1)


class _Counter:
    """Molecule-steps done, told to a Progress."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0
        self.lock, self.stop = Lock(), Event()

    def add(self, molecules: int) -> None:
        """Count a step; ends the thread of a batch that nobody waits for any more."""
        if self.stop.is_set():
            raise _NobodyWaits
        with self.lock:
            self.done += molecules
            self.progress(self.done, self.total)


class _NobodyWaits(Exception):
    """Sampling was given up while a batch was on its way."""


@torch.no_grad()
def _sample_batch(
    model: Model,
    reference: ReferenceGaussian,
    steps: list[int],
    indices: Int64[np.ndarray, " B"],
    sizes: Int64[np.ndarray, " B"],
    config: SampleConfig,
    seed: int,
    count: _Counter,
) -> list[Sampled]:
    like = _parameters_of(model)
    layout = Layout.of(sizes, like.device)
    columns = model.space.columns

    def draw(stream: int) -> Tensor:
        return torch.from_numpy(normals(seed, indices, sizes, columns, stream)).to(like)

    start = normals(seed, indices, sizes, columns, STREAM_START)
    z = torch.from_numpy(reference.transform(start, sizes, float(model.schedule.alpha2[steps[0]]))).to(like)
    z = layout.centre(z, model.centred_columns)
    kept = set(np.linspace(0, len(steps) - 1, config.frames).round().astype(int).tolist()) if config.frames else set()
    frames = [z] if 0 in kept else []
    for k, (t, s) in enumerate(pairwise(steps), start=1):
        z = _step(model, z, t, s, layout, config.method, draw)
        count.add(len(sizes))
        if k in kept:
            frames.append(z)
    x = _last(model, z, layout, draw if config.method == "ddpm" else None)
    return _unpack(model, indices, sizes, x, z, frames)


def _step(
    model: Model, z: Float[Tensor, "A C"], t: int, s: int, layout: Layout, method: str, draw: Draw
) -> Float[Tensor, "A C"]:
    """One step from t down to s."""
    eps = model.noise(z, z.new_full((len(layout),), t / model.schedule.T), layout)
    if method == "ddpm":
        step = PosteriorStep.between(model.schedule, np.array([t]), np.array([s]))
        noise = layout.centre(draw(s), model.centred_columns)
        z = float(step.keep[0]) * z - float(step.remove[0]) * eps + float(step.sigma[0]) * noise
    else:
        alpha, sigma = np.sqrt(model.schedule.alpha2), np.sqrt(model.schedule.sigma2)
        x = (z - float(sigma[t]) * eps) / float(alpha[t])
        z = float(alpha[s]) * x + float(sigma[s]) * eps
    return layout.centre(z, model.centred_columns)


def _last(model: Model, z: Float[Tensor, "A C"], layout: Layout, draw: Draw | None) -> Float[Tensor, "A 3"]:
    """Positions from p(x | z_0) (EDM, section 3.2): the denoised z_0, with its noise where sampling is stochastic."""
    alpha, sigma = float(np.sqrt(model.schedule.alpha2[0])), float(np.sqrt(model.schedule.sigma2[0]))
    eps = model.noise(z, z.new_zeros(len(layout)), layout)
    x = (z - sigma * eps) / alpha
    if draw is not None:
        x = x + sigma / alpha * draw(STREAM_END)
    return layout.centre(x, model.centred_columns)[:, :3]


def _unpack(
    model: Model,
    indices: Int64[np.ndarray, " B"],
    sizes: Int64[np.ndarray, " B"],
    x: Float[Tensor, "A 3"],
    z: Float[Tensor, "A C"],
    frames: list[Tensor],
) -> list[Sampled]:
    cuts = np.cumsum(sizes)[:-1]
    factor = model.space.factors[0]

    def split(positions: Tensor, columns: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
        numbers = model.space.decode_types(columns.cpu().double().numpy())
        places = positions.cpu().double().numpy() * factor
        return list(zip(np.split(numbers, cuts), np.split(places.astype(np.float32), cuts), strict=True))

    molecules = split(x, z)
    histories = [split(frame[:, :3], frame) for frame in frames]
    sampled = []
    for i, (numbers, places) in enumerate(molecules):
        finite = bool(np.isfinite(places).all())
        history = tuple(frame[i] for frame in histories) + (((numbers, places),) if histories else ())
        sampled.append(Sampled(int(indices[i]), numbers, places if finite else np.zeros_like(places), finite, history))
    return sampled


def seconds_per_molecule(model: Model, config: SampleConfig, n_molecules: int = 64) -> float:
    """Measured on this machine: the time of one step of a batch, times the steps, over batches side by side."""
    like = _parameters_of(model)
    batch_size = config.batch_size or default_batch_size(model)
    sizes = draw_sizes(np.arange(n_molecules, dtype=np.int64), model.known_moments(), config.sizes, 0)
    batches = batches_of_like_sizes(sizes, batch_size)
    sizes = sizes[batches[len(batches) // 2]]
    layout = Layout.of(sizes, like.device)
    z = like.new_zeros((int(sizes.sum()), model.space.columns))
    times = []
    with torch.no_grad(), _one_thread_each(model, len(batches)) as workers:
        for _ in range(4):
            began = time.perf_counter()
            model.noise(z, z.new_zeros(len(sizes)), layout).sum().item()  # waits for the device
            times.append(time.perf_counter() - began)
    return min(times) * (len(step_sequence(model, config)) - 1) / len(sizes) / workers
