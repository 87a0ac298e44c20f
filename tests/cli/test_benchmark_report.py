"""How rows and machines are shown."""

from dataclasses import replace

import pytest

from gaga.benchmark.machine import Floor, Machine
from gaga.benchmark.parity import TOLERANCES, Agreement
from gaga.benchmark.results import Benchmark
from gaga.cli.benchmark import case_table, lines_of, markdown, parity_table, tables
from gaga.cli.render import format_table
from tests.benchmark.test_results import a_row

GPU = Machine(
    device="cuda:0", device_name="H100", device_memory=80_000_000_000, processor="Xeon", cores=16, threads=1,
    system="Linux", python="3.12.3", cuda="13.0", packages=("torch 2.11.0", "triton 3.6.0"), gaga_version="0.1.0",
    commit="", allocator="",
)  # fmt: skip
FLOOR = Floor(precision="bfloat16", flops=798e12, how="a product")
MEASURED = a_row(
    seconds=0.5, low=0.4, high=0.75, rounds=5, molecules_per_second=20.0, floor=0.285, memory=1_500_000_000,
    times_naive=4.25, times_padded=8.5, note="CUDA graph",
)  # fmt: skip


def agreement(**changes):
    about = {"shape": "qm9", "kernel": "torch", "precision": "float32", "tolerance": TOLERANCES["float32"]}
    return Agreement(**{**about, **changes})


def test_a_measured_row():
    shown = format_table(case_table("qm9-train", 10, [MEASURED]))
    assert "qm9-train, 10 molecules, 180 atoms, 3,150 edges" in shown
    assert shown.splitlines()[-2].split("  ")[0] == "torch"
    for cell in ("0.5", "0.4 – 0.75", "20", "28.5 %", "1.5 GB", "4.25", "8.5", "CUDA graph"):
        assert f"  {cell}" in shown


def test_rows_without_figures_say_why():
    rows = [MEASURED, a_row(state="refused", note="off by 1"), a_row(state="unavailable", note="no device")]
    lines = format_table(case_table("qm9-train", 10, rows)).splitlines()
    assert lines[-3].endswith("refused: off by 1")
    assert lines[-2].endswith("unavailable: no device")


def test_naive_on_a_part_of_the_batch_says_so():
    part = replace(MEASURED, molecules=4, note="")
    assert "its first 4 molecules" in format_table(case_table("qm9-train", 10, [part]))


def test_a_sampling_run_is_marked_where_it_is_extrapolated():
    whole = replace(MEASURED, run_seconds=40.0, run_molecules=10_000, run_steps=550, extrapolated=True)
    shown = format_table(case_table("qm9-sampling", 10, [whole]))
    assert "10,000 in 550 steps" in shown
    assert "40 seconds, extrapolated" in shown
    assert "extrapolated" not in format_table(case_table("qm9-sampling", 10, [replace(whole, extrapolated=False)]))


def test_the_library_of_products_and_its_ratio():
    row = replace(MEASURED, products="onednn", times_mkl=2.25)
    line = format_table(case_table("qm9-train", 10, [row])).splitlines()[-2]
    assert "  onednn  " in line
    assert "  2.25  " in line
    found = Benchmark(machine=GPU, floors=(), memory="m", parity=(), rows=(), products="float32 by MKL: no reason")
    assert "Products in float32 by MKL: no reason." in list(lines_of(found))
    shown = format_table(parity_table([agreement(products="onednn", from_mkl=4.9e-7)]))
    assert "4.9e-07" in shown


def test_verdicts():
    agrees = agreement(output=2e-7, equivariance=3e-7, gradient=4e-7)
    rows = [agrees, agreement(refused="off"), agreement(unavailable="no device")]
    shown = format_table(parity_table(rows))
    assert "2.0e-07" in shown
    assert "refused: off" in shown
    assert "unavailable: no device" in shown


def test_where_figures_come_from():
    found = Benchmark(machine=GPU, floors=(FLOOR,), memory="most of it", parity=(), rows=(),
                      networks=("qm9: 256 features", "geom: 128 features"))  # fmt: skip
    first, second, networks, third = lines_of(found)
    assert first == (
        "cuda:0: H100, 80.0 GB on Xeon, 16 cores, 1 thread; Python 3.12.3, torch 2.11.0, triton 3.6.0, CUDA 13.0; "
        "gaga 0.1.0; allocator: –."
    )
    assert second == "Floor of bfloat16: 798 TFLOP/s (a product)."
    assert networks == "Network of qm9: 256 features; of geom: 128 features."
    assert third.strip() == "Memory: most of it."


@pytest.mark.parametrize("n_batches", [1, 2])
def test_a_table_for_each_batch(n_batches):
    rows = [replace(MEASURED, batch=10 * (k + 1)) for k in range(n_batches) for _ in range(3)]
    found = Benchmark(machine=GPU, floors=(FLOOR,), memory="m", parity=(agreement(),), rows=tuple(rows))
    shown = list(tables(found))
    assert [len(table.rows) for table in shown] == [1, *[3] * n_batches]
    text = markdown(found)
    assert text.count("### ") == n_batches + 1
    assert "| torch | float32 | – | 0.5 | 0.4 – 0.75 |" in text
