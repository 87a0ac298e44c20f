import pytest
import torch

from gaga.benchmark.request import QUICK, TIMED_KERNELS, Request
from gaga.benchmark.shapes import SHAPES
from gaga.core.errors import InvalidInput
from tests.benchmark.conftest import CPU


def test_the_default_is_qm9_with_every_kernel():
    request = Request()
    assert [case.name for case in request.found_cases()] == ["qm9-train", "qm9-forward", "qm9-sampling"]
    assert request.kernels == TIMED_KERNELS == ("naive", "torch", "compile", "triton")


def test_batches_are_the_shapes_own_by_device_and_the_largest_for_sampling():
    train, _, sampling = Request().found_cases()
    assert Request().batches(train, CPU) == (64,)
    assert Request().batches(train, torch.device("cuda")) == (256, 1024, 2048)
    assert Request().batches(sampling, torch.device("cuda")) == (2048,)
    assert Request(batch_sizes=(3, 5)).batches(sampling, CPU) == (3, 5)


def test_a_smaller_network_for_a_rehearsal():
    (case,) = Request(cases=("geom-train",), hidden=8).found_cases()
    assert (case.shape.network.hidden, case.shape.network.n_layers) == (8, SHAPES["geom"].n_layers)


def test_quick_compiles_nothing():
    assert "compile" not in QUICK.kernels
    assert QUICK.budget_s < 60
    assert QUICK.rounds < Request().rounds


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"kernels": ("naive", "fast")}, r"unknown kernel \(received fast\).*naive, torch, compile, triton"),
        ({"kernels": ("auto",)}, "unknown kernel"),
        ({"precisions": ("float16",)}, r"unknown precision \(received float16\)"),
        ({"batch_sizes": (4, 0)}, "at least one molecule"),
    ],
)
def test_requests_that_make_no_sense(changes, line):
    with pytest.raises(InvalidInput, match=line):
        Request(**changes)


def test_an_unknown_case_is_named():
    with pytest.raises(InvalidInput, match="unknown case"):
        Request(cases=("qm9",)).found_cases()
