"""A step as one CUDA graph, so that launching its kernels costs nothing; on other devices the step itself."""

from collections.abc import Callable
from typing import Any

import torch

Pool = Any  # torch's handle, whose type changes with its release
_WARMUP = 3  # calls on a side stream before a capture, as torch asks for


def captured(step: Callable[[], None], device: torch.device, pool: Pool | None) -> tuple[Callable[[], None], str]:
    """The step captured, and how it runs; a step that waits for the device cannot be captured and stays as it is.

    Steps that share a pool must not run at the same time, and must not read what another one computed.
    """
    if device.type != "cuda":
        return step, ""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.device(device):
            _warm_up_aside(step)
            with torch.cuda.graph(graph, pool=pool):
                step()
    except RuntimeError as error:
        torch.cuda.synchronize(device)
        return step, f"no CUDA graph: {' '.join(str(error).split())[:80]}"
    return graph.replay, "CUDA graph"


def new_pool(device: torch.device) -> Pool | None:
    """Memory that graphs which never run at the same time can share."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None


def _warm_up_aside(step: Callable[[], None]) -> None:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARMUP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
