import numpy as np
import pytest
import torch

from gaga.benchmark.variants import Variant, layout_for, make_variants, open_network
from gaga.core.errors import InvalidInput, Unavailable
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
    both = make_variants(("naive", "torch"), ("float32", "bfloat16"), 29, ("mkl", "onednn"))
    assert [(v.label, v.precision, v.products) for v in both] == [
        ("naive", "float32", "mkl"),
        ("naive, padded to 29", "float32", "mkl"),
        ("torch", "float32", "mkl"),
        ("torch", "float32", "onednn"),
        ("torch", "bfloat16", None),
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


def test_networks_have_the_precision_of_the_variant():
    assert open_network(CONFIG, Variant(kernel="torch", precision="bfloat16"), CPU).precision == "bfloat16"
    with pytest.raises(Unavailable, match="naive kernel runs in float32 only"):
        open_network(CONFIG, Variant(kernel="naive", precision="bfloat16"), CPU)


def test_unknown_kernels_are_named():
    with pytest.raises(InvalidInput, match="unknown kernel"):
        open_network(CONFIG, Variant(kernel="fast"), CPU)


def test_padding_further_changes_no_result():
    sizes = np.array([2, 5])
    variant = Variant(kernel="naive", pad_to=29)
    network = open_network(CONFIG, variant, CPU)
    z, t = torch.randn(7, 8), torch.rand(2)
    wide, narrow = layout_for(sizes, variant, CPU), layout_for(sizes, Variant(kernel="naive"), CPU)
    assert wide.pad_to == 29
    torch.testing.assert_close(network(z, t, wide), network(z, t, narrow))
