"""Shapes small enough for a test, and kernels that are wrong in one way each."""

from dataclasses import replace

import pytest
import torch

from gaga.benchmark.parity import Variant
from gaga.benchmark.shapes import SHAPES, Case

CPU = torch.device("cpu")
TINY = {name: replace(shape, hidden=8, n_layers=2) for name, shape in SHAPES.items()}


def tiny_case(name: str) -> Case:
    """Such as qm9-train, with a tiny network."""
    shape, work = name.split("-")
    return Case(shape=TINY[shape], work=work)


def mean_over(counts, values):
    """Mean over molecules of a value that depends on the number of atoms."""
    return float(counts @ values / counts.sum())


def _wrong_output(network):
    right = network.forward
    network.forward = lambda z, t, layout: 1.001 * right(z, t, layout)


def _wrong_gradient(network):
    network.blocks[1].coordinates.coord_mlp[2].weight.register_hook(lambda grad: 1.001 * grad)


def _not_equivariant(network):
    right = network.forward
    bent = torch.tensor([1.0, 1.0, 1.001, *[1.0] * network.config.features])
    network.forward = lambda z, t, layout: bent * right(z, t, layout)


def _not_a_number(network):
    right = network.forward
    network.forward = lambda z, t, layout: torch.where(z > 2.5, torch.nan, right(z, t, layout))


def _raises(network):
    def forward(z, t, layout):
        raise RuntimeError("misaligned\n  address")

    network.forward = forward


DEFECTS = {
    "output": _wrong_output,
    "gradient": _wrong_gradient,
    "equivariance": _not_equivariant,
    "nan": _not_a_number,
    "raises": _raises,
}


@pytest.fixture
def break_torch(monkeypatch):
    """Give the torch kernel a defect, wherever benchmarks open it."""
    right = Variant.network

    def install(defect: str) -> None:
        def open_broken(variant, config, device):
            network = right(variant, config, device)
            if variant.kernel == "torch":
                DEFECTS[defect](network)
            return network

        monkeypatch.setattr(Variant, "network", open_broken)

    return install
