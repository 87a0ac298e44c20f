"""The parameters of EDM's equivariant graph network (Satorras et al. 2021, arXiv 2102.09844; Hoogeboom et al. 2022).

For nodes i, j of a fully connected molecule, d_ij = |x_i - x_j|^2 and d0_ij the same of the input:

    m_ij = silu(W2 silu(W1 [h_i, h_j, d_ij, d0_ij] + b1) + b2)                 edge messages
    h_i <- h_i + phi_h([h_i, sum_j sigmoid(w m_ij + b) m_ij / norm])           node update
    x_i <- x_i + sum_j (x_i - x_j) / (|x_i - x_j| + c) tanh(phi_x(...)) r / norm    coordinate update

(appendix B of Hoogeboom et al.). Kernels (`network.kernels`) compute with these parameters; `network.egnn` calls them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gaga.core.errors import InvalidInput

Aggregation = Literal["sum", "mean"]


@dataclass(frozen=True, kw_only=True)
class EGNNConfig:
    """Shape of the network. The defaults are EDM's; `coords_range` is what each layer gets (EDM's is 15).

    `context` is the number of columns that a condition adds to each atom's features (Hoogeboom et al. 2022, section 4).
    """

    features: int
    hidden: int = 256
    n_layers: int = 9
    inv_sublayers: int = 1
    attention: bool = True
    tanh: bool = True
    norm_constant: float = 1.0
    coords_range: float = 15.0
    normalization_factor: float = 1.0
    aggregation: Aggregation = "sum"
    condition_time: bool = True
    context: int = 0

    def __post_init__(self) -> None:
        for name in ("features", "hidden", "n_layers", "inv_sublayers"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"the network's {name} must be at least 1", received=getattr(self, name))
        if self.context < 0:
            raise InvalidInput("the network's context must be at least 0", received=self.context)
        if self.aggregation not in ("sum", "mean"):
            raise InvalidInput("aggregation is sum or mean", received=self.aggregation)
        for name in ("norm_constant", "coords_range", "normalization_factor"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidInput(f"the network's {name} is a number from 0 on", received=getattr(self, name))


class Messages(nn.Module):
    """phi_e, its attention gate and phi_h of one message layer."""

    def __init__(self, hidden: int, attention: bool) -> None:
        super().__init__()
        self.edge_mlp = nn.Sequential(
            nn.Linear(2 * hidden + 2, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.att_mlp = nn.Sequential(nn.Linear(hidden, 1), nn.Sigmoid()) if attention else None
        self.node_mlp = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def gate(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Weight [1, F] and bias [1] of the attention gate, None if there is none."""
        if self.att_mlp is None:
            return None, None
        linear = cast(nn.Linear, self.att_mlp[0])
        return linear.weight, linear.bias


class Coordinates(nn.Module):
    """phi_x of one coordinate update; its last layer starts near zero so that x hardly moves at first."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1, bias=False)
        nn.init.xavier_uniform_(last.weight, gain=0.001)
        self.coord_mlp = nn.Sequential(
            nn.Linear(2 * hidden + 2, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last
        )


class Block(nn.Module):
    """`inv_sublayers` message layers, then one coordinate update."""

    def __init__(self, config: EGNNConfig) -> None:
        super().__init__()
        self.messages = nn.ModuleList(Messages(config.hidden, config.attention) for _ in range(config.inv_sublayers))
        self.coordinates = Coordinates(config.hidden)

    def message_layers(self) -> Iterator[Messages]:
        """The message layers, in order."""
        return (cast(Messages, layer) for layer in self.messages)


class Parameters(nn.Module):
    """All parameters of a network, and what a kernel must know to use them.

    Args:
        config: the shape of the network.
        precision: of the factors of matrix products, float32 (the parameters' own type) or bfloat16.
    """

    def __init__(self, config: EGNNConfig, precision: str = "float32") -> None:
        super().__init__()
        self.config, self.precision = config, precision
        width = config.features + int(config.condition_time) + config.context
        self.embedding = nn.Linear(width, config.hidden)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.embedding_out = nn.Linear(config.hidden, width)

    def layers(self) -> Iterator[Block]:
        """The blocks, in order."""
        return (cast(Block, block) for block in self.blocks)

    @property
    def product_type(self) -> torch.dtype:
        """Type of the factors of matrix products."""
        return torch.bfloat16 if self.precision == "bfloat16" else self.embedding.weight.dtype

    @property
    def n_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(p.numel() for p in self.parameters())

    def input_features(self, z: Float[Tensor, "*s C"], t: Float[Tensor, "..."]) -> Float[Tensor, "*s W"]:
        """The features h of each atom, its time if the network is conditioned on time, and its context if it has one.

        `t` is the time of each atom [*s]; with a context the time and the K columns of the context, [*s, 1 + K].
        """
        given = t if self.config.context else t[..., None]
        given = given if self.config.condition_time else given[..., 1:]
        return torch.cat([z[..., 3:], given], dim=-1)


def fits(config: EGNNConfig, weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the parameters of such a network. Allocates nothing: the sizes in a file may be hostile."""
    if config.n_layers * (config.inv_sublayers + 1) > len(weights):
        return False
    try:
        with torch.device("meta"):
            wanted = Parameters(config).state_dict()
    except (RuntimeError, OverflowError, TypeError, ValueError):  # sizes beyond any machine's
        return False
    return {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in weights.items()}
