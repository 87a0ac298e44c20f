"""What the kernels `compile` and `triton` need: Triton, a compiler, a card. None of it is imported here."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

import torch

FUSED_WIDTHS = {"bfloat16": (16, 32, 64, 128, 256), "float32": (16, 32)}  # by precision; wider networks spill registers
_LEAST_CAPABILITY = (8, 0)


def interpreted() -> bool:
    """Whether Triton's interpreter runs its kernels, as Triton reads TRITON_INTERPRET."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


def why_no_triton() -> str | None:
    """Why Triton cannot run here, None if it can. It compiles the code that launches its kernels, in C."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (pip install triton)"
    if interpreted():
        return None
    if not _any_command(os.environ.get("CC", ""), "gcc", "clang"):
        return "triton needs a C compiler (gcc or clang, or CC)"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "triton needs Python's headers (Debian's python3-dev, for one)"
    return None


def may_be_fused(device: torch.device) -> bool:
    """Whether this is a card that the fused kernels run on, with Triton installed."""
    if device.type != "cuda" or why_no_triton() is not None:
        return False
    return torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY


def why_not_card(device: torch.device, shared_memory: int) -> str | None:
    """Why a card cannot run fused kernels that take this many bytes of shared memory, None if it can."""
    card = torch.cuda.get_device_properties(device)
    if (card.major, card.minor) < _LEAST_CAPABILITY:
        return f"they need compute capability 8.0, and {card.name} has {card.major}.{card.minor}"
    available: int = getattr(card, "shared_memory_per_block_optin", shared_memory)
    if available < shared_memory:
        return f"they need {shared_memory} bytes of shared memory for this width, and {card.name} has {available}"
    return None


def why_no_compile(device: torch.device) -> str | None:
    """Why torch.compile cannot run here, None if it can."""
    if device.type == "cuda":
        return why_no_triton()
    if device.type != "cpu":
        return f"torch.compile is not used on {device.type}"
    compiler = _any_command(os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl")
    return None if compiler else "torch.compile needs a C++ compiler"


def _any_command(*names: str) -> bool:
    return any(name and shutil.which(name) for name in names)
