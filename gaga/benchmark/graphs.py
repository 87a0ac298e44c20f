"""A step as one CUDA graph, so that launching its kernels costs nothing; on other devices the step itself."""

from collections.abc import Callable
from typing import Any

import torch

from gaga.models.capture import WARMUP, Replay

Pool = Any  # torch's handle, whose type changes with its release


def captured(step: Callable[[], None], device: torch.device, pool: Pool | None) -> tuple[Callable[[], None], str]:
    """The step recorded, and how it runs; a step that waits for the device cannot be recorded and stays as it is.

    Steps that share a pool must not run at the same time, and must not read what another one computed.
    """
    if device.type != "cuda":
        return step, ""
    replay = Replay(step, device, pool=pool)
    try:
        with torch.cuda.device(device):
            for _ in range(WARMUP + 1):
                replay()
    except RuntimeError as error:
        torch.cuda.synchronize(device)
        return step, f"no CUDA graph: {' '.join(str(error).split())[:80]}"
    return replay, "CUDA graph"


def new_pool(device: torch.device) -> Pool | None:
    """Memory that graphs which never run at the same time can share."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None
