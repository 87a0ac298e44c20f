"""The code that runs on the device, in Triton: edge networks over tiles of 64 rows, forward and backward.

A program of an edge kernel has one item of work: a few cyclic shifts s of one tile (network.tiles). In shift s row
i meets its neighbour j, and the tile's edges are one block of 64 rows. The first linear layer is factorised,
z1 = P_i + Q_j + d w_d + d0 w_0, and W2 stays in shared memory, so that one product [64, F] x [F, F] is left of an edge
network. Arguments that feed a SiLU come halved: silu(z) = u tanh(u) + u with u = z / 2, one special function each.

Every number is written by one program: nothing is atomic, and results do not depend on the order of programs.

Constants: F features; SHIFTS of an item; GATE whether the head is a gate; KEEP whether z2 is kept for the backward
pass; FAST the approximate tanh, for operands of 16 bits; INTERPRET what the interpreter needs, which cannot multiply
bfloat16. `zero` is 0: an index that the compiler takes to change in the loop keeps it from holding [64, F] of constants
in registers all the time.
"""

from typing import no_type_check  # Triton reads annotations as its own

import triton
import triton.language as tl

TILE = tl.constexpr(64)
ONES = tl.constexpr(16)  # columns of ones that a product sums rows with: the fewest that it takes


@triton.jit
@no_type_check
def tanh(u, FAST: tl.constexpr):
    if FAST:  # is_pure would let the compiler compute it twice to save a register
        return tl.inline_asm_elementwise(
            "tanh.approx.f32 $0, $1;", "=f,f", [u], dtype=tl.float32, is_pure=False, pack=1
        )
    # Near 0 the difference of two numbers near 1 would keep few digits; the series is good to 5e-8 there.
    v = u * u
    series = u * (1.0 + v * (-1.0 / 3.0 + v * (2.0 / 15.0 + v * (-17.0 / 315.0 + v * (62.0 / 2835.0)))))
    return tl.where(v < 0.09, series, 2.0 * tl.sigmoid(2.0 * u) - 1.0)


@triton.jit
@no_type_check
def _product(a, b, INTERPRET: tl.constexpr):
    if INTERPRET:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision="tf32x3")


@triton.jit
@no_type_check
def neighbour(i, start, size, s):
    """Row of the neighbour at shift s; the row itself if there is none."""
    place = i - start + s
    place = place - tl.where(place >= size, size, 0)
    return tl.where(s < size, start + place, i)


@triton.jit
@no_type_check
def _offset(block, F: tl.constexpr):
    """Of a block of 64 rows of F numbers, in 64 bits."""
    return tl.full((), TILE * F, tl.int64) * block


@triton.jit
@no_type_check
def _half_z1(P, Q, i, j, f, stride, d, d0, w_d, w_0):
    p = tl.load(P + i[:, None] * stride + f[None, :]).to(tl.float32)
    q = tl.load(Q + j[:, None] * stride + f[None, :]).to(tl.float32)
    return p + q + d[:, None] * tl.load(w_d + f)[None, :] + d0[:, None] * tl.load(w_0 + f)[None, :]


@triton.jit
@no_type_check
def edge_forward(
    P, Q, D, D0, W2_T, B2, W_D, W_0, HEAD, HEAD_B, SUMS, EDGE, Z2,
    start, size, shifts, first_block, item_tile, item_shift, stride, zero,
    F: tl.constexpr, SHIFTS: tl.constexpr, GATE: tl.constexpr, KEEP: tl.constexpr, FAST: tl.constexpr,
    INTERPRET: tl.constexpr,
):  # fmt: skip
    """Sums of gated messages of an item's shifts [items, 64, F] and gates [slots], or heads [slots].

    P, Q [R, F] with rows of `stride`, W2_T [F, F] (in, out), B2, W_D, W_0 come halved. Z2 [slots, F] gets z2 / 2.
    """
    item = tl.program_id(0)
    tile = tl.load(item_tile + item)
    if tile >= 0:
        r = tl.arange(0, TILE)
        f = tl.arange(0, F)
        i = tile * TILE + r
        a = tl.load(start + i)
        n = tl.load(size + i)
        first = tl.load(item_shift + item)
        last = tl.minimum(first + SHIFTS, tl.load(shifts + tile))
        block = tl.load(first_block + tile)
        w2 = tl.load(W2_T + f[:, None] * F + f[None, :])
        total = tl.zeros([TILE, F], dtype=tl.float32)
        for s in range(first + 1, last + 1):
            g = f + s * zero
            slot = (block + s - 1) * TILE + r
            if KEEP:  # read again: the registers are full
                i = tile * TILE + r + s * zero
                a = tl.load(start + i)
                n = tl.load(size + i)
            j = neighbour(i, a, n, s)
            u = _half_z1(P, Q, i, j, g, stride, tl.load(D + slot), tl.load(D0 + slot), W_D, W_0)
            a1 = (u * tanh(u, FAST) + u).to(P.dtype.element_ty)
            u = _product(a1, w2, INTERPRET) + tl.load(B2 + g)[None, :]
            if KEEP:
                offset = _offset(block + s - 1, F)
                tl.store(Z2 + offset + r[:, None] * F + g[None, :], u.to(Z2.dtype.element_ty))
            m = u * tanh(u, FAST) + u
            head = tl.sum(m * tl.load(HEAD + g)[None, :], axis=1)
            if GATE:
                gate = tl.where(s < n, tl.sigmoid(head + tl.load(HEAD_B)), 0.0)
                tl.store(EDGE + slot, gate)
                total += gate[:, None] * m
            else:
                tl.store(EDGE + slot, tl.where(s < n, head, 0.0))
        if GATE:
            tl.store(SUMS + _offset(item, F) + r[:, None] * F + f[None, :], total)


