"""Edge networks and geometry over tiles of rows as differentiable operations: what the device code is called through.

Rows are those of all tiles, R = 64 K; numbers of edges stand in slots [S] (network.tiles), and slots of blocks that
are filler hold nothing that is read. Their plain twin is gaga.models.network.kernels.flat.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaga.models.network.kernels.fused import device, geometry
from gaga.models.network.kernels.requirements import interpreted
from gaga.models.network.tiles import SHIFTS, TILE, Tiles

INTERPRET = interpreted()
_BLOCKS = 6  # of a program of edge_backward: W2 is read once for all of them
_PROGRAMS = 66  # of weight_gradient, for each half: one for each multiprocessor of an H100, each with its own sum


@dataclass(frozen=True)
class Launch:
    """How the edge kernels of a width are compiled."""

    features: int
    fast: bool
    hopper: bool

    @classmethod
    def of(cls, p: Tensor) -> "Launch":
        """For operands of this type and width, on their device."""
        hopper = p.is_cuda and torch.cuda.get_device_capability(p.device)[0] == 9
        return cls(p.shape[1], p.dtype in (torch.bfloat16, torch.float16) and not INTERPRET, hopper)

    @property
    def warps(self) -> int:
        """Warps of a program that holds [64, F] numbers twice."""
        return 8 if self.features >= 128 else 4

    @property
    def warps_backward(self) -> int:
        """Warps of edge_backward, which waits for memory most: on Hopper twice as many save a sixth of its time.

        For sm_100 the compiler makes no tensor core instructions for that many.
        """
        return 16 if self.hopper and self.features >= 256 else self.warps

    def constants(self, *, interpret: bool = True) -> dict[str, Any]:
        """Constants that all edge kernels take."""
        return {"F": self.features, "FAST": self.fast} | ({"INTERPRET": INTERPRET} if interpret else {})


@dataclass(frozen=True, eq=False)
class EdgeInputs:
    """What an edge network takes: P and Q, halved, as views [R, F] of one tensor's rows; distances; halved weights."""

    p: Tensor
    q: Tensor
    d: Tensor
    d0: Tensor
    w_d: Tensor
    w_0: Tensor

    @classmethod
    def of(cls, pq: Float[Tensor, "R two_F"], d: Tensor, d0: Tensor, wg: Float[Tensor, "F 2"]) -> "EdgeInputs":
        """From the projections of the nodes [P, Q] / 2 and the weights of (d, d0)."""
        width = pq.shape[1] // 2
        w_d, w_0 = (0.5 * wg.T).contiguous()
        return cls(pq[:, :width], pq[:, width:], d, d0, w_d, w_0)

    @property
    def stride(self) -> int:
        """From row to row of P and Q."""
        return self.p.stride(0)


class Messages(torch.autograd.Function):
    """sum_j e_ij m_ij [R, F] with the gate e_ij = sigmoid(w m_ij + b); `keep` what a gradient needs, or nothing."""

    @staticmethod
    def forward(
        ctx: Any, pq: Tensor, d: Tensor, d0: Tensor, wg: Tensor, w2: Tensor, b2: Tensor, head: Tensor, bias: Tensor,
        tiles: Tiles, keep: bool,
    ) -> Float[Tensor, "R F"]:  # fmt: skip
        inputs = EdgeInputs.of(pq, d, d0, wg)
        sums, gates, z2 = _forward(inputs, w2, b2, head[0], bias, tiles, gate=True, keep=keep)
        if keep:
            ctx.save_for_backward(pq, d, d0, wg, w2, head, gates, z2)
            ctx.tiles = tiles
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "R F"]) -> tuple[Tensor | None, ...]:
        pq, d, d0, wg, w2, head, gates, z2 = _spend(ctx)
        inputs = EdgeInputs.of(pq, d, d0, wg)
        grad = grad.to(pq.dtype).contiguous()
        d_edge = torch.empty_like(gates)
        d_head = _head_backward(z2, head[0], gates, grad, d_edge, ctx.tiles, gate=True)
        found = _backward(inputs, w2, head[0], gates, d_edge, grad, z2, ctx.tiles, gate=True)
        return *found, d_head, _sum_of_edges(d_edge, ctx.tiles)[None], None, None


