"""All edges of a batch at once, in the slots of its tiles: plain torch, shapes that a batch of a capacity shares.

What is elementwise or a product over edges is one region for an edge network, which `compile` gives to torch.compile;
what goes from rows to edges and back stays outside, by hand: nothing is added atomically, so that the same batch
gives the same numbers. The twin of the fused kernels, and what CUDA falls back to if they cannot run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast, no_type_check

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, pad, silu

from gaga.models.network.kernels.factorised import EdgeWeights, normalised, updated_nodes
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import Parameters
from gaga.models.network.tiles import TILE, Tiles

Region = Callable[..., Tensor]
_COMPILATIONS = 128


def run_flat(
    network: Parameters, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout
) -> Float[Tensor, "A C"]:
    """See EGNN.forward."""
    return _run(network, z, t, layout, messages_of_edges, heads_of_edges)


def run_compiled(
    network: Parameters, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout
) -> Float[Tensor, "A C"]:
    """See EGNN.forward; the regions of `run_flat` compiled. The first passes take a minute or more."""
    return _run(network, z, t, layout, *_compiled_regions())


@cache
def _compiled_regions() -> tuple[Region, Region]:
    # One for each width, precision, and way of asking for gradients; past the limit torch would continue uncompiled.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _COMPILATIONS)
    return torch.compile(messages_of_edges, dynamic=True), torch.compile(heads_of_edges, dynamic=True)


@dataclass(frozen=True, eq=False)
class EdgeIndex:
    """The edges of S slots.

    Attributes:
        tile: tile of each block; there: whether a slot is an edge, [S].
        row, column: rows i and j, i itself if the slot is no edge. reverse: slot of the edge from j to i.
        lengths: blocks of each tile, and behind them those that are filler, [K + 1].
    """

    tile: Int64[Tensor, " blocks"]
    there: Bool[Tensor, " S"]
    row: Int64[Tensor, " S"]
    column: Int64[Tensor, " S"]
    reverse: Int64[Tensor, " S"]
    lengths: Int64[Tensor, " K_plus_1"]

    @classmethod
    def of(cls, tiles: Tiles) -> "EdgeIndex":
        """From tiles, on their device, without waiting for it."""
        real = tiles.block_tile >= 0
        tile = tiles.block_tile.clamp(min=0).long()
        block = torch.arange(tiles.blocks, device=tile.device)
        shift = (block - tiles.first_block[tile] + 1)[:, None]
        row = tile[:, None] * TILE + torch.arange(TILE, device=tile.device)
        start, size = tiles.start[row].long(), tiles.size[row].long()
        there = real[:, None] & (shift < size)
        column = torch.where(there, start + (row - start + shift) % size, row)
        back = tiles.first_block[column // TILE].long() + torch.where(there, size - shift, 1) - 1
        reverse = torch.where(there, back * TILE + column % TILE, 0)
        filler = tiles.blocks - tiles.shifts.sum(dtype=torch.int64)
        lengths = torch.cat([tiles.shifts.long(), filler[None]])
        return cls(tile, there.view(-1), row.view(-1), column.view(-1), reverse.view(-1), lengths)

    def sum(self, values: Float[Tensor, "S F"]) -> Float[Tensor, "R F"]:
        """Sum over the edges of each row."""
        blocks = values.reshape(len(self.tile), TILE * values.shape[1])
        sums = torch.segment_reduce(blocks, "sum", lengths=self.lengths, unsafe=True)[:-1]
        return sums.reshape(-1, values.shape[1])

    def spread(self, values: Float[Tensor, "R F"]) -> Float[Tensor, "S F"]:
        """Each row's values at its edges."""
        return values.reshape(-1, TILE * values.shape[1])[self.tile].view(-1, values.shape[1])


class PairSum(torch.autograd.Function):
    """p_i + q_j at every edge, [S, F]."""

    @staticmethod
    def forward(ctx: Any, p: Float[Tensor, "R F"], q: Float[Tensor, "R F"], index: EdgeIndex) -> Float[Tensor, "S F"]:
        ctx.index = index
        return index.spread(p) + q[index.column]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "S F"]) -> tuple[Tensor, Tensor, None]:
        there = ctx.index.there[:, None]
        exact = torch.promote_types(grad.dtype, torch.float32)  # what sums are kept in
        dp = ctx.index.sum((grad * there).to(exact))
        dq = ctx.index.sum((grad[ctx.index.reverse] * there).to(exact))
        return dp.to(grad.dtype), dq.to(grad.dtype), None


