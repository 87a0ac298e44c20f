"""EDM's equivariant graph network (Satorras et al. 2021, arXiv 2102.09844; Hoogeboom et al. 2022, appendix B).

For nodes i, j of a fully connected molecule, d_ij = |x_i - x_j|^2 and d0_ij the same of the input:

    m_ij = silu(W2 silu(W1 [h_i, h_j, d_ij, d0_ij] + b1) + b2)                 edge messages
    h_i <- h_i + phi_h([h_i, sum_j sigmoid(w m_ij + b) m_ij / norm])           node update
    x_i <- x_i + sum_j (x_i - x_j) / (|x_i - x_j| + c) tanh(phi_x(...)) r / norm    coordinate update

This module holds the parameters; how they are applied is a kernel's business (gaga.models.network.kernels).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gaga.core.errors import InvalidInput
from gaga.models.network.kernels import KernelName, check_choice, resolve_kernel
from gaga.models.network.kernels.products import fast_products
from gaga.models.network.layout import Layout

if TYPE_CHECKING:
    from gaga.models.network.kernels import Kernel

Aggregation = Literal["sum", "mean"]


@dataclass(frozen=True, kw_only=True)
class EGNNConfig:
    """Shape of the network. The defaults are EDM's; `coords_range` is what each layer gets (EDM's is 15)."""

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

    def __post_init__(self) -> None:
        for name in ("features", "hidden", "n_layers", "inv_sublayers"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"the network's {name} must be at least 1", received=getattr(self, name))
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
        """Weight [1, F] and bias [1] of the attention gate, where there is one."""
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


class EGNN(nn.Module):
    """Columns [A, 3 + F] of packed molecules and a time for each -> the same shape; equivariant under E(3).

    Rotations, reflections and permutations of the input do the same to the output; translations do not change it.

    Args:
        config: its shape.
        kernel: how it runs (gaga.models.network.kernels); all kernels have the same parameters and the same results.
        precision: of the operands of matrix products; sums, coordinates and distances keep the parameters' type.
    """

    def __init__(self, config: EGNNConfig, kernel: str = "auto", precision: str = "float32") -> None:
        super().__init__()
        check_choice(kernel, precision)
        self.config, self.precision, self._asked = config, precision, kernel
        self._kernels: dict[tuple[torch.device, torch.dtype], tuple[KernelName, Kernel]] = {}
        width = config.features + int(config.condition_time)
        self.embedding = nn.Linear(width, config.hidden)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.embedding_out = nn.Linear(config.hidden, width)

    def forward(self, z: Float[Tensor, "A C"], t: Float[Tensor, " M"], layout: Layout) -> Float[Tensor, "A C"]:
        """Velocity of the positions (zero mean in each molecule) and output features.

        Args:
            z: packed columns, positions first.
            t: time in [0, 1] of each molecule.
            layout: sizes of the molecules.
        """
        with fast_products(z.device):
            return self._kernel_on(z.device)[1](self, z, t, layout)

    @property
    def kernel(self) -> KernelName:
        """The kernel that runs on the device where the parameters are.

        Raises:
            Unavailable: it was asked for by name and cannot run there.
        """
        return self._kernel_on(self.embedding.weight.device)[0]

    def require_kernel(self) -> None:
        """Refuse a kernel that was asked for by name and cannot run where the parameters are.

        Raises:
            Unavailable: it cannot.
        """
        self._kernel_on(self.embedding.weight.device)

    def _kernel_on(self, device: torch.device) -> "tuple[KernelName, Kernel]":
        key = (device, self.embedding.weight.dtype)
        if key not in self._kernels:
            self._kernels[key] = resolve_kernel(self, self._asked, device)
        return self._kernels[key]

    def layers(self) -> Iterator[Block]:
        """The blocks, in order."""
        return (cast(Block, block) for block in self.blocks)

    @property
    def n_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(p.numel() for p in self.parameters())


def fits(config: EGNNConfig, weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the parameters of such a network, found out without making one that a file only claims."""
    if config.n_layers * (config.inv_sublayers + 1) > len(weights):
        return False
    try:
        with torch.device("meta"):
            wanted = EGNN(config, "torch").state_dict()
    except (RuntimeError, OverflowError, TypeError, ValueError):  # sizes beyond any machine's
        return False
    return {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in weights.items()}


def input_features(network: EGNN, z: Float[Tensor, "*s C"], t: Float[Tensor, "*s"]) -> Float[Tensor, "*s W"]:
    """The features h of each atom, with its time as a last column where the network is told it."""
    return torch.cat([z[..., 3:], t[..., None]], dim=-1) if network.config.condition_time else z[..., 3:]
