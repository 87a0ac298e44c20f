"""Ways of running the one EGNN: the same parameters, the same results, different speed."""

import importlib.util
import logging
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gaga.core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gaga.models.network.egnn import EGNN, EGNNConfig
    from gaga.models.network.layout import Layout

    Kernel = Callable[["EGNN", Tensor, Tensor, Layout], Tensor]

KernelName = Literal["auto", "naive", "torch", "compile", "triton"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)
STATIC: frozenset[KernelName] = frozenset({"compile", "triton"})  # know a batch by Layout.tensors() only: recordable
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FUSED_WIDTHS: dict[Precision, tuple[int, ...]] = {"bfloat16": (16, 32, 64, 128, 256), "float32": (16, 32)}
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
        raise Unavailable("the naive kernel runs in float32 only", remedy="use `kernel=torch`, or `precision=float32`")


def resolve_precision(
    asked: str, config: "EGNNConfig", kernel: str, device: "torch.device | str", dtype: "torch.dtype"
) -> str:
    """What `auto` means for a network.

    It is bfloat16 where the fused kernels can run it, and only so: on a CUDA device, by the kernel `auto` or `triton`,
    with float32 parameters, of more than 32 features. Molecules come out as good (docs/QUALITY.md). Else it is float32.
    """
    if asked != "auto":
        return asked
    import torch

    only_so = config.hidden in set(FUSED_WIDTHS["bfloat16"]) - set(FUSED_WIDTHS["float32"])
    fused = kernel in ("auto", "triton") and dtype == torch.float32 and config.attention and config.aggregation == "sum"
    device = torch.device(device)
    return "bfloat16" if only_so and fused and device.type == "cuda" and _may_be_fused(device) else "float32"


def _may_be_fused(device: "torch.device") -> bool:
    """Whether the card and what is installed let Triton's kernels run."""
    import torch

    return why_no_triton() is None and torch.cuda.get_device_capability(device) >= (8, 0)


def resolve_kernel(network: "EGNN", name: str, device: "torch.device") -> "tuple[KernelName, Kernel]":
    """The kernel that runs this network for this name on this device: (its own name, the function).

    `auto` is `torch` on a CPU; on a CUDA device it is `triton`, where that cannot run `compile`, else `torch`.

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
        return "torch", _function("torch")
    reasons = {candidate: _why_not(candidate, network, device) for candidate in ("triton", "compile")}
    chosen: KernelName = next((c for c in ("triton", "compile") if reasons[c] is None), "torch")
    if chosen != "triton":
        log.warning("the fused kernels cannot run here (%s); using the %s kernel", reasons["triton"], chosen)
    return chosen, _function(chosen)


def _why_not(name: str, network: "EGNN", device: "torch.device") -> str | None:
    """Why a kernel cannot run, None where it can."""
    if name == "triton":
        return _why_not_triton(network, device)
    if name == "compile":
        return _why_not_compile(device)
    return None


def _why_not_triton(network: "EGNN", device: "torch.device") -> str | None:
    if device.type != "cuda" and not interpreted():
        return f"it needs a CUDA device, and this is {device.type}"
    if why := why_no_triton():
        return why
    from gaga.models.network.kernels.fused import shared_memory, why_not

    if (why := why_not(network)) or interpreted():
        return why
    return _why_not_card(device, shared_memory(network))


def interpreted() -> bool:
    """Whether Triton's interpreter runs its kernels, as Triton reads TRITON_INTERPRET."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


def why_no_triton() -> str | None:
    """Why Triton runs nothing here, None where it does. It compiles what launches its kernels, in C."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (pip install triton)"
    if interpreted():
        return None
    if not any(c and shutil.which(c) for c in (os.environ.get("CC", ""), "gcc", "clang")):
        return "triton needs a C compiler (gcc or clang, or CC)"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "triton needs Python's headers (Debian's python3-dev, for one)"
    return None


def _why_not_card(device: "torch.device", needed: int) -> str | None:
    import torch

    card = torch.cuda.get_device_properties(device)
    if card.major < 8:
        return f"they need compute capability 8.0, and {card.name} has {card.major}.{card.minor}"
    there: int = getattr(card, "shared_memory_per_block_optin", needed)
    if there < needed:
        return f"they need {needed} bytes of shared memory for this width, and {card.name} has {there}"
    return None


def _why_not_compile(device: "torch.device") -> str | None:
    if device.type == "cuda":
        return why_no_triton()
    if device.type == "cpu":
        compilers = [os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl"]
        return None if any(c and shutil.which(c) for c in compilers) else "torch.compile needs a C++ compiler"
    return f"torch.compile is not used on {device.type}"


def _function(name: str) -> "Kernel":
    if name == "naive":
        from gaga.models.network.kernels.naive import run_naive

        return run_naive
    if name == "compile":
        from gaga.models.network.kernels.flat import run_compiled

        return run_compiled
    if name == "triton":
        from gaga.models.network.kernels.fused import run_fused

        return run_fused
    from gaga.models.network.kernels.bucketed import run_bucketed

    return run_bucketed
