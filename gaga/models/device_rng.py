"""The random numbers of gaga.core.rng, drawn on the device: the same words, keyed by (seed, molecule, step).

Nothing here waits for the device, and the stream may be a tensor, so that a CUDA graph can count steps.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gaga.core.torch_rng import philox

_LOW = 0xFFFFFFFF


def normals(
    seed: int, molecules: Int64[Tensor, " A"], place: Int64[Tensor, " A"], columns: int, stream: int | Int64[Tensor, ""]
) -> Float[Tensor, "A columns"]:
    """Standard normal numbers in float64, those of gaga.core.rng.normals.

    Args:
        seed: seed of the run.
        molecules: key of each row's molecule.
        place: number of each row within its molecule.
        columns: numbers for each row.
        stream: what they are drawn for, a number or a tensor of no dimensions on the device.
    """
    if place.is_cuda and (draw := _in_one_pass()) is not None:
        exact = stream if isinstance(stream, Tensor) else torch.full((), stream, device=place.device)
        with torch.cuda.device(place.device):
            return draw(seed, molecules, place, columns, exact)
    element = place[:, None] * columns + torch.arange(columns, device=place.device)
    key = molecules[:, None]
    words = philox((element >> 2, torch.zeros_like(key) + stream, key & _LOW, key >> 32), seed)
    second = (element & 2) > 0
    radius = torch.sqrt(-2.0 * torch.log((torch.where(second, words[2], words[0]).double() + 0.5) / 2.0**32))
    angle = torch.where(second, words[3], words[1]).double() * (2.0 * math.pi / 2.0**32)
    return radius * torch.where((element & 1) > 0, torch.sin(angle), torch.cos(angle))


@cache
def _in_one_pass() -> Callable[..., Tensor] | None:
    """The fused form, if Triton can launch kernels."""
    from gaga.models.network.kernels.requirements import why_no_triton

    if why_no_triton() is not None:
        return None
    from gaga.models.network.kernels.fused.noise import normals as fused

    return fused


def uniforms(seed: int, molecules: Int64[Tensor, " M"], stream: int | Int64[Tensor, ""]) -> Float[Tensor, " M"]:
    """One uniform number in (0, 1) for each molecule key, in float64, those of gaga.core.rng.uniforms."""
    zero = torch.zeros_like(molecules)
    words = philox((zero, zero + stream, molecules & _LOW, molecules >> 32), seed)
    return (words[0].double() + 0.5) / 2.0**32


def exact_device(device: torch.device) -> torch.device:
    """The device that computes float64 for tensors on this device: itself, or the CPU for Apple's devices."""
    return torch.device("cpu") if device.type == "mps" else device