class Heads(torch.autograd.Function):
    """w m_ij of every edge [S]; 0 in the slots of a block that are no edges."""

    @staticmethod
    def forward(
        ctx: Any, pq: Tensor, d: Tensor, d0: Tensor, wg: Tensor, w2: Tensor, b2: Tensor, head: Tensor, tiles: Tiles,
        keep: bool,
    ) -> Float[Tensor, " S"]:  # fmt: skip
        inputs = EdgeInputs.of(pq, d, d0, wg)
        _, heads, z2 = _forward(inputs, w2, b2, head[0], None, tiles, gate=False, keep=keep)
        if keep:
            ctx.save_for_backward(pq, d, d0, wg, w2, head, z2)
            ctx.tiles = tiles
        return heads

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, " S"]) -> tuple[Tensor | None, ...]:
        pq, d, d0, wg, w2, head, z2 = _spend(ctx)
        inputs = EdgeInputs.of(pq, d, d0, wg)
        grad = grad.contiguous()
        d_head = _head_backward(z2, head[0], None, None, grad, ctx.tiles, gate=False)
        return *_backward(inputs, w2, head[0], None, grad, None, z2, ctx.tiles, gate=False), d_head, None, None


class SquaredDistances(torch.autograd.Function):
    """|x_i - x_j|^2 of every edge [S]."""

    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "R 3"], tiles: Tiles) -> Float[Tensor, " S"]:
        x = x.contiguous()
        d = x.new_empty(tiles.slots)
        geometry.distances[(tiles.blocks,)](
            x, d, tiles.start, tiles.size, tiles.first_block, tiles.block_tile, num_warps=2
        )
        ctx.save_for_backward(x)
        ctx.tiles = tiles
        return d

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, " S"]) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        geometry.distances_backward[(len(ctx.tiles.shifts),)](x, grad.contiguous(), dx, *_rows(ctx.tiles), num_warps=2)
        return dx, None


class Displacement(torch.autograd.Function):
    """sum_j (x_i - x_j) / (|x_i - x_j| + c) length(phi_ij), times a scale; see `geometry.displacement`."""

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "R 3"], phi: Float[Tensor, " S"], tiles: Tiles, reach: float | None, c: float,
        scale: float,
    ) -> Float[Tensor, "R 3"]:  # fmt: skip
        x = x.contiguous()
        out = torch.empty_like(x)
        ctx.settings = (reach or 1.0, c, scale)
        ctx.tanh, ctx.tiles = reach is not None, tiles
        geometry.displacement[(len(tiles.shifts),)](
            x, phi, out, *_rows(tiles), *ctx.settings, TANH=ctx.tanh, num_warps=2
        )
        ctx.save_for_backward(x, phi)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "R 3"]) -> tuple[Tensor | None, ...]:
        x, phi = ctx.saved_tensors
        dx, dphi, grad, tiles = torch.empty_like(x), torch.empty_like(phi), grad.contiguous(), ctx.tiles
        geometry.displacement_backward[(len(tiles.shifts),)](
            x, phi, grad, dx, *_rows(tiles), *ctx.settings, TANH=ctx.tanh, num_warps=2
        )
        geometry.heads_gradient[(tiles.blocks,)](
            x, phi, grad, dphi, tiles.start, tiles.size, tiles.first_block, tiles.block_tile, *ctx.settings,
            TANH=ctx.tanh, num_warps=2,
        )  # fmt: skip
        return dx, dphi, None, None, None, None


def _spend(ctx: Any) -> tuple[Tensor, ...]:
    """What was saved; once, as the backward pass writes over it."""
    if getattr(ctx, "spent", False):
        raise RuntimeError(
            "the fused kernels differentiate a graph once; use the kernel torch to differentiate it again"
        )
    ctx.spent = True
    saved: tuple[Tensor, ...] = ctx.saved_tensors
    return saved


def _rows(tiles: Tiles) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return tiles.start, tiles.size, tiles.shifts, tiles.first_block


