"""The device that a command computes on, by the name a user types."""

from typing import TYPE_CHECKING

from gaga.base.errors import Unavailable
from gaga.cli.commands import usage_error

if TYPE_CHECKING:
    import torch


def check_device(name: str) -> tuple[str, str]:
    """The kind of device and its number, if any; whether this machine has it is another question.

    Raises:
        UsageError: the name is none of auto, cpu, cuda, cuda:N, mps.
    """
    wanted, _, number = name.lower().partition(":")
    if wanted not in ("auto", "cpu", "cuda", "mps") or (number and not (wanted == "cuda" and number.isdecimal())):
        raise usage_error(f"invalid value for --device: {name!r}; choose from auto, cpu, cuda, cuda:N, mps")
    return wanted, number


def torch_device(name: str) -> "torch.device":
    """The device for auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: the name is none of these.
        Unavailable: this machine has no such device.
    """
    wanted, number = check_device(name)
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and torch.cuda.device_count() <= int(number or 0):
        raise Unavailable(
            "there is no such CUDA device here", received=name, remedy="use --device cpu, or see `gaga doctor`"
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise Unavailable("there is no MPS device here", received=name, remedy="use --device cpu")
    return torch.device(name.lower())


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
