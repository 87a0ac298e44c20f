from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga.benchmark import parity
from gaga.benchmark.parity import Oracle, Variant, failure, make_variants, relative_error
from gaga.core.errors import InvalidInput, Unavailable
from tests.benchmark.conftest import CPU, TINY

TORCH, CUDA = Variant(kernel="torch"), torch.device("cuda")
CONFIG = TINY["qm9"].network


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("kernel", ["naive", "torch"])
def test_right_kernels_agree(name, kernel):
    found = Oracle(TINY[name], CPU).check(Variant(kernel=kernel))
    assert not found.refused + found.unavailable
    assert 0 < found.output < 1e-5
    assert 0 < found.equivariance < 1e-5
    assert 0 < found.gradient < 1e-4


def test_the_oracle_meets_awkward_sizes_and_the_largest_molecule():
    sizes = {name: batch.n_atoms.tolist() for name, batch in Oracle(TINY["qm9"], CPU).batches.items()}
    assert sizes == {"awkward": [1, 2, 9, 29, 31, 33], "largest": [29]}


def test_the_gradient_of_every_parameter_is_compared_by_name():
    oracle = Oracle(TINY["qm9"], CPU)
    names = set(oracle.answers.gradients)
    assert {"the input (awkward)", "the input (largest)"} < names
    assert len(names) == 2 + 4 + 2 * (10 + 5)  # two embeddings; ten tensors of messages and five of coordinates a block
    assert all(float(grad.norm()) > 0 for grad in oracle.answers.gradients.values())


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("output", "outputs are off by 1.0e-03, more than 1e-04"),
        ("gradient", "the gradient of blocks.1.coordinates.coord_mlp.2.weight is off by 1.0e-03, more than 1e-04"),
        ("equivariance", "outputs of rotated molecules are off by"),
        ("nan", "outputs are off by inf"),
        ("raises", "RuntimeError: misaligned address"),
    ],
)
def test_wrong_kernels_are_refused(break_torch, defect, reason):
    break_torch(defect)
    oracle = Oracle(TINY["qm9"], CPU)
    found = oracle.check(TORCH)
    assert reason in found.refused
    assert not oracle.check(Variant(kernel="naive")).refused


@pytest.mark.parametrize(("off", "refused"), [(5e-7, ""), (2e-6, "outputs are off those by MKL by 2.0e-06")])
def test_outputs_by_onednn_must_be_those_by_mkl_but_for_rounding(monkeypatch, off, refused):
    oracle, right = Oracle(TINY["qm9"], CPU), Oracle._ask

    def ask(self, network, variant, device):
        answers = right(self, network, variant, device)
        if variant.products != "onednn":
            return answers
        return answers._replace(outputs={name: (1 + off) * out for name, out in answers.outputs.items()})

    monkeypatch.setattr(Oracle, "_ask", ask)
    monkeypatch.setattr(parity, "fixed", lambda library: nullcontext())  # the same numbers on every processor
    assert oracle.check(replace(TORCH, products="mkl")).from_mkl is None
    found = oracle.check(replace(TORCH, products="onednn"))
    assert found.from_mkl == pytest.approx(off, rel=1e-3)
    assert found.refused.startswith(refused)
    assert bool(found.refused) == bool(refused)


def test_a_kernel_that_cannot_run_is_not_refused(monkeypatch):
    oracle = Oracle(TINY["qm9"], CPU)

    def nowhere(*arguments):
        raise Unavailable("there is no such device here", remedy="use another")

    monkeypatch.setattr(Variant, "network", nowhere)
    found = oracle.check(TORCH)
    assert (found.refused, found.unavailable) == ("", "there is no such device here")


@pytest.mark.parametrize(
    ("error", "state", "note"),
    [
        (Unavailable("no such device", remedy="use another"), "unavailable", "no such device"),
        (ValueError("odd\n shape"), "refused", "ValueError: odd shape"),
        (RuntimeError("x" * 500), "refused", f"RuntimeError: {'x' * 186}"),
    ],
)
def test_an_error_is_a_reason_in_a_line(error, state, note):
    assert failure(error) == (state, note)


def test_relative_error():
    a = torch.tensor([3.0, 4.0])
    assert relative_error(a, a) == 0
    assert relative_error(a + torch.tensor([0.5, 0.0]), a) == pytest.approx(0.1)
    assert relative_error(torch.ones(2), torch.zeros(2)) == pytest.approx(2**0.5)
    assert relative_error(a, torch.ones(3)) == float("inf")
    assert relative_error(torch.tensor([3.0, float("nan")]), a) == float("inf")


def test_naive_runs_in_float32_in_two_widths_and_the_others_in_every_precision(monkeypatch):
    made = make_variants(("naive", "torch", "triton"), ("float32", "bfloat16"), 29, CUDA)
    assert [(v.label, v.precision) for v in made] == [
        ("naive", "float32"),
        ("naive, padded to 29", "float32"),
        ("torch", "float32"),
        ("torch", "bfloat16"),
        ("triton", "float32"),
        ("triton", "bfloat16"),
    ]
    monkeypatch.setattr(parity, "usable", lambda: ("mkl", "onednn"))
    both = make_variants(("naive", "torch"), ("float32", "bfloat16"), 29, CPU)
    assert [(v.label, v.precision, v.products) for v in both] == [
        ("naive", "float32", "mkl"),
        ("naive, padded to 29", "float32", "mkl"),
        ("torch", "float32", "mkl"),
        ("torch", "float32", "onednn"),
        ("torch", "bfloat16", None),
    ]
    assert make_variants(("torch",), ("bfloat16",), 29, CUDA) == (Variant(kernel="torch", precision="bfloat16"),)


def test_all_variants_have_the_same_weights_whatever_was_drawn_before():
    first = Variant(kernel="naive").network(CONFIG, CPU)
    torch.rand(5)
    state = torch.get_rng_state()
    second = Variant(kernel="torch").network(CONFIG, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_coordinates_matter():
    network = Variant(kernel="torch").network(CONFIG, CPU)
    assert network.blocks[0].coordinates.coord_mlp[4].weight.abs().max() > 0.005


def test_networks_have_the_precision_of_the_variant():
    assert Variant(kernel="torch", precision="bfloat16").network(CONFIG, CPU).precision == "bfloat16"
    with pytest.raises(Unavailable, match="naive kernel runs in float32 only"):
        Variant(kernel="naive", precision="bfloat16").network(CONFIG, CPU)


def test_unknown_kernels_are_named():
    with pytest.raises(InvalidInput, match="unknown kernel"):
        Variant(kernel="fast").network(CONFIG, CPU)


def test_padding_further_changes_no_result():
    sizes = np.array([2, 5])
    variant = Variant(kernel="naive", pad_to=29)
    network = variant.network(CONFIG, CPU)
    z, t = torch.randn(7, 8), torch.rand(2)
    wide, narrow = variant.layout(sizes, CPU), Variant(kernel="naive").layout(sizes, CPU)
    assert wide.pad_to == 29
    torch.testing.assert_close(network(z, t, wide), network(z, t, narrow))


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["naive", "torch"])
def test_kernels_agree_on_the_device(kernel):
    found = Oracle(TINY["qm9"], torch.device("cuda")).check(Variant(kernel=kernel))
    assert found.output is not None
    assert not found.refused
