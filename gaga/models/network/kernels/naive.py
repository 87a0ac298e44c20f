"""The EGNN as the papers write it: padded to the largest molecule, every edge materialised. Oracle and baseline."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gaga.models.network.layout import Layout
from gaga.models.network.parameters import Coordinates, EGNNConfig, Messages, Parameters


def run_naive(
    network: Parameters, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout
) -> Float[Tensor, "A C"]:
    """See EGNN.forward."""
    config = network.config
    rows, mask, where = _padding(layout, z)
    x = z.new_zeros((rows.numel(), 3)).index_copy_(0, where, z[:, :3])
    h = z.new_zeros((rows.numel(), network.embedding.in_features))
    h = h.index_copy_(0, where, network.input_features(z, layout.per_atom(t)))
    row, col, edge_mask = _edges(mask)
    d0, start = _distances(x, row, col, config.norm_constant)[0], x
    h = network.embedding(h)
    for block in network.layers():
        d, direction = _distances(x, row, col, config.norm_constant)
        edge = torch.cat([d, d0], dim=1)
        for messages in block.message_layers():
            h = _update_nodes(messages, config, h, edge, row, col, edge_mask)
        x = _update_positions(block.coordinates, config, h, x, edge, direction, row, col, edge_mask)
        h = h * mask.reshape(-1, 1)
    h = network.embedding_out(h)[:, : z.shape[1] - 3]
    return layout.centre(torch.cat([x - start, h], dim=1)[where], 3)


def _padding(layout: Layout, z: Tensor) -> tuple[Tensor, Float[Tensor, "M N"], Int64[Tensor, " A"]]:
    widest = layout.pad_to or int(layout.n_atoms.max())
    rows = torch.arange(len(layout) * widest, device=z.device).reshape(len(layout), widest)
    real = torch.arange(widest, device=z.device) < layout.sizes[:, None]
    return rows, real.to(z.dtype), rows[real]


def _edges(mask: Float[Tensor, "M N"]) -> tuple[Tensor, Tensor, Float[Tensor, "E 1"]]:
    molecules, n = mask.shape
    first = torch.arange(molecules, device=mask.device)[:, None, None] * n
    node = torch.arange(n, device=mask.device)
    row = (first + node[:, None]).expand(-1, -1, n).reshape(-1)
    col = (first + node[None, :]).expand(-1, n, -1).reshape(-1)
    flat = mask.reshape(-1)
    return row, col, (flat[row] * flat[col] * (row != col))[:, None]


def _distances(x: Tensor, row: Tensor, col: Tensor, norm_constant: float) -> tuple[Tensor, Tensor]:
    difference = x[row] - x[col]
    d = difference.square().sum(dim=1, keepdim=True)
    return d, difference / (torch.sqrt(d + 1e-8) + norm_constant)


def _aggregate(values: Tensor, row: Tensor, nodes: int, config: EGNNConfig, edge_mask: Tensor) -> Tensor:
    total = values.new_zeros((nodes, values.shape[1])).index_add_(0, row, values)
    if config.aggregation == "sum":
        return total / config.normalization_factor
    others = values.new_zeros((nodes, 1)).index_add_(0, row, edge_mask)
    return total / (others + 1.0)


def _update_nodes(
    messages: Messages,
    config: EGNNConfig,
    h: Tensor,
    edge: Tensor,
    row: Tensor,
    col: Tensor,
    edge_mask: Tensor,
) -> Tensor:
    m = messages.edge_mlp(torch.cat([h[row], h[col], edge], dim=1))
    if messages.att_mlp is not None:
        m = m * messages.att_mlp(m)
    total = _aggregate(m * edge_mask, row, len(h), config, edge_mask)
    update: Tensor = messages.node_mlp(torch.cat([h, total], dim=1))
    return h + update


def _update_positions(
    coordinates: Coordinates,
    config: EGNNConfig,
    h: Tensor,
    x: Tensor,
    edge: Tensor,
    direction: Tensor,
    row: Tensor,
    col: Tensor,
    edge_mask: Tensor,
) -> Tensor:
    length = coordinates.coord_mlp(torch.cat([h[row], h[col], edge], dim=1))
    if config.tanh:
        length = torch.tanh(length) * config.coords_range
    return x + _aggregate(direction * length * edge_mask, row, len(x), config, edge_mask)
