"""Where the time of a step goes, kernel by kernel, as torch's profiler sees it."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from gaga.benchmark.report import Profile, Row

_SHOWN = 24
_STEPS = 5
_EDGES = "edge"  # in the name of every fused kernel that works on edges
_GRADIENTS = ("backward", "bwd", "grad")


def profile_step(step: Callable[[], None], device: torch.device, row: Row, edge_flops: int) -> Profile:
    """The kernels of a few steps, per step; on the CPU the operators of torch.

    The rate of the edge kernels is of those whose names say edge and not that they compute a gradient.
    """
    on_cuda = device.type == "cuda"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning: Profiler clears events")  # of a cycle; there is one
        with profile(activities=[ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU]) as found:
            for _ in range(_STEPS):
                step()
            if on_cuda:
                torch.cuda.synchronize(device)
        times = own_times(found.key_averages(), on_cuda=on_cuda)
    names = sorted(times, key=lambda name: -times[name][1])[:_SHOWN]
    return Profile(
        case=row.case,
        kernel=row.kernel,
        precision=row.precision,
        products=row.products,
        molecules=row.molecules,
        names=tuple(name[:100] for name in names),
        calls=np.array([times[name][0] for name in names], dtype=np.int64),
        seconds=np.array([times[name][1] for name in names], dtype=np.float64),
        edge_flops=edge_flops,
        edge_seconds=sum(seconds for name, (_, seconds) in times.items() if is_edge_kernel(name)),
    )


def is_edge_kernel(name: str) -> bool:
    """Whether a kernel of this name computes edge networks forward."""
    name = name.lower()
    return _EDGES in name and not any(word in name for word in _GRADIENTS)


def own_times(events: Iterable[Any], *, on_cuda: bool) -> dict[str, tuple[int, float]]:
    """(calls, seconds of its own) of a step, by name, of what took any time."""
    field = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    times = {event.key: (-(-event.count // _STEPS), getattr(event, field) / 1e6 / _STEPS) for event in events}
    return {name: (calls, seconds) for name, (calls, seconds) in times.items() if seconds > 0}
