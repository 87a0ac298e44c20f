"""The whole benchmark, on tiny networks."""

import pytest
import torch

from gaga.benchmark import machine
from gaga.benchmark.benchmark import run_benchmark
from gaga.benchmark.config import BenchmarkConfig
from gaga.benchmark.results import Benchmark
from gaga.models.network.kernels import products
from gaga.storage.store import Store
from tests.benchmark.conftest import CPU

TINY = BenchmarkConfig(
    cases=("qm9-train", "qm9-sampling"),
    kernels=("naive", "torch"),
    precisions=("float32",),
    batch_sizes=(3,),
    rounds=2,
    hidden=8,
    n_layers=1,
)


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """A small floor, and one library of float32 products unless a test asks for both."""
    monkeypatch.setattr(machine, "_CPU_SIDES", (64,))
    products.ask_for("mkl")
    yield
    products.ask_for("auto")


def test_every_row_has_its_floor_and_its_ratio_and_the_store_keeps_them(tmp_path):
    notes = []
    found = run_benchmark(TINY, CPU, allocator="plain", progress=lambda done, total, note="": notes.append(note))
    rows = {(row.case, row.kernel): row for row in found.rows}
    assert set(rows) == {
        ("qm9-train", "naive"),
        ("qm9-train", "naive, padded to 29"),
        ("qm9-train", "torch"),
        ("qm9-sampling", "naive"),
        ("qm9-sampling", "torch"),
    }
    measured = [row for row in found.rows if row.state == "measured"]
    assert len(measured) == 5
    for row in measured:
        rate = row.useful_flops / row.seconds
        assert row.floor == pytest.approx(rate / found.floors[0].flops)
    torch_row, naive_row = rows["qm9-train", "torch"], rows["qm9-train", "naive"]
    assert torch_row.times_naive == pytest.approx(naive_row.seconds / torch_row.seconds)
    assert naive_row.times_naive == 1
    assert not found.failed
    assert found.machine.allocator == "plain"
    assert notes[0].startswith("the floor")
    assert {"the oracle of qm9", "checking torch in float32", "round 2 of 2"} <= set(notes)
    store = Store(tmp_path / "s.h5")
    store.put("benchmark", "b", found, config={})
    assert store.get("benchmark", "b", Benchmark).rows == found.rows


@pytest.mark.skipif(bool(products.why_not()), reason=f"oneDNN cannot be used here: {products.why_not()}")
def test_both_libraries_of_float32_products_in_one_run():
    products.ask_for("auto")
    found = run_benchmark(TINY, CPU)
    rows = {(row.case, row.kernel, row.products): row for row in found.rows}
    assert {key[2] for key in rows if key[1] != "torch"} == {"mkl"}, "the papers' formulation as their code runs it"
    for case in TINY.cases:
        by_mkl, by_onednn = rows[case, "torch", "mkl"], rows[case, "torch", "onednn"]
        assert by_onednn.times_mkl == pytest.approx(by_onednn.molecules_per_second / by_mkl.molecules_per_second)
        assert by_mkl.times_mkl is None
    checked = {(a.kernel, a.products): a.from_mkl for a in found.parity}
    assert checked["torch", "mkl"] is None
    assert checked["torch", "onednn"] <= 1e-6
    assert found.floors[0].how.endswith((", by MKL", ", by oneDNN"))
    assert found.products == products.chosen().sentence
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"


def test_one_wrong_kernel_keeps_the_figures_of_the_others(break_torch):
    break_torch("gradient")
    found = run_benchmark(TINY, CPU)
    states = {(row.case, row.kernel): row.state for row in found.rows}
    assert states["qm9-train", "torch"] == states["qm9-sampling", "torch"] == "refused"
    assert states["qm9-train", "naive"] == "measured"
    assert found.failed


def test_a_check_times_nothing():
    config = BenchmarkConfig(
        cases=("qm9-train", "qm9-forward"), kernels=("torch",), precisions=("float32",), check=True, hidden=8
    )
    found = run_benchmark(config, CPU)
    assert [(a.shape, a.kernel, a.refused, a.unavailable) for a in found.parity] == [("qm9", "torch", "", "")]
    assert found.rows == ()


@pytest.mark.gpu
def test_on_the_device():
    found = run_benchmark(
        BenchmarkConfig(cases=("qm9-train", "qm9-forward"), batch_sizes=(8,), rounds=2, hidden=64, n_layers=2),
        torch.device("cuda"),
    )
    assert not found.failed
    states = {(row.kernel, row.precision): row.state for row in found.rows}
    assert states["torch", "float32"] == "measured"
    assert any(row.note == "CUDA graph" for row in found.rows)
