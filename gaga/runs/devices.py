"""The device that a run computes on, by name: auto, cpu, cuda, cuda:N or mps."""

import os
from typing import TYPE_CHECKING

from gaga.core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import torch

    from gaga.models.ranks import Ranks

_MOST_JUDGES = 8


def parse_device(name: str) -> tuple[str, str]:
    """The kind of device and its number, if any; this machine need not have it.

    Raises:
        InvalidInput: the name is none of auto, cpu, cuda, cuda:N, mps.
    """
    wanted, _, number = name.lower().partition(":")
    if wanted not in ("auto", "cpu", "cuda", "mps") or (number and not (wanted == "cuda" and number.isdecimal())):
        raise InvalidInput("unknown device", received=repr(name), remedy="choose from auto, cpu, cuda, cuda:N, mps")
    return wanted, number


def torch_device(name: str, ranks: "Ranks | None" = None) -> "torch.device":
    """The device for auto, cpu, cuda, cuda:N or mps; of several processes each takes the GPU of its local rank.

    Raises:
        InvalidInput: the name is none of these, or one GPU is named for several processes.
        Unavailable: this machine has no such device.
    """
    wanted, number = parse_device(name)
    import torch  # here: statistics on the CPU need no torch

    several = ranks is not None and ranks.size > 1
    if several and number:
        raise InvalidInput("each process takes its own GPU", received=repr(name), remedy="use `device=cuda`")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        return _cuda_device(int(number or (ranks.local_rank if ranks and several else 0)), several=several)
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise Unavailable("there is no MPS device here", received=name, remedy="use `device=cpu`")
    return torch.device(wanted)


def _cuda_device(number: int, *, several: bool) -> "torch.device":
    """The GPU, made the current one: kernels and graphs run on the current device."""
    import torch

    count = torch.cuda.device_count()
    if number >= count:
        fewer = f"start at most {count} processes on this machine, or use `device=cpu`"
        raise Unavailable(
            "there is no such CUDA device here",
            received=f"cuda:{number}",
            remedy=fewer if several and count else "use `device=cpu`, or see `gaga doctor`",
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def statistics_device(name: str) -> tuple[str | None, str]:
    """The device that torch computes statistics on, None for numpy on the CPU's threads; and its name for the reader.

    Raises:
        InvalidInput: as `torch_device`.
        Unavailable: as `torch_device`; or it is mps.
    """
    kind, _ = parse_device(name)
    if kind == "mps":
        raise Unavailable("the statistics need float64, which MPS does not have", remedy="use `device=cpu`")
    device = None if kind == "cpu" else torch_device(name)
    if device is None or device.type == "cpu":
        return None, "cpu"
    import torch

    return str(device), f"{device} ({torch.cuda.get_device_name(device)})"


def judging_processes(device: "torch.device") -> int:
    """How many processes judge what a device draws: 1, this one, on a CPU; on a GPU its share of the cores less one.

    A GPU draws hundreds of molecules in a second, about as many as one core can judge.
    """
    import torch

    if device.type == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_JUDGES, cores // max(1, torch.cuda.device_count()) - 1))
