"""Runs the batches of one seed back to back on a device, and halves any batch that does not fit into its memory."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gaga.core.errors import Unavailable
from gaga.core.progress import Progress
from gaga.models.model import Model
from gaga.models.network.layout import Capacity, Layout
from gaga.models.sampling.batch import BatchSampler, NoisyBatch, StepTables
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.loop import UNGUIDED, Condition, Edit, Guidance
from gaga.models.sampling.plan import Batch, room_for, start_reference, work
from gaga.models.sampling.solvers import solver_of
from gaga.noise import Reference

_RECORDED = ("torch", "compile", "triton")  # kernels whose step a CUDA graph can hold
_REUSED = ("triton",)  # those that read all about a batch from its layout's tensors, so that a graph serves for many
_AHEAD = 64  # steps that the host is ahead of the device
log = logging.getLogger(__name__)


class StepCounter:
    """Counts molecule-steps and reports them to a Progress."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._lock, self.stop = Lock(), Event()

    def add(self, molecules: int) -> None:
        """Count a step; ends the thread of a batch that is not needed any more."""
        if self.stop.is_set():
            raise _Abandoned
        with self._lock:
            self._done += molecules
            self._progress(self._done, self._total)


class _Abandoned(Exception):
    """Sampling was given up while a batch was on its way."""


