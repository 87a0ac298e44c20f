import pytest
import torch

from gaga.benchmark.config import CASES, TIMED_KERNELS, BenchmarkConfig, quick_look
from gaga.benchmark.shapes import SHAPES, cases_of
from gaga.core.errors import InvalidInput
from tests.benchmark.conftest import CPU


def test_the_default_is_qm9_with_every_kernel():
    config = BenchmarkConfig()
    assert [case.name for case in cases_of(config)] == ["qm9-train", "qm9-forward", "qm9-sampling"]
    assert config.kernels == TIMED_KERNELS == ("naive", "torch", "compile", "triton")


def test_every_case_has_a_shape():
    assert tuple(case.name for case in cases_of(BenchmarkConfig(cases=CASES))) == CASES
    assert tuple(f"{shape}-{work}" for shape in SHAPES for work in ("train", "forward", "sampling")) == CASES


def test_batches_are_the_shapes_own_by_device_and_the_largest_for_sampling():
    config = BenchmarkConfig()
    train, _, sampling = cases_of(config)
    assert train.batches(config, CPU) == (64,)
    assert train.batches(config, torch.device("cuda")) == (256, 1024, 2048)
    assert sampling.batches(config, torch.device("cuda")) == (2048,)
    assert sampling.batches(BenchmarkConfig(batch_sizes=(3, 5)), CPU) == (3, 5)


def test_a_smaller_network_for_a_rehearsal():
    (case,) = cases_of(BenchmarkConfig(cases=("geom-train",), hidden=8))
    assert (case.shape.network.hidden, case.shape.network.n_layers) == (8, SHAPES["geom"].n_layers)


def test_quick_compiles_nothing():
    config = BenchmarkConfig(**quick_look(on_cuda=False))
    assert "compile" not in config.kernels
    assert config.budget_s < 60
    assert config.rounds < BenchmarkConfig().rounds
    assert BenchmarkConfig(**quick_look(on_cuda=True)).kernels == ("naive", "torch", "triton")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"cases": ("qm9-train", "qm10-train")}, r"unknown cases .*qm10-train.*geom-sampling"),
        ({"kernels": ("naive", "fast")}, r"unknown kernels .*fast.*naive, torch, compile, triton"),
        ({"kernels": ("auto",)}, "unknown kernels"),
        ({"precisions": ("float16",)}, "unknown precisions"),
        ({"batch_sizes": (4, 0)}, "batch_sizes must be at least 1"),
        ({"rounds": 0}, "rounds must be at least 1"),
    ],
)
def test_what_makes_no_sense(changes, line):
    with pytest.raises(InvalidInput, match=line):
        BenchmarkConfig(**changes)
