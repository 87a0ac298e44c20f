"""What all kernels but the naive one share: the first layer of an edge network is factorised over the two atoms.

W1 [h_i, h_j, d, d0] + b1 = P_i + Q_j + W_g [d, d0] with P = W_i h + b1 and Q = W_j h: P and Q are one product for each
atom, and one [F, F] product for each edge (W2) is left of the three that the papers' formulation takes.
"""

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from gaga.models.network.parameters import EGNNConfig, Messages


class EdgeWeights(NamedTuple):
    """The weights of an edge network: of the atoms i and j and of the distances (d, d0), then the second layer."""

    w_i: Float[Tensor, "F F"]
    w_j: Float[Tensor, "F F"]
    b1: Float[Tensor, " F"]
    w_g: Float[Tensor, "F 2"]
    w2: Float[Tensor, "F F"]
    b2: Float[Tensor, " F"]

    @classmethod
    def of(cls, mlp: nn.Sequential) -> "EdgeWeights":
        """Those of a message or coordinate network."""
        first, second = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[2])
        width = second.in_features
        w_i, w_j, w_g = torch.split(first.weight, [width, width, 2], dim=1)
        return cls(w_i, w_j, first.bias, w_g, second.weight, second.bias)


def rounded_linear(
    x: Float[Tensor, "*s I"], weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None, product: torch.dtype
) -> Float[Tensor, "*s O"]:
    """x W^T + b with the factors rounded to `product`; the result has the type of x."""
    if product == x.dtype:
        return linear(x, weight, bias)
    y = linear(x.to(product), weight.to(product)).to(x.dtype)
    return y if bias is None else y + bias


def normalised(total: Tensor, config: EGNNConfig, n_atoms: Tensor | int) -> Tensor:
    """A sum over neighbours, divided by a constant (`sum`) or by the number of atoms (`mean`, as in EDM's code)."""
    return total / (config.normalization_factor if config.aggregation == "sum" else n_atoms)


def updated_nodes(
    messages: Messages, h: Float[Tensor, "*s F"], total: Float[Tensor, "*s F"], product: torch.dtype
) -> Float[Tensor, "*s F"]:
    """h + phi_h([h, total]), `total` the normalised sum of messages."""
    first, second = cast(nn.Linear, messages.node_mlp[0]), cast(nn.Linear, messages.node_mlp[2])
    inside = silu(rounded_linear(torch.cat([h, total], dim=-1), first.weight, first.bias, product))
    return h + rounded_linear(inside, second.weight, second.bias, product)