@dataclass(frozen=True, eq=False)
class FinishedBatch:
    """A batch that has arrived at 0, or will have when its event has come.

    Attributes:
        start: its molecules.
        z: on the host; positions and types of the molecules, with ddpm and ddim the types of z_0.
        frames: the same at steps on the way, from the first on.
    """

    start: NoisyBatch
    z: Float[Tensor, "A C"]
    frames: list[Tensor]
    event: "torch.cuda.Event | None"

    def arrived(self) -> bool:
        """Whether it can be read."""
        return self.event is None or bool(self.event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> "FinishedBatch":
        """Itself, when it can be read."""
        if self.event is not None:
            self.event.synchronize()
        return self


class Engine:
    """What the batches of one seed have in common.

    Args:
        model: what to sample from.
        config: how to sample.
        seed: of the run.
        counter: where steps are counted.
        framed: keep frames of batches that have a molecule with a key below this; None keeps those of all.
        reference: what the first step is drawn from; what `config` names by default.
        edit: what is done to the molecules after each step.
        condition: what each molecule is asked to be like.
        guidance: what the network's predictions are turned into.

    Raises:
        InvalidInput: the first step is out of range, or the model holds no moments.
    """

    def __init__(
        self,
        model: Model,
        config: SampleConfig,
        *,
        seed: int,
        counter: StepCounter,
        framed: int | None = None,
        reference: Reference | None = None,
        edit: Edit | None = None,
        condition: Condition | None = None,
        guidance: Guidance = UNGUIDED,
    ) -> None:
        self._model, self._config, self._seed, self._counter, self._framed = model, config, seed, counter, framed
        solver = solver_of(model, config)
        self._alpha2 = float(model.schedule.alpha2_at(solver.time[:1])[0])
        self._reference = reference or start_reference(model, config)
        self._edit, self._condition, self._guidance = edit, condition, guidance
        self._largest = max(config.only_sizes or (len(model.known_moments().counts) - 1,))
        like = parameters_of(model)
        self._device, kernel = like.device, getattr(model.network, "kernel", None)
        self._tables = StepTables.of(model, solver, like)
        self._draws = self._device.type == "cuda"
        self._records = kernel in _RECORDED
        self._pool = self._new_pool()
        self._reuses = self._draws and kernel in _REUSED and guidance.records
        self._walks: dict[Capacity, BatchSampler] = {}
        self._most: int | None = None  # work of a batch, once one did not fit

    def start(self, batch: Batch) -> NoisyBatch:
        """The batch at its first step; a matter of the host alone."""
        columns = self._model.space.columns
        return NoisyBatch.draw(
            batch.keys, batch.sizes, self._reference, columns, self._alpha2, self._seed, self._condition, self._edit
        )

    def outcomes(self, starts: Iterable[NoisyBatch]) -> Iterator[FinishedBatch]:
        """The batches as they arrive, in their order; one is handed over when the next is on its way.

        Raises:
            Unavailable: a molecule does not fit into the device's memory.
        """
        last: FinishedBatch | None = None
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            for start in starts:
                todo = deque([start])
                while todo:
                    for outcome in self._attempt(todo):
                        if last is not None and (outcome is not None or last.arrived()):
                            yield last.wait()
                            last = None
                        last = outcome or last
            if last is not None:
                yield last.wait()

    def seconds_per_step(self, start: NoisyBatch) -> float:
        """Time of a step of this batch, at best of a few; on a device with all that is recorded once."""
        walk, times = self._begin(start), []
        for _ in range(4 if self._device.type == "cpu" else 8):
            walk.begin(start)
            wait_for(self._device)
            began = time.perf_counter()
            walk.advance()
            wait_for(self._device)
            times.append(time.perf_counter() - began)
        return min(times)

    def _attempt(self, todo: deque[NoisyBatch]) -> Iterator[FinishedBatch | None]:
        """None behind each step of the first of `todo`, then its outcome; if it does not fit, its halves remain."""
        start, done, failed = todo.popleft(), 0, False
        if self._most is not None and len(start.keys) > 1 and work(start.sizes).sum() > self._most:
            todo.extendleft(reversed(start.halves()))
            return
        try:
            for outcome in self._walk_down(start):
                done += 1
                yield outcome
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            failed = True  # what the walk holds goes with the exception, before the next line
        if failed:
            self._counter.add(-done * len(start.keys))
            self._make_room(start)
            todo.extendleft(reversed(start.halves()))

    def _walk_down(self, start: NoisyBatch) -> Iterator[FinishedBatch | None]:
        walk, kept, frames = self._begin(start), self._kept(start), []
        pace = _Pace(self._device)
        for k in range(len(self._tables)):
            if k in kept:
                frames.append(_taken(walk.z))
            walk.advance()
            pace()
            self._counter.add(len(start.keys))
            yield None
        yield FinishedBatch(start, _taken(walk.z), frames, pace.mark())

    def _begin(self, start: NoisyBatch) -> BatchSampler:
        """A walk at its first step: with tensors of its own, or with those of an earlier batch of the same room."""
        if not self._reuses:
            walk = self._new_walk(Layout.of(start.sizes, self._device), start)
            walk.begin(start)
            return walk
        capacity = room_for(start.sizes, self._largest)
        if capacity in self._walks:
            self._walks[capacity].begin(start, Layout.filled(start.sizes, capacity))
        else:
            self._walks[capacity] = self._new_walk(Layout.filled(start.sizes, capacity, self._device), start)
            self._walks[capacity].begin(start)
        return self._walks[capacity]

    def _new_walk(self, layout: Layout, start: NoisyBatch) -> BatchSampler:
        return BatchSampler(
            self._model, self._tables, layout, self._seed,
            draws=self._draws, records=self._records, pool=self._pool, edit=self._edit,
            context=0 if start.context is None else start.context.shape[1],
            about=0 if start.about is None else start.about.shape[1], guidance=self._guidance,
        )  # fmt: skip

    def _new_pool(self) -> Any:
        """Memory that recorded steps share, if there are any."""
        return torch.cuda.graph_pool_handle() if self._draws and self._records else None

    def _kept(self, start: NoisyBatch) -> set[int]:
        """Steps before which a frame is kept."""
        if not self._config.frames or (self._framed is not None and start.keys.min() >= self._framed):
            return set()
        return set(np.linspace(0, len(self._tables) - 1, self._config.frames).round().astype(int).tolist())

    def _make_room(self, start: NoisyBatch) -> None:
        """Give back what is held, and take half as much from here on."""
        self._walks.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            self._pool = self._new_pool()  # a recording that failed leaves it unusable
        if len(start.keys) == 1:
            raise Unavailable(
                "the device has no memory for a molecule",
                received=f"{start.sizes[0]} atoms",
                remedy="use `device=cpu`, or smaller `sizes`",
            )
        self._most = int(work(start.sizes).sum()) // 2
        log.warning("Out of memory with %d molecules at a time; continuing with half as many.", len(start.keys))


class _Pace:
    """Keeps the host no more than a few steps ahead of a CUDA device; elsewhere they go together."""

    def __init__(self, device: torch.device) -> None:
        self._ahead: deque[torch.cuda.Event] | None = deque() if device.type == "cuda" else None

    def __call__(self) -> None:
        """A step is on its way."""
        event = self.mark()
        if self._ahead is not None and event is not None:
            self._ahead.append(event)
            if len(self._ahead) > _AHEAD:
                self._ahead.popleft().synchronize()

    def mark(self) -> "torch.cuda.Event | None":
        """What happens when the device has come to here."""
        if self._ahead is None:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return event


def parameters_of(model: Model) -> Tensor:
    """A tensor of the network's device and type; a network without parameters runs in float32 on the CPU."""
    return next(iter(model.network.parameters())) if isinstance(model.network, torch.nn.Module) else torch.zeros(1)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether it says so, or came of it: a recording that was cut short by it ends with an error of its own."""
    return any(isinstance(e, torch.cuda.OutOfMemoryError) for e in (error, error.__context__))


def _taken(z: Tensor) -> Tensor:
    """A copy on the host; from a CUDA device it is there when the device has come to it."""
    return z.clone() if z.device.type == "cpu" else z.to("cpu", non_blocking=z.device.type == "cuda")


def wait_for(device: torch.device) -> None:
    """Return when the device has done what was asked of it so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
