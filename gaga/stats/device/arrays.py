"""Arrays on their way to a device, and how much of its memory one of them may take."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Float64 numbers in one working array: what a core's cache holds a few of, and a quarter of a GiB.
_OF_CPU, _OF_DEVICE = 1 << 18, 1 << 25
# Arrays that are alive at once, of both chunks, with room for what else the device holds.
_ARRAYS = 32
# Chunks under way at a time.
THREADS = 2


def working_set(device: torch.device) -> int:
    """Numbers in one working array, by the memory that is free on the device now."""
    if device.type != "cuda":
        return _OF_CPU
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(_OF_CPU, min(_OF_DEVICE, free // (8 * _ARRAYS)))


def to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """The array on the device; the host does not wait for the copy to a CUDA device."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def wait(device: torch.device) -> None:
    """Return when the device has done what was asked of it so far."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
