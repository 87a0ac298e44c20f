"""The way of one batch from T* down to 0: every step the same, so that a device can replay it without its host.

Ancestral sampling (DDPM; Ho et al. 2020, arXiv 2006.11239, in EDM's form: Hoogeboom et al. 2022, algorithm 2) and the
deterministic path (DDIM; Song et al. 2021, arXiv 2010.02502) are one linear step with different coefficients,

    z_s = keep z_t - remove eps(z_t, t) + sigma noise,

and so is the last, p(x | z_0) (EDM, section 3.2), which moves the positions alone: the types are read off z_0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from gaga.base.rng import STREAM_START, normals
from gaga.models import random
from gaga.models.capture import Replay
from gaga.models.diffusion import PosteriorStep
from gaga.models.layout import Layout
from gaga.models.model import Model
from gaga.noise import ReferenceGaussian

STREAM_END = STREAM_START - 1


@dataclass(frozen=True, eq=False)
class Start:
    """A batch at its first step, on the host.

    Attributes:
        keys, sizes: of its molecules.
        z: drawn from the reference Gaussian, packed.
    """

    keys: Int64[np.ndarray, " B"]
    sizes: Int64[np.ndarray, " B"]
    z: Float64[np.ndarray, "A C"]

    @classmethod
    def draw(
        cls,
        keys: Int64[np.ndarray, " B"],
        sizes: Int64[np.ndarray, " B"],
        reference: ReferenceGaussian,
        alpha2: float,
        seed: int,
    ) -> "Start":
        """The start of these molecules where the squared alpha is `alpha2`."""
        noise = normals(seed, keys, sizes, reference.moments.columns, STREAM_START)
        return cls(keys, sizes, reference.transform(noise, sizes, alpha2))

    def halves(self) -> tuple["Start", "Start"]:
        """Two starts with half of the molecules each."""
        half = len(self.keys) // 2
        cut = int(self.sizes[:half].sum())
        return (
            Start(self.keys[:half], self.sizes[:half], self.z[:cut]),
            Start(self.keys[half:], self.sizes[half:], self.z[cut:]),
        )


@dataclass(frozen=True, eq=False)
class Tables:
    """The coefficients of all K steps, on the device; C columns.

    Attributes:
        time: t / T of each step.
        keep, remove, sigma: as the module says, for each column.
        stream: what the noise of each step is drawn for; on the host in `streams`.
        noisy: false where every sigma is zero.
    """

    time: Float[Tensor, " K"]
    keep: Float[Tensor, "K C"]
    remove: Float[Tensor, "K C"]
    sigma: Float[Tensor, "K C"]
    stream: Int64[Tensor, " K"]
    streams: tuple[int, ...]
    noisy: bool

    @classmethod
    def of(cls, model: Model, steps: Sequence[int], method: str, like: Tensor) -> "Tables":
        """The tables for these steps, from the first down to 0, in the type and on the device of `like`."""
        t, s = np.array(steps[:-1]), np.array(steps[1:])
        rows = _ancestral(model, t, s) if method == "ddpm" else _deterministic(model, t, s)
        keep, remove, sigma = (np.repeat(row[:, None], model.space.columns, axis=1) for row in rows)
        keep[-1, 3:], remove[-1, 3:], sigma[-1, 3:] = 1.0, 0.0, 0.0
        streams = (*steps[1:], STREAM_END)
        return cls(
            time=torch.tensor(steps, dtype=torch.float64).div(model.schedule.T).to(like),
            keep=torch.from_numpy(keep).to(like),
            remove=torch.from_numpy(remove).to(like),
            sigma=torch.from_numpy(sigma).to(like),
            stream=torch.tensor(streams, device=like.device),
            streams=streams,
            noisy=method == "ddpm",
        )

    def __len__(self) -> int:
        return len(self.streams)


def _ancestral(model: Model, t: Int64[np.ndarray, " k"], s: Int64[np.ndarray, " k"]) -> tuple[np.ndarray, ...]:
    step = PosteriorStep.between(model.schedule, t, s)
    alpha, sigma = np.sqrt(model.schedule.alpha2[0]), np.sqrt(model.schedule.sigma2[0])
    last = (1 / alpha, sigma / alpha, sigma / alpha)
    return tuple(np.append(row, end) for row, end in zip((step.keep, step.remove, step.sigma), last, strict=True))


def _deterministic(model: Model, t: Int64[np.ndarray, " k"], s: Int64[np.ndarray, " k"]) -> tuple[np.ndarray, ...]:
    """From x = (z_t - sigma_t eps) / alpha_t to alpha_s x + sigma_s eps; the last step stops at x."""
    alpha, sigma = np.sqrt(model.schedule.alpha2), np.sqrt(model.schedule.sigma2)
    keep = alpha[s] / alpha[t]
    remove = keep * sigma[t] - sigma[s]
    return np.append(keep, 1 / alpha[0]), np.append(remove, sigma[0] / alpha[0]), np.zeros(len(t) + 1)


class Walk:
    """One batch at a time, in tensors that stay where they are.

    Args:
        model: what to sample from.
        tables: the steps.
        layout: of the batches; those that follow the first have the same capacity.
        seed: of the run.
        draws: whether noise is drawn on the device, else on the host before each step; the numbers are the same.
        records: whether the step may be recorded on a CUDA device.
        pool: memory that recordings share (see Replay).
    """

    def __init__(
        self,
        model: Model,
        tables: Tables,
        layout: Layout,
        seed: int,
        *,
        draws: bool,
        records: bool = False,
        pool: Any = None,
    ) -> None:
        self._model, self._tables, self._layout, self._seed, self._draws = model, tables, layout, seed, draws
        rows = len(layout.molecule)
        self._z = tables.keep.new_zeros((rows, model.space.columns))
        self._noise = torch.zeros_like(self._z) if tables.noisy and not draws else None
        self._keys = layout.molecule.new_zeros(rows)
        self._counter = layout.molecule.new_zeros(1)
        self._replay = Replay(self.step, self._z.device, enabled=records, pool=pool)
        self._start: Start | None = None
        self._done = 0

    def begin(self, start: Start, layout: Layout | None = None) -> None:
        """Take over a batch, with its layout where it is not the first; does not wait for the device."""
        if layout is not None:
            self._layout.copy_(layout)
        atoms = len(start.z)
        _put(self._z[:atoms], torch.from_numpy(start.z).to(self._z.dtype))
        self._z[atoms:].zero_()
        _put(self._keys[:atoms], torch.from_numpy(np.repeat(start.keys, start.sizes)))
        self._z.copy_(self._layout.centre(self._z, self._model.centred_columns))
        self._counter.zero_()
        self._start, self._done = start, 0

    @property
    def z(self) -> Float[Tensor, "A C"]:
        """Where the batch is, without filler; behind the last step the molecules' positions, and z_0's types."""
        assert self._start is not None
        return self._z[: len(self._start.z)]

    def advance(self) -> None:
        """The next step."""
        assert self._start is not None
        if self._noise is not None:
            stream = self._tables.streams[self._done]
            noise = normals(self._seed, self._start.keys, self._start.sizes, self._z.shape[1], stream)
            _put(self._noise[: len(noise)], torch.from_numpy(noise).to(self._z.dtype))
        self._replay()
        self._done += 1

    @torch.no_grad()
    def step(self) -> None:
        """The step that the counter says, in place; never waits for the device."""
        tables, layout, centred = self._tables, self._layout, self._model.centred_columns
        time, keep, remove, sigma, stream = (
            table.index_select(0, self._counter)
            for table in (tables.time, tables.keep, tables.remove, tables.sigma, tables.stream)
        )
        eps = self._model.noise(self._z, time.expand(len(layout)).contiguous(), layout)
        z = keep * self._z - remove * eps
        if tables.noisy:
            z = z + sigma * layout.centre(self._drawn(stream), centred)
        self._z.copy_(layout.centre(z, centred))
        self._counter.add_(1)

    def _drawn(self, stream: Int64[Tensor, "1"]) -> Float[Tensor, "A C"]:
        if self._noise is not None:
            return self._noise
        noise = random.normals(self._seed, self._keys, self._layout.place, self._z.shape[1], stream[0])
        return noise.to(self._z.dtype)


def _put(here: Tensor, values: Tensor) -> None:
    """Copy from the host; a CUDA device does so, from pinned memory, when it comes to it."""
    cuda = here.device.type == "cuda"
    here.copy_(values.pin_memory() if cuda else values, non_blocking=cuda)
