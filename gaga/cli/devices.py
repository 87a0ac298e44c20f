"""The device that a command computes on, by the name a user types, and the processes that torchrun started.

The only place that names the environment variables of `torchrun --nproc-per-node=N -m gaga ...`.
"""

import os
from typing import TYPE_CHECKING

from gaga.cli.commands import usage_error
from gaga.core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import torch

    from gaga.models.ranks import Ranks


_MOST_JUDGES = 8
_TOGETHER = "start the processes with torchrun --nproc-per-node=N -m gaga ..."


def ranks_from_environment() -> "Ranks":
    """Which process this is among those that torchrun started; the only one where it started none.

    Raises:
        InvalidInput: RANK, WORLD_SIZE and LOCAL_RANK do not fit together.
    """
    from gaga.models.ranks import Ranks

    size, rank, local_rank = _number("WORLD_SIZE", 1), _number("RANK", 0), _number("LOCAL_RANK", 0)
    if not 0 <= rank < size or not 0 <= local_rank <= rank:
        received = f"RANK={rank} LOCAL_RANK={local_rank} WORLD_SIZE={size}"
        raise InvalidInput("the ranks in the environment do not fit together", received=received, remedy=_TOGETHER)
    if size > 1 and not (os.environ.get("MASTER_ADDR") and os.environ.get("MASTER_PORT")):
        raise InvalidInput("WORLD_SIZE is set, but MASTER_ADDR or MASTER_PORT is not", remedy=_TOGETHER)
    return Ranks(rank=rank, size=size, local_rank=local_rank)


def rank_in_environment() -> int:
    """The number of this process, 0 where torchrun started none or what is set is no number."""
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() and _several() else 0


def refuse_several_processes(command: str) -> None:
    """Stop where torchrun started several processes of a command that has no use for them.

    Raises:
        UsageError: it did.
    """
    if _several():
        raise usage_error(f"gaga {command} is the work of one process; start it without torchrun")


def _several() -> bool:
    size = os.environ.get("WORLD_SIZE", "")
    return size.isdecimal() and int(size) > 1


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal():
        raise InvalidInput(f"the environment variable {variable} is not a number", received=text, remedy=_TOGETHER)
    return int(text)


def check_device(name: str) -> tuple[str, str]:
    """The kind of device and its number, if any; whether this machine has it is another question.

    Raises:
        UsageError: the name is none of auto, cpu, cuda, cuda:N, mps.
    """
    wanted, _, number = name.lower().partition(":")
    if wanted not in ("auto", "cpu", "cuda", "mps") or (number and not (wanted == "cuda" and number.isdecimal())):
        raise usage_error(f"invalid value for --device: {name!r}; choose from auto, cpu, cuda, cuda:N, mps")
    return wanted, number


def torch_device(name: str, ranks: "Ranks | None" = None) -> "torch.device":
    """The device for auto, cpu, cuda, cuda:N or mps; of several processes each takes the GPU of its local rank.

    Raises:
        UsageError: the name is none of these, or one GPU is named for several processes.
        Unavailable: this machine has no such device.
    """
    wanted, number = check_device(name)
    import torch

    several = ranks is not None and ranks.size > 1
    if several and number:
        raise usage_error(f"invalid value for --device: {name!r}; each process takes its own GPU, write cuda")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        return _cuda_device(int(number or (ranks.local_rank if ranks and several else 0)), several=several)
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise Unavailable("there is no MPS device here", received=name, remedy="use --device cpu")
    return torch.device(wanted)


def judging_processes(device: "torch.device") -> int:
    """How many processes judge what a device draws: of its share of the cores all but one; on the CPU none beside it.

    A GPU draws hundreds of molecules in a second, about as many as one core can judge.
    """
    import torch

    if device.type == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_JUDGES, cores // max(1, torch.cuda.device_count()) - 1))


def _cuda_device(number: int, *, several: bool) -> "torch.device":
    """The GPU, made the current one: kernels and graphs run on the current device."""
    import torch

    count = torch.cuda.device_count()
    if number >= count:
        remedy = f"start at most {count} processes on this machine, or use --device cpu"
        raise Unavailable(
            "there is no such CUDA device here",
            received=f"cuda:{number}",
            remedy=remedy if several and count else "use --device cpu, or see `gaga doctor`",
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def check_statistics_device(name: str) -> None:
    """Refuse a name on which no statistics run, on any machine.

    Raises:
        UsageError: the name is none of auto, cpu, cuda, cuda:N, mps.
        Unavailable: it is mps.
    """
    if check_device(name)[0] == "mps":
        raise Unavailable("the statistics need float64, which MPS does not have", remedy="use --device cpu")


def statistics_device(name: str) -> tuple[str | None, str]:
    """The device that torch computes statistics on, None for numpy on the CPU's threads; and what to call it.

    Raises:
        UsageError, Unavailable: as `torch_device`.
    """
    # Without torch, which numpy does not need.
    device = None if check_device(name)[0] == "cpu" else torch_device(name)
    if device is None or device.type == "cpu":
        return None, "cpu"
    import torch

    return str(device), f"{device} ({torch.cuda.get_device_name(device)})"
