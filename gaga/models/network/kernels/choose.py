"""Which kernel computes a network on a device, and in which precision. All kernels give the same results."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from gaga.core.errors import InvalidInput, Unavailable
from gaga.models.network.kernels.bucketed import run_bucketed
from gaga.models.network.kernels.flat import run_compiled
from gaga.models.network.kernels.naive import run_naive
from gaga.models.network.kernels.requirements import (
    FUSED_WIDTHS,
    interpreted,
    may_be_fused,
    why_no_compile,
    why_no_triton,
    why_not_card,
)
from gaga.models.network.layout import Layout
from gaga.models.network.names import KERNELS, PRECISIONS, KernelName
from gaga.models.network.parameters import EGNNConfig, Parameters

Kernel = Callable[[Parameters, Tensor, Tensor, Layout], Tensor]
STATIC: frozenset[KernelName] = frozenset({"compile", "triton"})  # know a batch by Layout.tensors() only: recordable
log = logging.getLogger(__name__)


def check_choice(kernel: str, precision: str) -> None:
    """Check the names of a kernel and a precision, and that they exist together.

    Raises:
        InvalidInput: the kernel or the precision is unknown.
        Unavailable: `naive` in bfloat16; it is the oracle, and the papers' formulation has no such form.
    """
    if kernel not in KERNELS:
        raise InvalidInput("unknown kernel", received=kernel, remedy=f"use one of {', '.join(KERNELS)}")
    if precision not in PRECISIONS:
        raise InvalidInput("unknown precision", received=precision, remedy=f"use one of {', '.join(PRECISIONS)}")
    if kernel == "naive" and precision != "float32":
        raise Unavailable("the naive kernel runs in float32 only", remedy="use `kernel=torch`, or `precision=float32`")


def resolve_precision(
    asked: str, config: EGNNConfig, kernel: str, device: torch.device | str, dtype: torch.dtype
) -> str:
    """The precision `auto` of a network.

    It is bfloat16 if the fused kernels run this network in bfloat16 and in nothing else: on a CUDA device, by the
    kernel `auto` or `triton`, with float32 parameters, of more than 32 features. Molecules are as good
    (docs/QUALITY.md). Otherwise it is float32.
    """
    if asked != "auto":
        return asked
    only_so = config.hidden in set(FUSED_WIDTHS["bfloat16"]) - set(FUSED_WIDTHS["float32"])
    fused = kernel in ("auto", "triton") and dtype == torch.float32 and config.attention and config.aggregation == "sum"
    return "bfloat16" if only_so and fused and may_be_fused(torch.device(device)) else "float32"


def resolve_kernel(network: Parameters, name: str, device: torch.device) -> tuple[KernelName, Kernel]:
    """The kernel of this name for a network on a device: (its own name, the function).

    `auto` is `torch` on a CPU. On a CUDA device it is the first that can run of `triton`, `compile` and `torch`.

    Raises:
        InvalidInput: the name is unknown.
        Unavailable: the kernel is named but cannot run here.
    """
    check_choice(name, network.precision)
    if name != "auto":
        if why := _why_not(name, network, device):
            raise Unavailable(f"the {name} kernel cannot run here: {why}", remedy="use `kernel=auto`")
        return name, _function(name)  # type: ignore[return-value]
    if device.type != "cuda":
        return "torch", run_bucketed
    reasons = {candidate: _why_not(candidate, network, device) for candidate in ("triton", "compile")}
    chosen: KernelName = next((c for c in ("triton", "compile") if reasons[c] is None), "torch")
    if chosen != "triton":
        log.warning("the fused kernels cannot run here (%s); using the %s kernel", reasons["triton"], chosen)
    return chosen, _function(chosen)


def _why_not(name: str, network: Parameters, device: torch.device) -> str | None:
    """Why a kernel cannot run, None if it can."""
    if name == "compile":
        return why_no_compile(device)
    if name != "triton":
        return None
    if device.type != "cuda" and not interpreted():
        return f"it needs a CUDA device, and this is {device.type}"
    if why := why_no_triton():
        return why
    from gaga.models.network.kernels.fused.network import shared_memory, why_not  # triton may not be installed

    if (why := why_not(network)) or interpreted():
        return why
    return why_not_card(device, shared_memory(network))


def _function(name: str) -> Kernel:
    if name == "triton":
        from gaga.models.network.kernels.fused.network import run_fused

        return run_fused
    return {"naive": run_naive, "compile": run_compiled}.get(name, run_bucketed)
