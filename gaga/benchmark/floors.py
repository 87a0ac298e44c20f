"""What the device can do at best: a large matrix product measured in the same run, beside the data sheet's figure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gaga.benchmark.timing import seconds_of
from gaga.models.network.kernels.products import TITLES, fast_products, fixed, usable

# Dense bfloat16 FLOP/s with float32 sums, from NVIDIA's data sheets; the first name that occurs in the device's counts.
DATASHEET = (
    ("B200", 2250e12),
    ("H200", 989e12),
    ("GH200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("A6000", 155e12),
    ("A10", 125e12),
    ("RTX 5090", 210e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
)
_CUDA_SIDE, _CPU_SIDES = 8192, (512, 2048)
_LONGEST = 0.5  # s of one product on the CPU: where bfloat16 is emulated a small one must do
_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The fastest that matrix products run here.

    Attributes:
        precision: of the rows that are held against it.
        flops: FLOP/s, the best of a few tries.
        how: what was measured.
        datasheet: the vendor's figure for bfloat16 in FLOP/s, where it is known.
    """

    precision: str
    flops: float
    how: str
    datasheet: float | None


def measure_floors(device: torch.device, precisions: tuple[str, ...]) -> tuple[Floor, ...]:
    """The floor of each precision; on CUDA bfloat16's for all of them, since that is what the device can do.

    On a CPU the floor of float32 is that of the faster library (gaga.models.network.kernels.products).

    Measured, not read off a data sheet: no clock or power limit lets a real product reach that one.
    """
    if device.type == "cuda":
        flops, how = _rate(device, torch.bfloat16, _CUDA_SIDE)
        sheet = datasheet_flops(torch.cuda.get_device_name(device))
        return tuple(Floor(precision=p, flops=flops, how=how, datasheet=sheet) for p in precisions)
    measured = {p: max(_by_each_library(device, getattr(torch, p))) for p in precisions}
    return tuple(Floor(precision=p, flops=flops, how=how, datasheet=None) for p, (flops, how) in measured.items())


def fastest(measured: Sequence[tuple[Floor, ...]]) -> tuple[Floor, ...]:
    """Of several measurements in a run, the fastest in each precision: what other programs took is not the device's."""
    return tuple(max(same, key=lambda floor: floor.flops) for same in zip(*measured, strict=True))


def datasheet_flops(name: str) -> float | None:
    """The data sheet's figure for a device of this name."""
    return next((flops for known, flops in DATASHEET if known.lower() in name.lower()), None)


def _by_each_library(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[float, str]]:
    """The rate by each library of float32 products; in bfloat16 torch has one."""
    for library in usable() if dtype == torch.float32 else (None,):
        with fixed(library), fast_products(device):
            rate, how = _fastest(device, dtype)
        yield rate, f"{how}, by {TITLES[library]}" if library else how


def _fastest(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """The rate at the largest side whose product does not take long."""
    rate, how = _rate(device, dtype, _CPU_SIDES[0])
    for side in _CPU_SIDES[1:]:
        if 2 * side**3 / rate > _LONGEST:
            break
        rate, how = max((rate, how), _rate(device, dtype, side))
    return rate, how


def _rate(device: torch.device, dtype: torch.dtype, side: int) -> tuple[float, str]:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    out = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, b, out=out)

    repeats = 10 if device.type == "cuda" else 1
    seconds_of(product, device, repeats)  # the first products set libraries up
    seconds = min(seconds_of(product, device, repeats) for _ in range(_TRIES))
    name = str(dtype).removeprefix("torch.")
    return 2 * side**3 / seconds, f"{name} matrix product, {side} x {side} x {side}, best of {_TRIES}"
