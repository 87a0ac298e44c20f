"""Networks, batches and comparisons that all kernels are tested with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.naive import run_naive
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import EGNNConfig

AWKWARD = (1, 2, 9, 29, 31, 33)
Run = Callable[[EGNN, Tensor, Tensor, Layout], Tensor]


@dataclass(frozen=True)
class Case:
    """A network and a batch, the same in every type."""

    sizes: tuple[int, ...] = AWKWARD
    hidden: int = 16
    n_layers: int = 2
    features: int = 5
    inv_sublayers: int = 1

    def network(self, dtype: torch.dtype, precision: str = "float32") -> EGNN:
        """Its coordinate updates matter: their last layers are drawn large."""
        torch.manual_seed(3)
        config = EGNNConfig(features=self.features, hidden=self.hidden, n_layers=self.n_layers,
                            inv_sublayers=self.inv_sublayers)  # fmt: skip
        network = EGNN(config, precision=precision)
        for block in network.blocks:
            torch.nn.init.xavier_uniform_(block.coordinates.coord_mlp[4].weight, gain=0.3)
        return network.to(dtype)

    def batch(self, dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Tensor, Layout]:
        """z, t and the layout."""
        generator = torch.Generator().manual_seed(0)
        layout = Layout.of(np.array(self.sizes), device)
        z = torch.randn(sum(self.sizes), 3 + self.features, generator=generator, dtype=torch.float64)
        t = torch.rand(len(self.sizes), generator=generator, dtype=torch.float64)
        return z.to(device, dtype), t.to(device, dtype), layout

    def results(
        self, run: Run, dtype: torch.dtype = torch.float64, *, precision: str = "float32", device: str = "cpu"
    ) -> dict[str, Tensor]:
        """Output, and the gradients of a random projection of it, by name, in float64 on the host."""
        network, (z, t, layout) = self.network(dtype, precision).to(device), self.batch(dtype, device)
        z.requires_grad_()
        out = run(network, z, t, layout)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        (out * weights.to(out)).sum().backward()
        found = {"output": out.detach(), "gradient of z": z.grad}
        found |= {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        return {name: value.double().cpu() for name, value in found.items()}


def worst(found: dict[str, Tensor], expected: dict[str, Tensor], *, floor: float = 0.0) -> dict[str, float]:
    """Largest difference of each tensor, in units of its largest element.

    A gradient that is small beside the others is the difference of large terms, each rounded: with `floor` the unit is
    at least that share of the largest element of any.
    """
    assert found.keys() == expected.keys()
    scale = {name: float(value.abs().max().clamp(min=1e-6)) for name, value in expected.items()}
    least = floor * max(value for name, value in scale.items() if name != "output")
    return {
        name: float((found[name] - value).abs().max()) / (scale[name] if name == "output" else max(scale[name], least))
        for name, value in expected.items()
    }


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Every tensor within the tolerance, named where it is not."""
    wrong = {name: error for name, error in worst(found, expected).items() if not error < tolerance}
    assert not wrong, wrong


def norms(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Norm of each tensor's difference, in units of its own norm, or of 2 % of the largest norm of a gradient."""
    assert found.keys() == expected.keys()
    size = {name: float(value.norm()) for name, value in expected.items()}
    least = 0.02 * max(value for name, value in size.items() if name != "output")
    return {
        name: float((found[name] - value).norm()) / (size[name] if name == "output" else max(size[name], least))
        for name, value in expected.items()
    }


def oracle(case: Case) -> dict[str, Tensor]:
    """The papers' formulation in float64."""
    return case.results(run_naive)
