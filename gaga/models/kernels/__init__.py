"""Ways of running the one EGNN: the same parameters, the same results, different speed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from gaga.base.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from torch import Tensor

    from gaga.models.egnn import EGNN
    from gaga.models.layout import Layout

    Kernel = Callable[["EGNN", Tensor, Tensor, Layout], Tensor]

KernelName = Literal["auto", "naive", "torch", "compile", "triton"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)


def resolve_kernel(name: str) -> tuple[KernelName, "Kernel"]:
    """The kernel that runs for this name: (its own name, the function).

    Raises:
        InvalidInput: the name is unknown.
        Unavailable: the kernel is named but cannot run here.
    """
    from gaga.models.kernels.bucketed import run_bucketed
    from gaga.models.kernels.naive import run_naive

    if name not in KERNELS:
        raise InvalidInput("unknown kernel", received=name, remedy=f"use one of {', '.join(KERNELS)}")
    if name in ("compile", "triton"):
        raise Unavailable(f"this version of gaga has no {name!r} kernel", remedy="use --kernel auto, torch or naive")
    return ("naive", run_naive) if name == "naive" else ("torch", run_bucketed)
