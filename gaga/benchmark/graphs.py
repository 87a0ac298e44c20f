"""A step as one CUDA graph, so that launching its kernels costs nothing; on other devices the step itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gaga.models.network.capture import WARMUP, Replay


@dataclass
class Pool:
    """Memory that graphs which never run at the same time can share.

    Attributes:
        handle: torch's, whose type changes with its release; None off CUDA.
    """

    handle: Any = None

    def renew(self) -> None:
        """Memory for the graphs after one whose recording failed, which leaves the pool unusable."""
        self.handle = torch.cuda.graph_pool_handle()


def captured(step: Callable[[], None], device: torch.device, pool: Pool) -> tuple[Callable[[], None], str]:
    """The step recorded, and how it runs; a step that waits for the device cannot be recorded and stays as it is.

    Steps that share a pool must not run at the same time, and must not read what another one computed.
    """
    if device.type != "cuda":
        return step, ""
    replay = Replay(step, device, pool=pool.handle)
    try:
        with torch.cuda.device(device):
            for _ in range(WARMUP + 1):
                replay()
    except RuntimeError as error:
        torch.cuda.synchronize(device)
        pool.renew()
        return step, f"no CUDA graph: {' '.join(str(error).split())[:80]}"
    return replay, "CUDA graph"


def new_pool(device: torch.device) -> Pool:
    """A pool for a device."""
    pool = Pool()
    if device.type == "cuda":
        pool.renew()
    return pool
