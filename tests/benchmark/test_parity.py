from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga.benchmark import parity
from gaga.benchmark.parity import Oracle, Refused, random_rotation, relative_error
from gaga.benchmark.variants import Variant
from gaga.core.errors import Unavailable
from tests.benchmark.conftest import CPU, TINY

TORCH = Variant(kernel="torch")


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("kernel", ["naive", "torch"])
def test_right_kernels_agree(name, kernel):
    found = Oracle(TINY[name], CPU).check(Variant(kernel=kernel))
    assert found.holds
    assert 0 < found.output < 1e-5
    assert 0 < found.equivariance < 1e-5
    assert 0 < found.gradient < 1e-4
    found.require()


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
    assert not found.holds
    assert reason in found.refused
    with pytest.raises(Refused, match=reason[:20]):
        found.require()
    assert oracle.check(Variant(kernel="naive")).holds


@pytest.mark.parametrize(("off", "refused"), [(5e-7, ""), (2e-6, "outputs are off those by MKL by 2.0e-06")])
def test_outputs_by_onednn_must_be_those_by_mkl_but_for_rounding(monkeypatch, off, refused):
    oracle, right = Oracle(TINY["qm9"], CPU), Oracle._ask

    def ask(self, network, variant, device):
        answers = right(self, network, variant, device)
        if variant.products != "onednn":
            return answers
        return replace(answers, outputs={name: (1 + off) * out for name, out in answers.outputs.items()})

    monkeypatch.setattr(Oracle, "_ask", ask)
    monkeypatch.setattr(parity, "fixed", lambda library: nullcontext())  # the same numbers on every processor
    assert oracle.check(replace(TORCH, products="mkl")).from_mkl is None
    found = oracle.check(replace(TORCH, products="onednn"))
    assert found.from_mkl == pytest.approx(off, rel=1e-3)
    assert found.refused.startswith(refused)
    assert found.holds == (not refused)


def test_a_kernel_that_cannot_run_is_not_refused(monkeypatch):
    oracle = Oracle(TINY["qm9"], CPU)

    def nowhere(*arguments):
        raise Unavailable("there is no such device here", remedy="use another")

    monkeypatch.setattr(parity, "open_network", nowhere)
    found = oracle.check(TORCH)
    assert (found.holds, found.refused, found.unavailable) == (False, "", "there is no such device here")
    with pytest.raises(Unavailable, match="no such device"):
        found.require()


def test_relative_error():
    a = torch.tensor([3.0, 4.0])
    assert relative_error(a, a) == 0
    assert relative_error(a + torch.tensor([0.5, 0.0]), a) == pytest.approx(0.1)
    assert relative_error(torch.ones(2), torch.zeros(2)) == pytest.approx(2**0.5)
    assert relative_error(a, torch.ones(3)) == float("inf")
    assert relative_error(torch.tensor([3.0, float("nan")]), a) == float("inf")


def test_rotations_are_rotations():
    for seed in range(5):
        rotation = random_rotation(seed)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["naive", "torch"])
def test_kernels_agree_on_the_device(kernel):
    assert Oracle(TINY["qm9"], torch.device("cuda")).check(Variant(kernel=kernel)).holds
