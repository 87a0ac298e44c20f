import inspect

import numpy as np
import pytest
import torch

from gaga.base.errors import InvalidInput, Unavailable
from gaga.benchmark import variants
from gaga.benchmark.variants import Variant, layout_for, make_variants, open_network
from gaga.models.egnn import EGNN
from gaga.models.layout import Layout
from tests.benchmark.conftest import CPU, TINY

CONFIG = TINY["qm9"].network


def test_naive_runs_in_float32_in_two_widths_and_the_others_in_every_precision():
    made = make_variants(("naive", "torch", "triton"), ("float32", "bfloat16"), 29)
    assert [(v.label, v.precision) for v in made] == [
        ("naive", "float32"),
        ("naive, padded to 29", "float32"),
        ("torch", "float32"),
        ("torch", "bfloat16"),
        ("triton", "float32"),
        ("triton", "bfloat16"),
    ]
    assert make_variants(("torch",), ("bfloat16",), 29) == (Variant(kernel="torch", precision="bfloat16"),)


def test_all_variants_have_the_same_weights_whatever_was_drawn_before():
    first = open_network(CONFIG, Variant(kernel="naive"), CPU)
    torch.rand(5)
    state = torch.get_rng_state()
    second = open_network(CONFIG, Variant(kernel="torch"), CPU)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(
        first.embedding.weight, open_network(CONFIG, Variant(kernel="naive"), CPU, seed=1).embedding.weight
    )


def test_coordinates_matter():
    network = open_network(CONFIG, Variant(kernel="torch"), CPU)
    assert network.blocks[0].coordinates.coord_mlp[4].weight.abs().max() > 0.005


def test_an_older_network_without_precision_runs_in_float32_alone(monkeypatch):
    class Old(EGNN):
        def __init__(self, config, kernel="auto"):
            super().__init__(config, kernel)

    monkeypatch.setattr(variants, "EGNN", Old)
    open_network(CONFIG, Variant(kernel="torch"), CPU)
    with pytest.raises(Unavailable, match="float32 only, not in bfloat16"):
        open_network(CONFIG, Variant(kernel="torch", precision="bfloat16"), CPU)


def test_a_newer_network_is_told_its_precision(monkeypatch):
    class New(EGNN):
        def __init__(self, config, kernel="auto", precision="float32"):
            super().__init__(config, kernel)
            self.told = precision

    monkeypatch.setattr(variants, "EGNN", New)
    assert open_network(CONFIG, Variant(kernel="torch", precision="bfloat16"), CPU).told == "bfloat16"


def test_unknown_kernels_are_named():
    with pytest.raises(InvalidInput, match="unknown kernel"):
        open_network(CONFIG, Variant(kernel="fast"), CPU)


@pytest.mark.skipif("pad_to" not in inspect.signature(Layout.of).parameters, reason="layouts cannot pad further here")
def test_padding_further_changes_no_result():
    sizes = np.array([2, 5])
    variant = Variant(kernel="naive", pad_to=29)
    network = open_network(CONFIG, variant, CPU)
    z, t = torch.randn(7, 8), torch.rand(2)
    wide, narrow = layout_for(sizes, variant, CPU), layout_for(sizes, Variant(kernel="naive"), CPU)
    assert wide.pad_to == 29
    torch.testing.assert_close(network(z, t, wide), network(z, t, narrow))


def test_an_older_layout_cannot_pad(monkeypatch):
    class Old:
        @classmethod
        def of(cls, n_atoms, device="cpu"):
            return Layout.of(n_atoms, device)

    monkeypatch.setattr(variants, "Layout", Old)
    assert len(layout_for(np.array([2]), Variant(kernel="naive"), CPU)) == 1
    with pytest.raises(Unavailable, match="pads to the largest molecule"):
        layout_for(np.array([2]), Variant(kernel="naive", pad_to=29), CPU)
