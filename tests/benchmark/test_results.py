import numpy as np

from gaga.benchmark.machine import Floor
from gaga.benchmark.results import Row, with_floor, with_ratios, with_seconds


def a_row(**changes) -> Row:
    """A row of ten molecules."""
    about = {"case": "qm9-train", "kernel": "torch", "precision": "float32", "batch": 10, "molecules": 10}
    return Row(**{**about, "atoms": 180, "edges": 3150, "useful_flops": 10**9, "state": "measured", **changes})


FLOORS = (
    Floor(precision="bfloat16", flops=9e9, how="a product"),
    Floor(precision="float32", flops=4e9, how="a product"),
)


def test_seconds_are_the_median_with_the_least_and_the_most():
    row = with_seconds(a_row(state="unavailable"), np.array([1.0, 2.0, 9.0]))
    assert (row.state, row.seconds, row.low, row.high, row.rounds) == ("measured", 2.0, 1.0, 9.0, 3)
    assert row.molecules_per_second == 5.0


def test_the_part_of_the_floor():
    assert with_floor(a_row(seconds=0.5), FLOORS).floor == 0.5
    assert with_floor(a_row(), FLOORS) == a_row()


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
