"""Normal numbers keyed by (seed, molecule, step) in one pass: gaga.models.device_rng.normals if Triton runs.

Philox-4x32-10 (Salmon et al. 2011) and Box-Muller in float64; the plain form is about a hundred small kernels a step.
"""

from typing import no_type_check  # Triton reads annotations as its own

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int64
from torch import Tensor

_SIZE = 512
_SIGN = 2**31


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def draw(OUT, MOLECULE, PLACE, STREAM, k0, k1, count, COLUMNS: tl.constexpr, SIZE: tl.constexpr):
    """OUT [count] of the rows' COLUMNS numbers; the halves of the seed come as signed 32-bit numbers."""
    o = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    here = o < count
    row = o // COLUMNS
    key = tl.load(MOLECULE + row, mask=here, other=0)
    element = tl.load(PLACE + row, mask=here, other=0) * COLUMNS + o % COLUMNS
    low = tl.full((), 0xFFFFFFFF, tl.int64)
    c0 = (element >> 2).to(tl.uint32)
    c1 = tl.zeros([SIZE], tl.uint32) + (tl.load(STREAM) & low).to(tl.uint32)
    c2 = (key & low).to(tl.uint32)
    c3 = ((key >> 32) & low).to(tl.uint32)
    a = tl.zeros([SIZE], tl.uint32) + k0.to(tl.uint32)
    b = tl.zeros([SIZE], tl.uint32) + k1.to(tl.uint32)
    for _ in tl.static_range(10):
        p0 = c0.to(tl.uint64) * tl.full((), 0xD2511F53, tl.uint64)
        p1 = c2.to(tl.uint64) * tl.full((), 0xCD9E8D57, tl.uint64)
        c0, c1, c2, c3 = (
            (p1 >> 32).to(tl.uint32) ^ c1 ^ a,
            p1.to(tl.uint32),
            (p0 >> 32).to(tl.uint32) ^ c3 ^ b,
            p0.to(tl.uint32),
        )
        a += tl.full((), 0x9E3779B9, tl.uint32)
        b += tl.full((), 0xBB67AE85, tl.uint32)
    second = (element & 2) > 0
    u = (tl.where(second, c2, c0).to(tl.float64) + 0.5) * (1.0 / 4294967296.0)
    angle = tl.where(second, c3, c1).to(tl.float64) * (6.283185307179586 / 4294967296.0)
    wave = tl.where((element & 1) > 0, tl.sin(angle), tl.cos(angle))
    tl.store(OUT + o, tl.sqrt(-2.0 * tl.log(u)) * wave, mask=here)


def normals(
    seed: int, molecules: Int64[Tensor, " A"], place: Int64[Tensor, " A"], columns: int, stream: Int64[Tensor, ""]
) -> Float[Tensor, "A columns"]:
    """See gaga.models.device_rng.normals."""
    out = torch.empty((len(place), columns), dtype=torch.float64, device=place.device)
    grid = (triton.cdiv(out.numel(), _SIZE),)
    draw[grid](
        out, molecules.contiguous(), place.contiguous(), stream, _signed(seed), _signed(seed >> 32), out.numel(),
        COLUMNS=columns, SIZE=_SIZE,
    )  # fmt: skip
    return out


def _signed(word: int) -> int:
    """The 32-bit number with these bits."""
    return ((word & 0xFFFFFFFF) ^ _SIGN) - _SIGN