class RowSum(torch.autograd.Function):
    """Sum over the edges of each row, [R, F]."""

    @staticmethod
    def forward(ctx: Any, values: Float[Tensor, "S F"], index: EdgeIndex) -> Float[Tensor, "R F"]:
        ctx.index = index
        return index.sum(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "R F"]) -> tuple[Tensor, None]:
        return ctx.index.spread(grad), None


@no_type_check  # here and below: torch.compile cannot trace checks of types
def messages_of_edges(
    pair: Float[Tensor, "S F"],
    geometry: Float[Tensor, "S 2"],
    there: Bool[Tensor, " S"],
    wg: Float[Tensor, "F 2"],
    w2: Float[Tensor, "F F"],
    b2: Float[Tensor, " F"],
    gate_w: Float[Tensor, "1 F"] | None,
    gate_b: Float[Tensor, "1"] | None,
) -> Float[Tensor, "S F"]:
    """Gated messages e_ij m_ij; 0 in slots without an edge."""
    m = _hidden(pair, geometry, wg, w2, b2)
    if gate_w is not None and gate_b is not None:
        m = m * torch.sigmoid((m * gate_w).sum(dim=1, keepdim=True) + gate_b)
    return m * there[:, None]


@no_type_check
def heads_of_edges(
    pair: Float[Tensor, "S F"],
    geometry: Float[Tensor, "S 2"],
    there: Bool[Tensor, " S"],
    wg: Float[Tensor, "F 2"],
    w2: Float[Tensor, "F F"],
    b2: Float[Tensor, " F"],
    head: Float[Tensor, "1 F"],
) -> Float[Tensor, " S"]:
    """w m_ij; 0 in slots without an edge."""
    return (_hidden(pair, geometry, wg, w2, b2) * head).sum(dim=1) * there


@no_type_check
def _hidden(pair: Tensor, geometry: Tensor, wg: Tensor, w2: Tensor, b2: Tensor) -> Float[Tensor, "S F"]:
    z1 = pair.to(geometry.dtype) + geometry[:, :1] * wg[:, 0] + geometry[:, 1:] * wg[:, 1]
    z2 = linear(silu(z1).to(pair.dtype), w2.to(pair.dtype)).to(geometry.dtype) + b2
    return silu(z2)


def _run(
    network: Parameters, z: Tensor, t: Tensor, layout: Layout, message_region: Region, head_region: Region
) -> Float[Tensor, "A C"]:
    config, index, product = network.config, EdgeIndex.of(layout.tiles), network.product_type
    filler = (0, 0, 0, layout.tiles.rows - len(z))
    x = start = pad(z[:, :3], filler)
    h = network.embedding(pad(network.input_features(z, layout.per_atom(t)), filler))
    n_atoms = layout.tiles.size.to(z.dtype)[:, None]
    d0 = None
    for block in network.layers():
        difference: Tensor = PairSum.apply(x, -x, index)
        d = difference.square().sum(dim=1)
        d0 = d if d0 is None else d0
        geometry = torch.stack([d, d0], dim=1)
        for messages in block.message_layers():
            edges = _edge_arguments(messages.edge_mlp, h, geometry, index, product)
            total: Tensor = RowSum.apply(message_region(*edges, *messages.gate()), index)
            h = updated_nodes(messages, h, normalised(total, config, n_atoms), product)
        edges = _edge_arguments(block.coordinates.coord_mlp, h, geometry, index, product)
        lengths = head_region(*edges, cast(nn.Linear, block.coordinates.coord_mlp[4]).weight)
        if config.tanh:
            lengths = torch.tanh(lengths) * config.coords_range
        weight = lengths / (torch.sqrt(d + 1e-8) + config.norm_constant)
        x = x + normalised(RowSum.apply(weight[:, None] * difference, index), config, n_atoms)
    out = network.embedding_out(h[: len(z)])[:, : z.shape[1] - 3]
    return layout.centre(torch.cat([(x - start)[: len(z)], out], dim=1), 3)


def _edge_arguments(
    mlp: nn.Sequential, h: Tensor, geometry: Tensor, index: EdgeIndex, product: torch.dtype
) -> tuple[Tensor, ...]:
    """P_i + Q_j [S, F], geometry, which slots are edges, W_g, W2, b2 of an edge network."""
    w, h = EdgeWeights.of(mlp), h.to(product)
    p, q = linear(h, w.w_i.to(product), w.b1.to(product)), linear(h, w.w_j.to(product))
    return PairSum.apply(p, q, index), geometry, index.there, w.w_g, w.w2, w.b2
