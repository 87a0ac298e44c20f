"""Settings of glibc's memory allocator: memory that a training step frees is kept for the next one.

By default glibc gives tensors of some megabytes back to the system when they are freed, and each step pays for their
pages again. Environment variables would have to be set before the process starts; mallopt does it from within.
"""

import ctypes
import os
import sys
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # numbers of malloc.h
_SETTINGS = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 256 << 20}
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD")
_RECORDED = ("LD_PRELOAD", "GLIBC_TUNABLES", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
KEPT, DEFAULT = "glibc, freed memory kept", "the system's defaults"


def keep_freed_memory() -> str:
    """Set the allocator if it is glibc's and the user has not; returns what is set, empty if nothing is."""
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return ""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return ""
    return KEPT if all(mallopt(name, value) for name, value in _SETTINGS.items()) else ""


def allocator_settings(environment: Mapping[str, str]) -> str:
    """What the environment sets of the allocator."""
    names = [name for name in environment if name in _RECORDED or name.startswith("MALLOC_")]
    return ", ".join(f"{name}={environment[name]}" for name in sorted(names)) or DEFAULT
