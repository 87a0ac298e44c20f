"""The EGNN on molecules of equal size: exact edges, and no product for each edge that can be done once for each atom.

The first linear layer of an edge network is factorised (`kernels.factorised`). Groups are small enough for a core's
cache, and run side by side on as many threads as torch has (`kernels.threaded_groups`).
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gaga.models.network.kernels.edges import lengths, neighbours, sum_of_messages
from gaga.models.network.kernels.factorised import EdgeWeights, normalised, rounded_linear, updated_nodes
from gaga.models.network.kernels.threaded_groups import run_in_threads
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import Coordinates, Parameters

EdgeArguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def run_bucketed(
    network: Parameters, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout
) -> Float[Tensor, "A C"]:
    """See EGNN.forward."""
    return run_in_threads(_dense, network, z, t, layout)


def _dense(network: Parameters, z: Float[Tensor, "b n C"], t: Float[Tensor, "b *k"]) -> Float[Tensor, "b n C"]:
    """The network on b molecules of n atoms."""
    config, product, n_atoms = network.config, network.product_type, z.shape[1]
    x = start = z[..., :3]
    h = network.embedding(network.input_features(z, t[:, None].expand(*z.shape[:2], *t.shape[1:])))
    d0 = _geometry(x, config.norm_constant)[0]
    for block in network.layers():
        d, direction = _geometry(x, config.norm_constant)
        geometry = torch.stack([d, d0], dim=-1).reshape(-1, 2)
        for messages in block.message_layers():
            total = torch.zeros_like(h)
            if n_atoms > 1:
                gate_w, gate_b = messages.gate()
                edges = _edge_arguments(messages.edge_mlp, h, geometry, product)
                total = sum_of_messages(*edges, gate_w, gate_b, product)
            h = updated_nodes(messages, h, normalised(total, config, n_atoms), product)
        if n_atoms > 1:
            x = x + _displacement(block.coordinates, network, h, geometry, direction)
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
    w = EdgeWeights.of(mlp)
    p, q = rounded_linear(h, w.w_i, w.b1, product), rounded_linear(h, w.w_j, None, product)
    return p, q, geometry, w.w_g, w.w2, w.b2


def _displacement(
    coordinates: Coordinates,
    network: Parameters,
    h: Float[Tensor, "b n F"],
    geometry: Float[Tensor, "E 2"],
    direction: Float[Tensor, "b n shifts 3"],
) -> Float[Tensor, "b n 3"]:
    config, product = network.config, network.product_type
    last = cast(nn.Linear, coordinates.coord_mlp[4])
    length = lengths(*_edge_arguments(coordinates.coord_mlp, h, geometry, product), last.weight, product)
    if config.tanh:
        length = torch.tanh(length) * config.coords_range
    return normalised((length.view(direction.shape[:3])[..., None] * direction).sum(dim=2), config, h.shape[1])
