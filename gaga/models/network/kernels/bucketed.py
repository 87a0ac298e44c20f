"""Molecules of equal size together: exact sizes, exact edges, no padding, first edge layer factorised into nodes.

W1 [h_i, h_j, d, d0] = P_i + Q_j + d w_d + d0 w_0 with P = W_i h + b, Q = W_j h: one [F, F] product for each edge
is left of the three that the papers' formulation does. Groups are small enough for a core's cache, and run side by
side on as many threads as torch has (gaga.models.network.kernels.lanes).
"""

from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from gaga.models.network.kernels.edges import lengths, neighbours, sum_of_messages
from gaga.models.network.kernels.lanes import run_in_lanes
from gaga.models.network.layout import Layout

if TYPE_CHECKING:
    from gaga.models.network.egnn import EGNN, Coordinates, EGNNConfig, Messages

EdgeArguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def run_bucketed(
    network: "EGNN", z: Float[Tensor, "A C"], t: Float[Tensor, " M"], layout: Layout
) -> Float[Tensor, "A C"]:
    """See EGNN.forward."""
    return run_in_lanes(_dense, network, z, t, layout)


def _dense(network: "EGNN", z: Float[Tensor, "b n C"], t: Float[Tensor, " b"]) -> Float[Tensor, "b n C"]:
    """The network on b molecules of n atoms."""
    from gaga.models.network.egnn import input_features

    config = network.config
    product = torch.bfloat16 if network.precision == "bfloat16" else z.dtype
    x = start = z[..., :3]
    h = network.embedding(input_features(network, z, t[:, None].expand(z.shape[:2])))
    d0 = _geometry(x, config.norm_constant)[0]
    for block in network.layers():
        d, direction = _geometry(x, config.norm_constant)
        geometry = torch.stack([d, d0], dim=-1).reshape(-1, 2)
        for messages in block.message_layers():
            h = _update_nodes(messages, config, h, geometry, product)
        x = x + _displacement(block.coordinates, config, h, geometry, direction, product)
    velocity = x - start
    velocity = velocity - velocity.mean(dim=1, keepdim=True)
    return torch.cat([velocity, network.embedding_out(h)[..., : z.shape[2] - 3]], dim=-1)


def _geometry(x: Float[Tensor, "b n 3"], norm_constant: float) -> tuple[Tensor, Tensor]:
    """Squared distances [b, n, n - 1] and (x_i - x_j) / (|x_i - x_j| + c) [b, n, n - 1, 3]."""
    difference = x[:, :, None] - neighbours(x)
    d = difference.square().sum(dim=-1)
    return d, difference / (torch.sqrt(d + 1e-8) + norm_constant)[..., None]


def _edge_arguments(
    mlp: nn.Sequential, h: Float[Tensor, "b n F"], geometry: Float[Tensor, "E 2"], product: torch.dtype
) -> EdgeArguments:
    """P, Q, geometry, W_g, W2, b2 of an edge network."""
    first, second = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[2])
    width = h.shape[-1]
    w_i, w_j, w_g = torch.split(first.weight, [width, width, 2], dim=1)
    p, q = rounded_linear(h, w_i, first.bias, product), rounded_linear(h, w_j, None, product)
    return p, q, geometry, w_g, second.weight, second.bias


def rounded_linear(
    x: Float[Tensor, "*s I"], weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None, product: torch.dtype
) -> Float[Tensor, "*s O"]:
    """x W^T + b with the factors rounded to `product`; the result has the type of x."""
    if product == x.dtype:
        return linear(x, weight, bias)
    y = linear(x.to(product), weight.to(product)).to(x.dtype)
    return y if bias is None else y + bias


def _update_nodes(
    messages: "Messages", config: "EGNNConfig", h: Float[Tensor, "b n F"], geometry: Tensor, product: torch.dtype
) -> Float[Tensor, "b n F"]:
    if h.shape[1] == 1:
        total = torch.zeros_like(h)
    else:
        edges = _edge_arguments(messages.edge_mlp, h, geometry, product)
        gate_w, gate_b = messages.gate()
        total = sum_of_messages(*edges, gate_w, gate_b, product)
    first, second = cast(nn.Linear, messages.node_mlp[0]), cast(nn.Linear, messages.node_mlp[2])
    inside = rounded_linear(torch.cat([h, _normalise(total, config)], dim=-1), first.weight, first.bias, product)
    return h + rounded_linear(torch.nn.functional.silu(inside), second.weight, second.bias, product)


def _displacement(
    coordinates: "Coordinates",
    config: "EGNNConfig",
    h: Float[Tensor, "b n F"],
    geometry: Tensor,
    direction: Float[Tensor, "b n shifts 3"],
    product: torch.dtype,
) -> Float[Tensor, "b n 3"]:
    if h.shape[1] == 1:
        return h.new_zeros((h.shape[0], 1, 3))
    last = cast(nn.Linear, coordinates.coord_mlp[4])
    length = lengths(*_edge_arguments(coordinates.coord_mlp, h, geometry, product), last.weight, product)
    if config.tanh:
        length = torch.tanh(length) * config.coords_range
    return _normalise((length.view(direction.shape[:3])[..., None] * direction).sum(dim=2), config)


def _normalise(total: Tensor, config: "EGNNConfig") -> Tensor:
    """`sum` divides by a constant, `mean` by the number of atoms (EDM's, where nothing is padded)."""
    return total / (config.normalization_factor if config.aggregation == "sum" else total.shape[1])
