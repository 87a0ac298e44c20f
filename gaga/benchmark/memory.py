"""How much memory a step takes, measured and foreseen."""

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from gaga.models.network.parameters import EGNNConfig

CUDA_MEANS = "most that was allocated on the device during a step, above what was before it"
CPU_MEANS = "most that was resident during a step, above what was before it, freed memory handed back first"
_STATUS, _CLEAR, _FREE = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def peak_memory(run: Callable[[], None], device: torch.device) -> int | None:
    """Bytes that a call takes at its peak, as CUDA_MEANS and CPU_MEANS say; None where that cannot be known.

    The call runs once whatever the answer.
    """
    if device.type == "cuda":
        return _cuda_peak(run, device)
    before = _reset_resident() if device.type == "cpu" else None
    run()
    after = _status_bytes("VmHWM") if before is not None else None
    return None if before is None or after is None else max(0, after - before)


def _cuda_peak(run: Callable[[], None], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _reset_resident() -> int | None:
    """Resident bytes now, which is the kernel's new high-water mark; None where it keeps none, or it may not be set."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        # not atomic: a switch of the system's, in /proc
        _CLEAR.write_text("5")  # proc(5): resets the peak resident set size
    except (OSError, AttributeError, TypeError):  # no /proc, no glibc, no libc to open
        return None
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int | None:
    return _kilobytes(_STATUS, name)


def _kilobytes(path: Path, name: str) -> int | None:
    """A line such as "VmRSS:   123 kB" of a file of /proc, in bytes."""
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def available_memory(device: torch.device) -> int | None:
    """Bytes that a step may take now; None where nobody says."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free_here = [size for size in (_kilobytes(_FREE, "MemAvailable"), _left_in_container()) if size is not None]
    return min(free_here, default=None)


def _left_in_container() -> int | None:
    try:
        return int(_LIMIT.read_text()) - int(_USED.read_text())
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return None


def padded_bytes(config: EGNNConfig, n_atoms: Int64[np.ndarray, " M"], width: int | None, *, training: bool) -> int:
    """What the naive kernel takes, about: eight rows of F floats for each pair of atoms and edge network.

    Without a gradient one edge network's rows live at a time.
    """
    pairs = len(n_atoms) * int(width or n_atoms.max()) ** 2
    networks = config.n_layers * (config.inv_sublayers + 1) if training else 1
    return 8 * 4 * config.hidden * pairs * networks
