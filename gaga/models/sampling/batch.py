"""Denoises one batch from T* to 0. Each step is the same tensor program, so it can be captured once as a CUDA graph.

It computes what `gaga.models.sampling.loop` computes, in tensors that stay in one place on the device.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from gaga.core.rng import STREAM_FURTHER, STREAM_START, normals
from gaga.models import device_rng as random
from gaga.models.model import Model
from gaga.models.network.capture import Replay
from gaga.models.network.layout import Layout
from gaga.models.sampling.loop import UNGUIDED, Condition, Edit, Guidance, bounded, reach_of
from gaga.models.sampling.solvers import Solver
from gaga.noise import DrawsFurther, Reference

STREAM_END = STREAM_START - 1
STREAM_EDIT = 0x80000000  # the first of those that an edit draws from


@dataclass(frozen=True, eq=False)
class NoisyBatch:
    """A batch at its first step, on the host.

    Attributes:
        keys, sizes: of its molecules.
        z: drawn from the reference, packed.
        context: what a condition gives of each of them; None without one.
        about: what an edit knows of each atom; None without one.
    """

    keys: Int64[np.ndarray, " B"]
    sizes: Int64[np.ndarray, " B"]
    z: Float64[np.ndarray, "A C"]
    context: Float64[np.ndarray, "B K"] | None = None
    about: Float64[np.ndarray, "A E"] | None = None

    @classmethod
    def draw(
        cls,
        keys: Int64[np.ndarray, " B"],
        sizes: Int64[np.ndarray, " B"],
        reference: Reference,
        columns: int,
        alpha2: float,
        seed: int,
        condition: Condition | None = None,
        edit: Edit | None = None,
    ) -> "NoisyBatch":
        """The start of these molecules, at a squared alpha of `alpha2`."""
        noise = normals(seed, keys, sizes, columns, STREAM_START)
        if isinstance(reference, DrawsFurther):
            further = normals(seed, keys, sizes, reference.further, STREAM_FURTHER)
            noise = np.concatenate([noise, further], axis=1)
        context = None if condition is None else condition.context(keys, sizes)
        about = None if edit is None else edit.about(keys, sizes, seed)
        return cls(keys, sizes, reference.transform(noise, sizes, alpha2, context), context, about)

    def halves(self) -> tuple["NoisyBatch", "NoisyBatch"]:
        """Two starts with half of the molecules each."""
        half = len(self.keys) // 2
        cut = int(self.sizes[:half].sum())
        first, second = (None, None) if self.context is None else (self.context[:half], self.context[half:])
        before, behind = (None, None) if self.about is None else (self.about[:cut], self.about[cut:])
        return (
            NoisyBatch(self.keys[:half], self.sizes[:half], self.z[:cut], first, before),
            NoisyBatch(self.keys[half:], self.sizes[half:], self.z[cut:], second, behind),
        )


@dataclass(frozen=True, eq=False)
class StepTables:
    """The coefficients of all K steps, on the device; C columns.

    Attributes:
        time: t / T of each step.
        c_z, c_eps, sigma, c_memory, m_z, m_eps: coefficients of `solvers.Solver`, for each column.
        reach, level: how far from zero a prediction may be, and sigma (`loop.bounded`).
        stream: what the noise of each step is drawn for; on the host in `streams`.
        noisy: false if every sigma is zero. remembers: false if no update reads the memory.
    """

    time: Float[Tensor, " K"]
    c_z: Float[Tensor, "K C"]
    c_eps: Float[Tensor, "K C"]
    sigma: Float[Tensor, "K C"]
    c_memory: Float[Tensor, "K C"]
    m_z: Float[Tensor, "K C"]
    m_eps: Float[Tensor, "K C"]
    reach: Float[Tensor, "K C"]
    level: Float[Tensor, " K"]
    stream: Int64[Tensor, " K"]
    streams: tuple[int, ...]
    noisy: bool
    remembers: bool

    @classmethod
    def of(cls, model: Model, solver: Solver, like: Tensor) -> "StepTables":
        """The tables of a solver, in the type and on the device of `like`."""
        names = ("c_z", "c_eps", "sigma", "c_memory", "m_z", "m_eps")
        rows = {name: np.repeat(getattr(solver, name)[:, None], model.space.columns, axis=1) for name in names}
        if solver.positions_only_last:
            rows["c_z"][-1, 3:], rows["c_eps"][-1, 3:], rows["sigma"][-1, 3:] = 1.0, 0.0, 0.0
        _, level = model.schedule.alpha_sigma_at(solver.time)
        streams = (*range(len(solver) - 2, -1, -1), STREAM_END)
        return cls(
            time=torch.from_numpy(solver.time / model.schedule.T).to(like),
            **{name: torch.from_numpy(row).to(like) for name, row in rows.items()},
            reach=torch.from_numpy(reach_of(model, solver.time)).to(like),
            level=torch.from_numpy(level).to(like),
            stream=torch.tensor(streams, device=like.device),
            streams=streams,
            noisy=solver.noisy,
            remembers=solver.remembers,
        )

    def __len__(self) -> int:
        return len(self.streams)


class BatchSampler:
    """One batch at a time, in tensors that stay where they are.

    Args:
        model: what to sample from.
        tables: the steps.
        layout: of the batches; those that follow the first have the same capacity.
        seed: of the run.
        draws: whether noise is drawn on the device, else on the host before each step; the numbers are the same.
        records: whether the step may be recorded on a CUDA device.
        pool: memory that recordings share (see Replay).
        edit: what is done to the molecules after each step, outside a recording.
        context: the number of columns that a condition gives; 0 without one.
        about: the number of columns that the edit knows.
        guidance: what the network's predictions are turned into.
    """

    def __init__(
        self,
        model: Model,
        tables: StepTables,
        layout: Layout,
        seed: int,
        *,
        draws: bool,
        records: bool = False,
        pool: Any = None,
        edit: Edit | None = None,
        context: int = 0,
        about: int = 0,
        guidance: Guidance = UNGUIDED,
    ) -> None:
        self._guidance = guidance
        self._model, self._tables, self._layout, self._seed, self._draws = model, tables, layout, seed, draws
        rows = len(layout.molecule)
        self._z = tables.c_z.new_zeros((rows, model.space.columns))
        self._noise = torch.zeros_like(self._z) if tables.noisy and not draws else None
        self._memory = torch.zeros_like(self._z) if tables.remembers else None
        self._context = tables.c_z.new_zeros((len(layout), context)) if context else None
        self._about = tables.c_z.new_zeros((rows, about))
        self._keys = layout.molecule.new_zeros(rows)
        self._counter = layout.molecule.new_zeros(1)
        self._replay = Replay(self.step, self._z.device, enabled=records and guidance.records, pool=pool)
        self._start: NoisyBatch | None = None
        self._done, self._edit = 0, edit

    def begin(self, start: NoisyBatch, layout: Layout | None = None) -> None:
        """Take over a batch, with its layout if it is not the first; does not wait for the device."""
        if layout is not None:
            self._layout.copy_(layout)
        atoms = len(start.z)
        _put(self._z[:atoms], torch.from_numpy(start.z).to(self._z.dtype))
        self._z[atoms:].zero_()
        _put(self._keys[:atoms], torch.from_numpy(np.repeat(start.keys, start.sizes)))
        self._z.copy_(self._layout.centre(self._z, self._model.centred_columns))
        if self._memory is not None:
            self._memory.zero_()
        if self._context is not None and start.context is not None:  # filler molecules keep what was there
            _put(self._context[: len(start.keys)], torch.from_numpy(start.context).to(self._context.dtype))
        self._counter.zero_()
        self._start, self._done = start, 0
        if self._edit is not None and start.about is not None:
            self._about[atoms:].zero_()
            _put(self._about[:atoms], torch.from_numpy(start.about).to(self._about.dtype))
            self._edited(-1)

    @property
    def z(self) -> Float[Tensor, "A C"]:
        """Where the batch is, without filler; behind the last step the molecules' positions and types."""
        assert self._start is not None  # noqa: S101 - cannot happen: a batch begins before its steps
        return self._z[: len(self._start.z)]

    def advance(self) -> None:
        """The next step."""
        assert self._start is not None  # noqa: S101 - cannot happen: a batch begins before its steps
        if self._noise is not None:
            stream = self._tables.streams[self._done]
            noise = normals(self._seed, self._start.keys, self._start.sizes, self._z.shape[1], stream)
            _put(self._noise[: len(noise)], torch.from_numpy(noise).to(self._z.dtype))
        self._replay()
        if self._edit is not None:
            self._edited(self._done)
        self._done += 1

    @torch.no_grad()
    def _edited(self, k: int) -> None:
        assert self._edit is not None  # noqa: S101 - cannot happen: the callers have asked

        def drawn(number: int) -> Float[Tensor, "A C"]:
            return self._numbers(STREAM_EDIT + number)

        self._z.copy_(self._edit(self._z, k, self._layout, self._about, drawn))

    def _numbers(self, stream: int) -> Float[Tensor, "A C"]:
        """Standard normal numbers of the batch, zero in filler if they are drawn on the host."""
        assert self._start is not None  # noqa: S101 - cannot happen: a batch begins before its steps
        columns = self._z.shape[1]
        if self._draws:
            return random.normals(self._seed, self._keys, self._layout.place, columns, stream).to(self._z.dtype)
        noise = normals(self._seed, self._start.keys, self._start.sizes, columns, stream)
        numbers = torch.zeros_like(self._z)
        _put(numbers[: len(noise)], torch.from_numpy(noise).to(self._z.dtype))
        return numbers

    @torch.no_grad()
    def step(self) -> None:
        """The step that the counter says, in place; never waits for the device."""
        tables, layout, centred = self._tables, self._layout, self._model.centred_columns
        time, c_z, c_eps, sigma, stream = (
            self._now(table) for table in (tables.time, tables.c_z, tables.c_eps, tables.sigma, tables.stream)
        )
        eps = self._guidance(self._model, self._z, time.expand(len(layout)).contiguous(), layout, self._context)
        eps = bounded(eps, self._z, self._now(tables.reach), self._now(tables.level))
        z = c_z * self._z - c_eps * eps
        if self._memory is not None:
            z = z + self._now(tables.c_memory) * self._memory
            self._memory.copy_(self._now(tables.m_z) * self._z + self._now(tables.m_eps) * eps)
        if tables.noisy:
            z = z + sigma * layout.centre(self._drawn(stream), centred)
        self._z.copy_(layout.centre(z, centred))
        self._counter.add_(1)

    def _now(self, table: Tensor) -> Tensor:
        return table.index_select(0, self._counter)

    def _drawn(self, stream: Int64[Tensor, "1"]) -> Float[Tensor, "A C"]:
        if self._noise is not None:
            return self._noise
        noise = random.normals(self._seed, self._keys, self._layout.place, self._z.shape[1], stream[0])
        return noise.to(self._z.dtype)


def _put(here: Tensor, values: Tensor) -> None:
    """Copy from the host; a CUDA device does so, from pinned memory, when it comes to it."""
    cuda = here.device.type == "cuda"
    here.copy_(values.pin_memory() if cuda else values, non_blocking=cuda)
