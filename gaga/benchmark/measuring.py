"""Time and memory of a call. What is compared runs in turn, A B C A B C, so that a slow moment favours none of them."""

import ctypes
import math
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from gaga.core.progress import Progress, silent

_SHORTEST = 0.1  # s: shorter calls are repeated within a round until they take this long together
_MOST_REPEATS = 1000
_STATUS, _CLEAR, _FREE = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def seconds_of(run: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Mean time of `repeats` calls by the wall clock, from an idle device to an idle device."""
    _synchronise(device)
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    _synchronise(device)
    return (time.perf_counter() - began) / repeats


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def interleave(
    runs: Sequence[Callable[[], object]],
    seconds: Sequence[float],
    device: torch.device,
    rounds: int,
    *,
    budget_s: float | None = None,
    progress: Progress = silent,
) -> Float64[np.ndarray, "n_runs n_rounds"]:
    """Seconds of each run in each round, the runs in turn.

    Args:
        runs: they have run before, so that nothing has to be set up any more.
        seconds: about how long each takes.
        rounds: how often each is measured; fewer if they would take longer than `budget_s`, but two at least.
    """
    repeats = [max(1, min(_MOST_REPEATS, math.ceil(_SHORTEST / max(one, 1e-9)))) for one in seconds]
    a_round = sum(s * r for s, r in zip(seconds, repeats, strict=True))
    if budget_s is not None and rounds * a_round > budget_s:
        rounds = min(rounds, max(2, int(budget_s / a_round)))
    measured = np.empty((len(runs), rounds))
    for k in range(rounds):
        for i, run in enumerate(runs):
            measured[i, k] = seconds_of(run, device, repeats[i])
            progress(k * len(runs) + i + 1, rounds * len(runs), f"round {k + 1} of {rounds}")
    return measured


def memory_in_words(device: torch.device) -> str:
    """What `peak_memory` measures."""
    if device.type == "cuda":
        return "most that was allocated on the device during a step, above what was before it"
    return "most that was resident during a step, above what was before it, freed memory handed back first"


def peak_memory(run: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that a call takes at its peak, as `memory_in_words` says; None if the system does not say.

    The call runs once in every case.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    resident = _reset_resident() if device.type == "cpu" else None
    run()
    after = _kilobytes(_STATUS, "VmHWM") if resident is not None else None
    return None if resident is None or after is None else max(0, after - resident)


def _reset_resident() -> int | None:
    """Resident bytes now, from which Linux counts the peak anew; None if it keeps no peak, or it may not be reset."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        # not atomic: a switch of the system's, in /proc
        _CLEAR.write_text("5")  # proc(5): resets the peak resident set size
    except (OSError, AttributeError, TypeError):  # no /proc, no glibc, no libc to open
        return None
    return _kilobytes(_STATUS, "VmRSS")


def available_memory(device: torch.device) -> int | None:
    """Bytes that a step may take now, of machine and container; None if the system does not say."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        in_container = int(_LIMIT.read_text()) - int(_USED.read_text())
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        in_container = None
    free_here = _kilobytes(_FREE, "MemAvailable")
    return min((size for size in (free_here, in_container) if size is not None), default=None)


def _kilobytes(path: Path, name: str) -> int | None:
    """A line such as "VmRSS:   123 kB" of a file of /proc, in bytes."""
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None
