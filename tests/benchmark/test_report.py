import numpy as np
import pytest

from gaga.benchmark.floors import Floor
from gaga.benchmark.report import Profile, Row, with_floor, with_ratios, with_seconds


def a_row(**changes) -> Row:
    """A row of ten molecules."""
    about = {"case": "qm9-train", "kernel": "torch", "precision": "float32", "batch": 10, "molecules": 10}
    return Row(**{**about, "atoms": 180, "edges": 3150, "useful_flops": 10**9, "state": "measured", **changes})


FLOOR = Floor(precision="float32", flops=4e9, how="a product", datasheet=8e9)


def test_seconds_are_the_median_with_the_least_and_the_most():
    row = with_seconds(a_row(state="unavailable"), np.array([1.0, 2.0, 9.0]))
    assert (row.state, row.seconds, row.low, row.high, row.rounds) == ("measured", 2.0, 1.0, 9.0, 3)
    assert row.molecules_per_second == 5.0


def test_the_part_of_the_floor():
    row = with_floor(a_row(seconds=0.5), FLOOR)
    assert (row.floor, row.datasheet) == (0.5, 0.25)
    assert with_floor(a_row(), FLOOR) == a_row()


def test_ratios_are_of_molecules_per_second_in_the_same_run():
    rows = [
        a_row(kernel="naive", molecules=5, molecules_per_second=2.0),
        a_row(kernel="naive, padded to 29", molecules_per_second=1.0),
        a_row(molecules_per_second=8.0),
        a_row(kernel="triton", state="refused"),
    ]
    found = [(row.times_naive, row.times_padded) for row in with_ratios(rows, "naive")]
    assert found == [(1.0, 2.0), (0.5, 1.0), (4.0, 8.0), (None, None)]
    assert with_ratios(rows[2:], "naive")[0].times_naive is None


def test_onednn_is_held_against_mkl_of_the_same_kernel_and_precision():
    rows = [
        a_row(products="mkl", molecules_per_second=4.0),
        a_row(products="onednn", molecules_per_second=9.0),
        a_row(precision="bfloat16", molecules_per_second=5.0),
        a_row(kernel="compile", products="onednn", molecules_per_second=9.0),
    ]
    assert [row.times_mkl for row in with_ratios(rows, "naive")] == [None, 2.25, None, None]


@pytest.mark.parametrize(("seconds", "rate"), [(0.5, 4e12), (0.0, None)])
def test_the_rate_of_edge_kernels(seconds, rate):
    profile = Profile(
        case="qm9-train", kernel="triton", precision="bfloat16", molecules=10, names=("edge",), calls=np.array([1]),
        seconds=np.array([seconds]), edge_flops=2 * 10**12, edge_seconds=seconds,
    )  # fmt: skip
    assert profile.edge_rate == rate
