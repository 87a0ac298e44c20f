"""Distances and displacements over tiles of rows on the device, in Triton and float32, forward and backward.

Rows, neighbours and slots as in `device`; a program has a tile, or a block of 64 edges if nothing is summed.
"""

from typing import no_type_check  # Triton reads annotations as its own

import triton
import triton.language as tl

from gaga.models.network.kernels.fused.device import TILE, neighbour, reverse, tanh

UNROLL = tl.constexpr(4)  # shifts at a time where a row's loop waits for memory


@triton.jit
@no_type_check
def _difference(X, i, j):
    x = tl.load(X + i * 3) - tl.load(X + j * 3)
    y = tl.load(X + i * 3 + 1) - tl.load(X + j * 3 + 1)
    z = tl.load(X + i * 3 + 2) - tl.load(X + j * 3 + 2)
    return x, y, z


@triton.jit
@no_type_check
def distances(X, D, start, size, first_block, block_tile):
    """D [slots]: squared distances of the edges of a block; 0 in slots without an edge."""
    b = tl.program_id(0)
    tile = tl.load(block_tile + b)
    if tile >= 0:
        r = tl.arange(0, TILE)
        i = tile * TILE + r
        j = neighbour(i, tl.load(start + i), tl.load(size + i), b - tl.load(first_block + tile) + 1)
        x, y, z = _difference(X, i, j)
        tl.store(D + b * TILE + r, x * x + y * y + z * z)


@triton.jit
@no_type_check
def distances_backward(X, DD, DX, start, size, shifts, first_block):
    """DX [R, 3] from the gradient of the squared distances [slots]."""
    tile = tl.program_id(0)
    r = tl.arange(0, TILE)
    i = tile * TILE + r
    a = tl.load(start + i)
    n = tl.load(size + i)
    block = tl.load(first_block + tile)
    gx = tl.zeros([TILE], dtype=tl.float32)
    gy = tl.zeros([TILE], dtype=tl.float32)
    gz = tl.zeros([TILE], dtype=tl.float32)
    for s in tl.range(1, tl.load(shifts + tile) + 1, loop_unroll_factor=UNROLL):
        there = s < n
        j = neighbour(i, a, n, s)
        x, y, z = _difference(X, i, j)
        w = tl.load(DD + (block + s - 1) * TILE + r, mask=there, other=0.0)
        w = 2.0 * (w + tl.load(DD + reverse(first_block, j, n, s), mask=there, other=0.0))
        gx += w * x
        gy += w * y
        gz += w * z
    tl.store(DX + i * 3, gx)
    tl.store(DX + i * 3 + 1, gy)
    tl.store(DX + i * 3 + 2, gz)


@triton.jit
@no_type_check
def _length(phi, reach, TANH: tl.constexpr):
    """Length of a displacement and its derivative."""
    if TANH:
        th = tanh(phi, False)
        return th * reach, (1.0 - th * th) * reach
    return phi, phi * 0.0 + 1.0


@triton.jit
@no_type_check
def displacement(X, PHI, OUT, start, size, shifts, first_block, reach, norm_constant, scale, TANH: tl.constexpr):
    """OUT [R, 3] = scale * sum_j (x_i - x_j) / (|x_i - x_j| + c) length(phi_ij) (EDM, appendix B)."""
    tile = tl.program_id(0)
    r = tl.arange(0, TILE)
    i = tile * TILE + r
    a = tl.load(start + i)
    n = tl.load(size + i)
    block = tl.load(first_block + tile)
    ox = tl.zeros([TILE], dtype=tl.float32)
    oy = tl.zeros([TILE], dtype=tl.float32)
    oz = tl.zeros([TILE], dtype=tl.float32)
    for s in tl.range(1, tl.load(shifts + tile) + 1, loop_unroll_factor=UNROLL):
        x, y, z = _difference(X, i, neighbour(i, a, n, s))
        phi = tl.load(PHI + (block + s - 1) * TILE + r, mask=s < n, other=0.0)
        w = _length(phi, reach, TANH)[0] / (tl.sqrt(x * x + y * y + z * z + 1e-8) + norm_constant)
        ox += w * x
        oy += w * y
        oz += w * z
    tl.store(OUT + i * 3, ox * scale)
    tl.store(OUT + i * 3 + 1, oy * scale)
    tl.store(OUT + i * 3 + 2, oz * scale)


