"""The EGNN on tiles of rows: nodes through torch's matrix products, edges through the fused operations.

Operands of products have the network's precision (bfloat16, or float32 up to the width that fits shared memory);
features, sums over neighbours, distances and coordinates stay in float32.
"""

from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from gaga.models.network.kernels import FUSED_WIDTHS
from gaga.models.network.kernels.bucketed import rounded_linear
from gaga.models.network.kernels.fused.ops import Displacement, Heads, Messages, SquaredDistances
from gaga.models.network.layout import Layout
from gaga.models.network.tiles import TILE

if TYPE_CHECKING:
    from gaga.models.network.egnn import EGNN, Coordinates
    from gaga.models.network.egnn import Messages as MessageLayer

_WIDTHS = {torch.bfloat16: FUSED_WIDTHS["bfloat16"], torch.float32: FUSED_WIDTHS["float32"]}  # wider ones spill


def why_not(network: "EGNN") -> str | None:
    """Why the fused kernels cannot run this network, None where they can."""
    config, dtype = network.config, _product_type(network)
    if config.hidden not in _WIDTHS[dtype]:
        widths = ", ".join(map(str, _WIDTHS[dtype]))
        return f"they take {network.precision} networks of width {widths}, and this one has {config.hidden}"
    if not config.attention or config.aggregation != "sum":
        return "they need attention gates and sums over neighbours"
    if network.embedding.weight.dtype != torch.float32:
        return "they take float32 parameters"
    return None


def shared_memory(network: "EGNN") -> int:
    """Bytes that a program of an edge kernel takes: W2, a tile of operands, and a little; float32 is kept in halves."""
    width, dtype = network.config.hidden, _product_type(network)
    return (width * width + TILE * width) * dtype.itemsize * (2 if dtype == torch.float32 else 1) + 1024


def run_fused(network: "EGNN", z: Float[Tensor, "A C"], t: Float[Tensor, " M"], layout: Layout) -> Float[Tensor, "A C"]:
    """See EGNN.forward."""
    with torch.cuda.device(z.device) if z.is_cuda else nullcontext():  # Triton launches on the current one
        return _run(network, z, t, layout)


def _run(network: "EGNN", z: Float[Tensor, "A C"], t: Float[Tensor, " M"], layout: Layout) -> Float[Tensor, "A C"]:
    from gaga.models.network.egnn import input_features

    config, tiles, dtype = network.config, layout.tiles, _product_type(network)
    features = input_features(network, z, layout.per_atom(t))
    filler = (0, 0, 0, tiles.rows - len(z))
    x = start = pad(z[:, :3], filler)
    h = network.embedding(pad(features, filler))
    d0 = SquaredDistances.apply(x, tiles)
    for k, block in enumerate(network.layers()):
        d = SquaredDistances.apply(x, tiles) if k else d0
        for messages in block.message_layers():
            pq, *edge = _edge_arguments(messages.edge_mlp, h, dtype)
            total = Messages.apply(pq, d, d0, *edge, *messages.gate(), tiles, torch.is_grad_enabled())
            h = _update(messages, h, total / config.normalization_factor, dtype)
        x = x + _displacement(block.coordinates, network, h, x, d, d0, layout)
    velocity = (x - start)[: len(z)]
    out = network.embedding_out(h[: len(z)])[:, : z.shape[1] - 3]
    return layout.centre(torch.cat([velocity, out], dim=1), 3)


def _product_type(network: "EGNN") -> torch.dtype:
    return torch.bfloat16 if network.precision == "bfloat16" else torch.float32


def _edge_arguments(mlp: nn.Sequential, h: Float[Tensor, "R F"], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """[P, Q] / 2 [R, 2 F], W_g, W2, b2 of an edge network."""
    first, second = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[2])
    width = h.shape[1]
    w_i, w_j, w_g = torch.split(first.weight, [width, width, 2], dim=1)
    weight = 0.5 * torch.cat([w_i, w_j])
    bias = 0.5 * pad(first.bias, (0, width))
    pq = torch.nn.functional.linear(h.to(dtype), weight.to(dtype), bias.to(dtype))
    return pq, w_g, second.weight, second.bias


def _update(messages: "MessageLayer", h: Tensor, total: Tensor, dtype: torch.dtype) -> Float[Tensor, "R F"]:
    first, second = cast(nn.Linear, messages.node_mlp[0]), cast(nn.Linear, messages.node_mlp[2])
    inside = silu(rounded_linear(torch.cat([h, total], dim=1), first.weight, first.bias, dtype))
    return h + rounded_linear(inside, second.weight, second.bias, dtype)


def _displacement(
    coordinates: "Coordinates", network: "EGNN", h: Tensor, x: Tensor, d: Tensor, d0: Tensor, layout: Layout
) -> Float[Tensor, "R 3"]:
    config = network.config
    pq, *edge = _edge_arguments(coordinates.coord_mlp, h, _product_type(network))
    last = cast(nn.Linear, coordinates.coord_mlp[4])
    heads = Heads.apply(pq, d, d0, *edge, last.weight, layout.tiles, torch.is_grad_enabled())
    reach = config.coords_range if config.tanh else None
    scale = 1.0 / config.normalization_factor
    moved: Tensor = Displacement.apply(x, heads, layout.tiles, reach, config.norm_constant, scale)
    return moved
