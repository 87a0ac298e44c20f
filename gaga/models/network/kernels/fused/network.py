"""The EGNN on tiles of rows: nodes through torch's matrix products, edges through the fused operations.

Factors of products have the network's precision (bfloat16, or float32 up to the width that fits shared memory);
features, sums over neighbours, distances and coordinates stay in float32.
"""

from contextlib import nullcontext
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from gaga.models.network.kernels.factorised import EdgeWeights, updated_nodes
from gaga.models.network.kernels.fused.ops import Displacement, Heads, Messages, SquaredDistances
from gaga.models.network.kernels.requirements import FUSED_WIDTHS
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import Coordinates, Parameters
from gaga.models.network.tiles import TILE


def why_not(network: Parameters) -> str | None:
    """Why the fused kernels cannot run this network, None if they can."""
    config, widths = network.config, FUSED_WIDTHS[network.precision]
    if config.hidden not in widths:
        known = ", ".join(map(str, widths))
        return f"they take {network.precision} networks of width {known}, and this one has {config.hidden}"
    if not config.attention or config.aggregation != "sum":
        return "they need attention gates and sums over neighbours"
    if network.embedding.weight.dtype != torch.float32:
        return "they take float32 parameters"
    return None


def shared_memory(network: Parameters) -> int:
    """Bytes that a program of an edge kernel takes: W2, a tile of factors, and a little; float32 is kept in halves."""
    width, product = network.config.hidden, network.product_type
    return (width * width + TILE * width) * product.itemsize * (2 if product == torch.float32 else 1) + 1024


def run_fused(
    network: Parameters, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout
) -> Float[Tensor, "A C"]:
    """See EGNN.forward."""
    with torch.cuda.device(z.device) if z.is_cuda else nullcontext():  # Triton launches on the current one
        return _run(network, z, t, layout)


def _run(
    network: Parameters, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout
) -> Float[Tensor, "A C"]:
    config, tiles, product = network.config, layout.tiles, network.product_type
    filler = (0, 0, 0, tiles.rows - len(z))
    x = start = pad(z[:, :3], filler)
    h = network.embedding(pad(network.input_features(z, layout.per_atom(t)), filler))
    d0 = SquaredDistances.apply(x, tiles)
    for k, block in enumerate(network.layers()):
        d = SquaredDistances.apply(x, tiles) if k else d0
        for messages in block.message_layers():
            pq, *edge = _edge_arguments(messages.edge_mlp, h, product)
            total = Messages.apply(pq, d, d0, *edge, *messages.gate(), tiles, torch.is_grad_enabled())
            h = updated_nodes(messages, h, total / config.normalization_factor, product)
        x = x + _displacement(block.coordinates, network, h, x, d, d0, layout)
    velocity = (x - start)[: len(z)]
    out = network.embedding_out(h[: len(z)])[:, : z.shape[1] - 3]
    return layout.centre(torch.cat([velocity, out], dim=1), 3)


def _edge_arguments(mlp: nn.Sequential, h: Float[Tensor, "R F"], product: torch.dtype) -> tuple[Tensor, ...]:
    """[P, Q] / 2 [R, 2 F], W_g, W2, b2 of an edge network."""
    w = EdgeWeights.of(mlp)
    weight, bias = 0.5 * torch.cat([w.w_i, w.w_j]), 0.5 * pad(w.b1, (0, h.shape[1]))
    return linear(h.to(product), weight.to(product), bias.to(product)), w.w_g, w.w2, w.b2


def _displacement(
    coordinates: Coordinates, network: Parameters, h: Tensor, x: Tensor, d: Tensor, d0: Tensor, layout: Layout
) -> Float[Tensor, "R 3"]:
    config = network.config
    pq, *edge = _edge_arguments(coordinates.coord_mlp, h, network.product_type)
    last = cast(nn.Linear, coordinates.coord_mlp[4])
    heads = Heads.apply(pq, d, d0, *edge, last.weight, layout.tiles, torch.is_grad_enabled())
    reach = config.coords_range if config.tanh else None
    scale = 1.0 / config.normalization_factor
    moved: Tensor = Displacement.apply(x, heads, layout.tiles, reach, config.norm_constant, scale)
    return moved