@triton.jit
@no_type_check
def heads_gradient(
    X, PHI, GRAD, DPHI, start, size, first_block, block_tile, reach, norm_constant, scale, TANH: tl.constexpr
):  # fmt: skip
    """DPHI [slots] of a block from the gradient of the displacement [R, 3]; 0 in slots without an edge."""
    b = tl.program_id(0)
    tile = tl.load(block_tile + b)
    if tile >= 0:
        r = tl.arange(0, TILE)
        i = tile * TILE + r
        n = tl.load(size + i)
        s = b - tl.load(first_block + tile) + 1
        x, y, z = _difference(X, i, neighbour(i, tl.load(start + i), n, s))
        slope = _length(tl.load(PHI + b * TILE + r), reach, TANH)[1] * scale
        along = tl.load(GRAD + i * 3) * x + tl.load(GRAD + i * 3 + 1) * y + tl.load(GRAD + i * 3 + 2) * z
        found = slope * along / (tl.sqrt(x * x + y * y + z * z + 1e-8) + norm_constant)
        tl.store(DPHI + b * TILE + r, tl.where(s < n, found, 0.0))


@triton.jit
@no_type_check
def displacement_backward(
    X, PHI, GRAD, DX, start, size, shifts, first_block, reach, norm_constant, scale, TANH: tl.constexpr
):  # fmt: skip
    """DX [R, 3] from the gradient of the displacement [R, 3].

    With v = x_i - x_j, e = sqrt(v^2 + 1e-8), k = e + c and w = length * gradient of i, an edge gives i the gradient
    w / k - (w v) v / (k^2 e), and j its negative.
    """
    tile = tl.program_id(0)
    r = tl.arange(0, TILE)
    i = tile * TILE + r
    a = tl.load(start + i)
    n = tl.load(size + i)
    block = tl.load(first_block + tile)
    px = tl.load(GRAD + i * 3) * scale
    py = tl.load(GRAD + i * 3 + 1) * scale
    pz = tl.load(GRAD + i * 3 + 2) * scale
    gx = tl.zeros([TILE], dtype=tl.float32)
    gy = tl.zeros([TILE], dtype=tl.float32)
    gz = tl.zeros([TILE], dtype=tl.float32)
    for s in tl.range(1, tl.load(shifts + tile) + 1, loop_unroll_factor=UNROLL):
        there = s < n
        j = neighbour(i, a, n, s)
        x, y, z = _difference(X, i, j)
        e = tl.sqrt(x * x + y * y + z * z + 1e-8)
        k = e + norm_constant
        slot = (block + s - 1) * TILE + r
        length = _length(tl.load(PHI + slot, mask=there, other=0.0), reach, TANH)[0]
        back = _length(tl.load(PHI + reverse(first_block, j, n, s), mask=there, other=0.0), reach, TANH)[0]
        # The reverse edge gives this row the negative of its gradient, and its difference is -v.
        wx = length * px - back * tl.load(GRAD + j * 3) * scale
        wy = length * py - back * tl.load(GRAD + j * 3 + 1) * scale
        wz = length * pz - back * tl.load(GRAD + j * 3 + 2) * scale
        along = tl.where(there, (wx * x + wy * y + wz * z) / (k * k * e), 0.0)
        gx += tl.where(there, wx / k, 0.0) - along * x
        gy += tl.where(there, wy / k, 0.0) - along * y
        gz += tl.where(there, wz / k, 0.0) - along * z
    tl.store(DX + i * 3, gx)
    tl.store(DX + i * 3 + 1, gy)
    tl.store(DX + i * 3 + 2, gz)
