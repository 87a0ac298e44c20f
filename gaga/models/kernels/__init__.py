"""Ways of running the one EGNN: the same parameters, the same results, different speed."""

import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from gaga.base.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gaga.models.egnn import EGNN
    from gaga.models.layout import Layout

    Kernel = Callable[["EGNN", Tensor, Tensor, Layout], Tensor]

KernelName = Literal["auto", "naive", "torch", "compile", "triton"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)
STATIC: frozenset[KernelName] = frozenset({"triton"})  # read a batch through Layout.tensors() only: may be recorded
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
log = logging.getLogger(__name__)


def check_choice(kernel: str, precision: str) -> None:
    """Refuse names that do not exist, and the one pair that does not.

    Raises:
        InvalidInput: the kernel or the precision is unknown.
        Unavailable: `naive` in bfloat16; it is the oracle, and the papers' formulation has no such form.
    """
    if kernel not in KERNELS:
        raise InvalidInput("unknown kernel", received=kernel, remedy=f"use one of {', '.join(KERNELS)}")
    if precision not in PRECISIONS:
        raise InvalidInput("unknown precision", received=precision, remedy=f"use one of {', '.join(PRECISIONS)}")
    if kernel == "naive" and precision != "float32":
        raise Unavailable("the naive kernel runs in float32 only", remedy="use --kernel torch, or --precision float32")


@cache
def resolve_kernel(name: str, device: "torch.device") -> "tuple[KernelName, Kernel]":
    """The kernel that runs for this name on this device: (its own name, the function).

    `auto` is `torch` on a CPU, `triton` on a CUDA device, and `compile` there where Triton cannot run.

    Raises:
        InvalidInput: the name is unknown.
        Unavailable: the kernel is named but cannot run here.
    """
    from gaga.models.kernels.bucketed import run_bucketed
    from gaga.models.kernels.naive import run_naive

    check_choice(name, "float32")
    if name == "naive":
        return "naive", run_naive
    if name == "torch" or (name == "auto" and device.type != "cuda"):
        return "torch", run_bucketed
    raise Unavailable(f"this version of gaga has no {name!r} kernel", remedy="use --kernel auto, torch or naive")
