"""A step that is the same every time, recorded once as a CUDA graph and replayed; on other devices simply called."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

WARMUP = 3  # calls on a side stream before a recording, as torch asks for (libraries set themselves up in them)


class Replay:
    """Calls a function without arguments that reads and writes tensors which stay where they are.

    The first calls on a CUDA device simply run; then the function is recorded, and from then on the recording is
    replayed. Each call is one execution, recorded or not, so that a training step may be given to it.

    Args:
        function: does its work in place, never waits for the device, and always does the same to the same shapes.
        device: where its tensors are.
        enabled: false calls the function every time, on any device.
        pool: memory shared with other recordings (torch.cuda.graph_pool_handle) that never run at the same time and
            read nothing of each other's; after a recording that failed it takes no more.
    """

    def __init__(
        self, function: Callable[[], None], device: torch.device, *, enabled: bool = True, pool: Any = None
    ) -> None:
        self._function = function
        self._records = enabled and device.type == "cuda"
        self._device = device
        self._pool = pool
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Execute the function once."""
        if not self._records:
            self._function()
        elif self._calls < WARMUP:
            self._aside()
        else:
            if self._graph is None:
                graph = torch.cuda.CUDAGraph()
                # Other threads, such as one that takes results over, may go on using CUDA meanwhile.
                recording = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
                with _on_this_stream(self._device), _nothing_collected(), recording:
                    self._function()
                self._graph = graph  # not before: a recording that failed is not replayed
            self._graph.replay()
        self._calls += 1

    def _aside(self) -> None:
        stream, current = _side_stream(self._device), torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self._function()
        current.wait_stream(stream)


@contextmanager
def _on_this_stream(device: torch.device) -> Iterator[None]:
    """Come back to the current stream: if a recording fails, torch stays on the stream that it records on."""
    stream = torch.cuda.current_stream(device)
    try:
        yield
    finally:
        torch.cuda.set_stream(stream)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Collect what is garbage now, and nothing until the end: an old graph that is destroyed ends the recording."""
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for each device: libraries keep a workspace for every stream that they have seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