@triton.jit
@no_type_check
def sum_items(SUMS, OUT, first_item, F: tl.constexpr, COLUMNS: tl.constexpr):
    """OUT [R, F]: the sums of each tile's items, in their order."""
    tile = tl.program_id(0)
    r = tl.arange(0, TILE)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([TILE, COLUMNS], dtype=tl.float32)
    for item in range(tl.load(first_item + tile), tl.load(first_item + tile + 1)):
        total += tl.load(SUMS + _offset(item, F) + r[:, None] * F + c[None, :])
    tl.store(OUT + (tile * TILE + r)[:, None] * F + c[None, :], total)


@triton.jit
@no_type_check
def head_backward(
    Z2, HEAD, EDGE, GRAD, D_EDGE, DHEAD, size, shifts, first_block, item_tile, item_shift,
    F: tl.constexpr, SHIFTS: tl.constexpr, GATE: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """Gradients D_EDGE [slots] of the heads' values, and each item's share DHEAD [items, F] of that of the head.

    If the head is a gate, from GRAD, the gradient of the sums [R, F], and the gates EDGE; else D_EDGE is given.
    """
    item = tl.program_id(0)
    tile = tl.load(item_tile + item)
    r = tl.arange(0, TILE)
    f = tl.arange(0, F)
    total = tl.zeros([TILE, F], dtype=tl.float32)
    if tile >= 0:
        i = tile * TILE + r
        n = tl.load(size + i)
        first = tl.load(item_shift + item)
        last = tl.minimum(first + SHIFTS, tl.load(shifts + tile))
        block = tl.load(first_block + tile)
        for s in range(first + 1, last + 1):
            slot = (block + s - 1) * TILE + r
            offset = _offset(block + s - 1, F)
            u = tl.load(Z2 + offset + r[:, None] * F + f[None, :]).to(tl.float32)
            m = u * tanh(u, FAST) + u
            if GATE:
                gate = tl.load(EDGE + slot)
                grad = tl.load(GRAD + i[:, None] * F + f[None, :]).to(tl.float32)
                d_edge = tl.sum(m * grad, axis=1) * gate * (1.0 - gate)
                tl.store(D_EDGE + slot, d_edge)
            else:
                d_edge = tl.where(s < n, tl.load(D_EDGE + slot), 0.0)
            total += d_edge[:, None] * m
    tl.store(DHEAD + item * F + f, tl.sum(total, axis=0))


@triton.jit
@no_type_check
def edge_backward(
    P, Q, D, D0, W2, W_D, W_0, HEAD, EDGE, D_EDGE, GRAD, Z2, DZ1, DD, DD0,
    start, size, first_block, block_tile, blocks, stride, zero,
    F: tl.constexpr, GATE: tl.constexpr, FAST: tl.constexpr, INTERPRET: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Gradients of the edges of BLOCKS blocks: DZ1 [slots, F], DD, DD0 [slots]; Z2 (z2 / 2) becomes that of z2.

    W2 [F, F] (out, in) comes as it is; P, Q, W_D and W_0 halved; the rest as `head_backward` has it.
    """
    r = tl.arange(0, TILE)
    f = tl.arange(0, F)
    w2 = tl.load(W2 + f[:, None] * F + f[None, :])
    for b in range(tl.program_id(0) * BLOCKS, tl.minimum((tl.program_id(0) + 1) * BLOCKS, blocks)):
        tile = tl.load(block_tile + b)
        if tile >= 0:
            g = f + b * zero
            s = b - tl.load(first_block + tile) + 1
            i = tile * TILE + r
            n = tl.load(size + i)
            slot = b * TILE + r
            here = _offset(b, F) + r[:, None] * F + g[None, :]
            u = tl.load(Z2 + here).to(tl.float32)
            th = tanh(u, FAST)
            d_edge = tl.where(s < n, tl.load(D_EDGE + slot), 0.0)
            dm = d_edge[:, None] * tl.load(HEAD + g)[None, :]
            if GATE:
                grad = tl.load(GRAD + i[:, None] * F + g[None, :]).to(tl.float32)
                dm += tl.load(EDGE + slot)[:, None] * grad
            dz2 = (dm * (0.5 * (1.0 + th) * (1.0 + u * (1.0 - th)))).to(P.dtype.element_ty)
            tl.store(Z2 + here, dz2)
            da1 = _product(dz2, w2, INTERPRET)
            j = neighbour(i, tl.load(start + i), n, s)
            u = _half_z1(P, Q, i, j, g, stride, tl.load(D + slot), tl.load(D0 + slot), W_D, W_0)
            th = tanh(u, FAST)
            dz1 = da1 * (0.5 * (1.0 + th) * (1.0 + u * (1.0 - th)))
            rounded = dz1.to(DZ1.dtype.element_ty)
            tl.store(DZ1 + here, rounded)
            dz1 = rounded.to(tl.float32)
            tl.store(DD + slot, 2.0 * tl.sum(dz1 * tl.load(W_D + g)[None, :], axis=1))
            tl.store(DD0 + slot, 2.0 * tl.sum(dz1 * tl.load(W_0 + g)[None, :], axis=1))


@triton.jit
@no_type_check
def weight_gradient(
    P, Q, D, D0, DZ2, W_D, W_0, DW2, DB2,
    start, size, first_block, block_tile, stride, blocks, zero,
    F: tl.constexpr, HALF: tl.constexpr, FAST: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """DW2 [programs, F, F], DB2 [programs, F]: each program's share of sum_e dz2 a1^T and of sum_e dz2.

    HALF of the columns at a time; a1 is computed again from P, Q and the distances. Program k takes every k-th block.
    """
    r = tl.arange(0, TILE)
    f = tl.arange(0, F)
    c = tl.program_id(1) * HALF + tl.arange(0, HALF)
    total = tl.zeros([F, HALF], dtype=tl.float32)
    sums = tl.zeros([F, ONES], dtype=tl.float32)
    ones = tl.full([TILE, ONES], 1.0, dtype=P.dtype.element_ty)
    for b in range(tl.program_id(0), blocks, tl.num_programs(0)):
        tile = tl.load(block_tile + b)
        if tile >= 0:
            g = c + b * zero
            row = r + b * zero
            i = tile * TILE + row
            slot = b * TILE + row
            s = b - tl.load(first_block + tile) + 1
            j = neighbour(i, tl.load(start + i), tl.load(size + i), s)
            u = _half_z1(P, Q, i, j, g, stride, tl.load(D + slot), tl.load(D0 + slot), W_D, W_0)
            a1 = (u * tanh(u, FAST) + u).to(P.dtype.element_ty)
            dz2 = tl.load(DZ2 + _offset(b, F) + r[None, :] * F + f[:, None])
            total += _product(dz2, a1, INTERPRET)
            sums += _product(dz2, ones, INTERPRET)
    part = DW2 + tl.program_id(0).to(tl.int64) * (F * F)
    tl.store(part + f[:, None] * F + c[None, :], total)
    if tl.program_id(1) == 0:
        tl.store(DB2 + tl.program_id(0) * F + f, tl.sum(sums, axis=1) * (1.0 / ONES))


@triton.jit
@no_type_check
def node_gradients(
    DZ1, D, D0, DP, DQ, DW, start, size, shifts, first_block, stride, F: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Gradients of P and Q [R, F] (halved as they are; rows of `stride`), and each tile's share DW [tiles, 2, F] of
    those of w_d and w_0.

    Row i is the source of its edges (i, s), and the neighbour in their reverses (j, n - s).
    """
    tile = tl.program_id(0)
    r = tl.arange(0, TILE)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    i = tile * TILE + r
    a = tl.load(start + i)
    n = tl.load(size + i)
    block = tl.load(first_block + tile)
    dp = tl.zeros([TILE, COLUMNS], dtype=tl.float32)
    dq = tl.zeros([TILE, COLUMNS], dtype=tl.float32)
    dw = tl.zeros([TILE, COLUMNS], dtype=tl.float32)
    dw0 = tl.zeros([TILE, COLUMNS], dtype=tl.float32)
    for s in range(1, tl.load(shifts + tile) + 1):
        slot = (block + s - 1) * TILE + r
        there = s < n
        out = tl.load(DZ1 + slot.to(tl.int64)[:, None] * F + c[None, :], mask=there[:, None], other=0.0).to(tl.float32)
        dp += out
        dw += out * tl.load(D + slot, mask=there, other=0.0)[:, None]
        dw0 += out * tl.load(D0 + slot, mask=there, other=0.0)[:, None]
        j = neighbour(i, a, n, s)
        back = reverse(first_block, j, n, s)
        dq += tl.load(DZ1 + back.to(tl.int64)[:, None] * F + c[None, :], mask=there[:, None], other=0.0).to(tl.float32)
    tl.store(DP + i[:, None] * stride + c[None, :], (2.0 * dp).to(DP.dtype.element_ty))
    tl.store(DQ + i[:, None] * stride + c[None, :], (2.0 * dq).to(DQ.dtype.element_ty))
    tl.store(DW + (tile * 2) * F + c, tl.sum(dw, axis=0))
    tl.store(DW + (tile * 2 + 1) * F + c, tl.sum(dw0, axis=0))


@triton.jit
@no_type_check
def reverse(first_block, j, n, s):
    """Slot of the edge from the neighbour j at shift s back to the row; only if s < n."""
    shift = tl.where(s < n, n - s, 1)
    return (tl.load(first_block + j // TILE) + shift - 1) * TILE + j % TILE
