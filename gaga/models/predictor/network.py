"""The network that predicts a property: EDM's graph network without position updates, pooled over the atoms.

Satorras et al. 2021 (arXiv 2102.09844), section 5.3, and the published classifier of Hoogeboom et al. 2022:

    h_i <- h_i + phi_h([h_i, sum_j sigmoid(w m_ij + b) m_ij]),   m_ij = phi_e(h_i, h_j, d_ij^2, d_ij)
    c = psi(sum_i phi(h_i))

All it knows of positions is distances, so that translations, rotations and reflections change nothing. phi_e receives
the distance too, not only its square as theirs: `Messages` has two columns for the geometry.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gaga.core.errors import InvalidInput
from gaga.models.network.kernels.edges import neighbours, sum_of_messages
from gaga.models.network.kernels.factorised import EdgeWeights, updated_nodes
from gaga.models.network.kernels.products import fast_products
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import Messages

_NUMBERS = 1600 * 256  # of a group, one for each edge and feature, as kernels.threaded_groups
_SHORTEST = 1e-8  # Å^2; the square root has no derivative at 0


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Shape of the network; `types` is the number of elements. The defaults are those of EDM's classifier."""

    types: int
    hidden: int = 128
    n_layers: int = 7
    attention: bool = True

    def __post_init__(self) -> None:
        for name in ("types", "hidden", "n_layers"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"the predictor's {name} must be at least 1", received=getattr(self, name))


class PredictorNetwork(nn.Module):
    """Positions and types of packed molecules -> one number for each molecule, the property on its scale."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config, width = config, config.hidden
        self.embedding = nn.Linear(config.types, width)
        self.blocks = nn.ModuleList(Messages(width, config.attention) for _ in range(config.n_layers))
        self.of_atoms = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.of_molecule = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, columns: Float[Tensor, "A C"], layout: Layout) -> Float[Tensor, " M"]:
        """The property of each molecule.

        Args:
            columns: positions in Å, then the types as one-hot columns or as probabilities.
            layout: sizes of the molecules.
        """
        with fast_products(columns.device):
            groups = layout.groups(max(_NUMBERS // self.config.hidden, 1))
            pooled = torch.cat([self._pooled(columns[atoms]) for atoms, _ in groups])
            order = torch.cat([members for _, members in groups])
            pooled = torch.empty_like(pooled).index_copy(0, order, pooled)
            return self.of_molecule(pooled)[:, 0]  # type: ignore[no-any-return]

    def _pooled(self, z: Float[Tensor, "b n C"]) -> Float[Tensor, "b F"]:
        """The sum over the atoms of b molecules of n atoms."""
        x, n_atoms = z[..., :3], z.shape[1]
        h = self.embedding(z[..., 3:])
        square = (x[:, :, None] - neighbours(x)).square().sum(dim=-1).reshape(-1)
        geometry = torch.stack([square, torch.sqrt(square + _SHORTEST)], dim=1)
        for messages in self._layers():
            total = torch.zeros_like(h)
            if n_atoms > 1:
                w = EdgeWeights.of(messages.edge_mlp)
                p, q = nn.functional.linear(h, w.w_i, w.b1), nn.functional.linear(h, w.w_j)
                gate_w, gate_b = messages.gate()
                total = sum_of_messages(p, q, geometry, w.w_g, w.w2, w.b2, gate_w, gate_b, h.dtype)
            h = updated_nodes(messages, h, total, h.dtype)
        return self.of_atoms(h).sum(dim=1)  # type: ignore[no-any-return]

    def _layers(self) -> Iterator[Messages]:
        return (cast(Messages, layer) for layer in self.blocks)


def fits(config: PredictorConfig, weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the parameters of such a network. Allocates nothing: the sizes in a file may be hostile."""
    if config.n_layers > len(weights):
        return False
    try:
        with torch.device("meta"):
            wanted = PredictorNetwork(config).state_dict()
    except (RuntimeError, OverflowError, TypeError, ValueError):  # sizes beyond any machine's
        return False
    return {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in weights.items()}
