"""Molecules of equal size together: exact sizes, no padding, first edge layer factorised into node projections.

W1 [h_i, h_j, d, d0] = P_i + Q_j + d w_d + d0 w_0 with P = W_i h + b, Q = W_j h: one [F, F] product for each edge
is left of the three that the papers' formulation does.
"""

from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from gaga.models.layout import Layout

if TYPE_CHECKING:
    from gaga.models.egnn import EGNN, Coordinates, EGNNConfig, Messages


def run_bucketed(
    network: "EGNN", z: Float[Tensor, "A C"], t: Float[Tensor, " M"], layout: Layout
) -> Float[Tensor, "A C"]:
    """See EGNN.forward."""
    if len(layout.groups) == 1:
        return _dense(network, z[layout.groups[0][0]], t).reshape(z.shape)
    outputs = [_dense(network, z[atoms], t[members]).reshape(-1, z.shape[1]) for atoms, members in layout.groups]
    order = torch.cat([atoms.reshape(-1) for atoms, _ in layout.groups])
    return torch.empty_like(z).index_copy(0, order, torch.cat(outputs))


def _dense(network: "EGNN", z: Float[Tensor, "b n C"], t: Float[Tensor, " b"]) -> Float[Tensor, "b n C"]:
    from gaga.models.egnn import input_features

    config = network.config
    x = start = z[..., :3]
    h = network.embedding(input_features(network, z, t[:, None].expand(z.shape[:2])))
    off_diagonal = 1.0 - torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    d0 = _geometry(x, config.norm_constant)[0]
    for block in network.layers():
        d, direction = _geometry(x, config.norm_constant)
        edge = torch.stack([d, d0], dim=-1)
        for messages in block.message_layers():
            h = _update_nodes(messages, config, h, edge, off_diagonal)
        x = x + _displacement(block.coordinates, config, h, edge, direction, off_diagonal)
    velocity = x - start
    velocity = velocity - velocity.mean(dim=1, keepdim=True)
    return torch.cat([velocity, network.embedding_out(h)[..., : z.shape[2] - 3]], dim=-1)


def _geometry(x: Float[Tensor, "b n 3"], norm_constant: float) -> tuple[Tensor, Tensor]:
    """Squared distances [b, n, n] and (x_i - x_j) / (|x_i - x_j| + c) [b, n, n, 3]."""
    difference = x[:, :, None] - x[:, None]
    d = difference.square().sum(dim=-1)
    return d, difference / (torch.sqrt(d + 1e-8) + norm_constant)[..., None]


def _hidden_edges(mlp: nn.Sequential, h: Float[Tensor, "b n F"], edge: Float[Tensor, "b n n 2"]) -> Tensor:
    """The two hidden layers of an edge network, [b n n, F]."""
    first, second = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[2])
    width = h.shape[-1]
    p = linear(h, first.weight[:, :width], first.bias)
    q = linear(h, first.weight[:, width : 2 * width])
    z1 = (p[:, :, None] + q[:, None]).reshape(-1, width)
    with torch.autocast(z1.device.type, enabled=False):  # distances stay in float32 under mixed precision
        z1 = torch.addmm(z1.to(edge.dtype), edge.reshape(-1, 2), first.weight[:, 2 * width :].T)
    return silu(linear(silu(z1), second.weight, second.bias))


def _update_nodes(
    messages: "Messages", config: "EGNNConfig", h: Tensor, edge: Tensor, off_diagonal: Float[Tensor, "n n"]
) -> Tensor:
    b, n, width = h.shape
    m = _hidden_edges(messages.edge_mlp, h, edge)
    weight = off_diagonal.expand(b, n, n)
    if messages.att_mlp is not None:
        weight = messages.att_mlp(m).reshape(b, n, n) * off_diagonal
    total = torch.bmm(weight.reshape(b * n, 1, n), m.reshape(b * n, n, width)).reshape(b, n, width)
    update: Tensor = messages.node_mlp(torch.cat([h, _normalise(total, config)], dim=-1))
    return h + update


def _displacement(
    coordinates: "Coordinates",
    config: "EGNNConfig",
    h: Tensor,
    edge: Tensor,
    direction: Tensor,
    off_diagonal: Tensor,
) -> Float[Tensor, "b n 3"]:
    b, n, _ = h.shape
    last = cast(nn.Linear, coordinates.coord_mlp[4])
    length = last(_hidden_edges(coordinates.coord_mlp, h, edge)).reshape(b, n, n)
    if config.tanh:
        length = torch.tanh(length) * config.coords_range
    length = (length.to(direction.dtype) * off_diagonal)[..., None]
    return _normalise((length * direction).sum(dim=2), config)


def _normalise(total: Tensor, config: "EGNNConfig") -> Tensor:
    """`sum` divides by a constant, `mean` by the number of atoms (EDM's, where nothing is padded)."""
    return total / (config.normalization_factor if config.aggregation == "sum" else total.shape[1])
