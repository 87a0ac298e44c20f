"""The device that a command's network runs on, by the name a user types."""

from typing import TYPE_CHECKING

from gaga.base.errors import Unavailable
from gaga.cli.commands import usage_error

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> "torch.device":
    """The device for auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: the name is none of these.
        Unavailable: this machine has no such device.
    """
    import torch

    wanted, _, number = name.lower().partition(":")
    if wanted not in ("auto", "cpu", "cuda", "mps") or (number and not (wanted == "cuda" and number.isdecimal())):
        raise usage_error(f"invalid value for --device: {name!r}; choose from auto, cpu, cuda, cuda:N, mps")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and torch.cuda.device_count() <= int(number or 0):
        raise Unavailable(
            "there is no such CUDA device here", received=name, remedy="use --device cpu, or see `gaga doctor`"
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise Unavailable("there is no MPS device here", received=name, remedy="use --device cpu")
    return torch.device(name.lower())