def _forward(
    inputs: EdgeInputs, w2: Tensor, b2: Tensor, head: Tensor, bias: Tensor | None, tiles: Tiles, *, gate: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Sums [R, F] (empty without a gate), numbers of the edges [S], and z2 / 2 [S, F] (empty if not kept)."""
    launch, dtype = Launch.of(inputs.p), inputs.p.dtype
    width, items = launch.features, len(tiles.item_tile)
    edge = head.new_empty(tiles.slots)
    parts = head.new_empty((items * TILE if gate else 1, width))
    z2 = inputs.p.new_empty((tiles.slots if keep else 1, width))
    device.edge_forward[(items,)](
        inputs.p, inputs.q, inputs.d, inputs.d0, (0.5 * w2.T).to(dtype).contiguous(), 0.5 * b2, inputs.w_d, inputs.w_0,
        head.contiguous(), head if bias is None else bias, parts, edge, z2, *_rows(tiles), tiles.item_tile,
        tiles.item_shift, inputs.stride, 0, SHIFTS=SHIFTS, GATE=gate, KEEP=keep, **launch.constants(),
        num_warps=launch.warps, num_stages=1,
    )  # fmt: skip
    if not gate:
        return parts, edge, z2
    sums = head.new_empty((tiles.rows, width))
    columns = min(width, 64)
    device.sum_items[(len(tiles.shifts), width // columns)](parts, sums, tiles.first_item, F=width, COLUMNS=columns)
    return sums, edge, z2


def _head_backward(
    z2: Tensor, head: Tensor, gates: Tensor | None, grad: Tensor | None, d_edge: Tensor, tiles: Tiles, *, gate: bool
) -> Float[Tensor, "1 F"]:
    """Gradient of the head; fills `d_edge` with that of its argument if it is a gate."""
    launch, items = Launch.of(z2), len(tiles.item_tile)
    parts = head.new_empty((items, launch.features))
    device.head_backward[(items,)](
        z2, head.contiguous(), d_edge if gates is None else gates, z2 if grad is None else grad, d_edge, parts,
        tiles.size, tiles.shifts, tiles.first_block, tiles.item_tile, tiles.item_shift, SHIFTS=SHIFTS, GATE=gate,
        **launch.constants(interpret=False), num_warps=launch.warps, num_stages=1,
    )  # fmt: skip
    return parts.sum(dim=0, keepdim=True)


def _backward(
    inputs: EdgeInputs, w2: Tensor, head: Tensor, gates: Tensor | None, d_edge: Tensor, grad: Tensor | None, z2: Tensor,
    tiles: Tiles, *, gate: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of pq, d, d0, wg, w2 and b2; z2 becomes that of z2."""
    launch, dtype = Launch.of(inputs.p), inputs.p.dtype
    width, programs = launch.features, -(-tiles.blocks // _BLOCKS)
    dz1, dd, dd0 = torch.empty_like(z2), torch.empty_like(inputs.d), torch.empty_like(inputs.d)
    device.edge_backward[(programs,)](
        inputs.p, inputs.q, inputs.d, inputs.d0, w2.to(dtype).contiguous(), inputs.w_d, inputs.w_0, head.contiguous(),
        d_edge if gates is None else gates, d_edge, z2 if grad is None else grad, z2, dz1, dd, dd0, tiles.start,
        tiles.size, tiles.first_block, tiles.block_tile, tiles.blocks, inputs.stride, 0, GATE=gate, BLOCKS=_BLOCKS,
        **launch.constants(), num_warps=launch.warps_backward, num_stages=1,
    )  # fmt: skip
    dw2, db2 = _weight_gradient(inputs, z2, tiles, launch)
    dpq = torch.empty((tiles.rows, 2 * width), dtype=dtype, device=z2.device)
    parts = head.new_empty((len(tiles.shifts), 2, width))
    columns = min(width, 64)
    device.node_gradients[(len(tiles.shifts), width // columns)](
        dz1, inputs.d, inputs.d0, dpq, dpq[:, width:], parts, *_rows(tiles), 2 * width, F=width, COLUMNS=columns
    )
    return dpq, dd, dd0, parts.sum(dim=0).T, dw2, db2


def _weight_gradient(inputs: EdgeInputs, dz2: Tensor, tiles: Tiles, launch: Launch) -> tuple[Tensor, Tensor]:
    width = launch.features
    programs = max(1, min(_PROGRAMS, tiles.blocks))
    half = max(width // 2, 16)
    dw2 = inputs.d.new_empty((programs, width, width))
    db2 = inputs.d.new_empty((programs, width))
    device.weight_gradient[(programs, width // half)](
        inputs.p, inputs.q, inputs.d, inputs.d0, dz2, inputs.w_d, inputs.w_0, dw2, db2, tiles.start, tiles.size,
        tiles.first_block, tiles.block_tile, inputs.stride, tiles.blocks, 0, HALF=half, **launch.constants(),
        num_warps=launch.warps, num_stages=1,
    )  # fmt: skip
    return dw2.sum(dim=0), db2.sum(dim=0)


def _sum_of_edges(values: Float[Tensor, " S"], tiles: Tiles) -> Float[Tensor, ""]:
    """Sum over the slots of real blocks; slots without an edge hold 0."""
    there = (tiles.block_tile >= 0)[:, None]
    return torch.where(there, values.view(-1, TILE), 0.0).sum()
