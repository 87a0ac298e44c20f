"""The numbers of `gaga.core.rng` on any device of torch's: the same words, the same normals but for rounding.

Philox-4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011) in int64: a product of two 32-bit words wraps around and
keeps its 64 bits, and a shift with a mask has the upper ones whatever the sign.
"""

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF
_ROUNDS = 10

# Four 32-bit words, or tensors of them.
Words = tuple[Int64[Tensor, "..."], Int64[Tensor, "..."], Int64[Tensor, "..."], Int64[Tensor, "..."]]


def philox(counter: Words, seed: int) -> Words:
    """Philox-4x32-10 of counters, whose words need only broadcast, under a 64-bit seed; words are in int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & _LOW, seed >> 32
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = _high(p1) ^ c1 ^ k0, p1 & _LOW, _high(p0) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def _high(product: Tensor) -> Tensor:
    return (product >> 32) & _LOW


def normals(
    seed: int, molecules: Int64[Tensor, " m"], streams: Int64[Tensor, " S"], count: int
) -> Float64[Tensor, "S m {count}"]:
    """The first `count` standard normal numbers of each molecule in each stream.

    Element e of a molecule depends on (seed, molecule key, stream, e) alone; Box-Muller, two from two words.
    """
    blocks = torch.arange(-(-count // 4), device=molecules.device)
    keys = molecules[:, None]
    counter = (blocks, (streams & _LOW)[:, None, None], keys & _LOW, keys >> 32)
    words = philox(counter, seed)
    waves = [wave for pair in (words[:2], words[2:]) for wave in _box_muller(*pair)]
    return torch.stack(waves, dim=-1).flatten(2)[..., :count]


def _box_muller(radius_word: Tensor, angle_word: Tensor) -> tuple[Tensor, Tensor]:
    radius = ((radius_word.double() + 0.5) / 2.0**32).log().mul(-2.0).sqrt()
    angle = angle_word.double() * (2.0 * math.pi / 2.0**32)
    return radius * angle.cos(), radius * angle.sin()
