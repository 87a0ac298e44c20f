import pytest
import torch

from gaga.benchmark import floors
from gaga.benchmark.floors import Floor, datasheet_flops, fastest, measure_floors
from gaga.models.network.kernels import products
from tests.benchmark.conftest import CPU


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_data_sheets_by_name(name, tera):
    assert datasheet_flops(name) == tera * 1e12


def test_an_unknown_device_has_no_data_sheet():
    assert datasheet_flops("Some Accelerator") is None


def test_floors_of_the_cpu_are_of_each_precision(monkeypatch):
    monkeypatch.setattr(floors, "_CPU_SIDES", (64, 128))
    found = measure_floors(CPU, ("float32", "bfloat16"))
    assert [floor.precision for floor in found] == ["float32", "bfloat16"]
    assert all(floor.how.startswith(f"{floor.precision} matrix product") for floor in found)
    assert all(1e8 < floor.flops < 1e14 and floor.datasheet is None for floor in found)


@pytest.mark.parametrize(("rates", "library"), [((2e9, 5e9), "oneDNN"), ((5e9, 2e9), "MKL")])
def test_the_floor_of_float32_is_that_of_the_faster_library(monkeypatch, rates, library):
    by_library = dict(zip(("mkl", "onednn"), rates, strict=True))
    monkeypatch.setattr(floors, "usable", lambda: ("mkl", "onednn"))
    monkeypatch.setattr(floors, "_fastest", lambda device, dtype: (by_library[products.current()], "a product"))
    (floor,) = measure_floors(CPU, ("float32",))
    assert (floor.flops, floor.how) == (5e9, f"a product, by {library}")


def test_a_large_product_is_left_out_where_it_would_take_long(monkeypatch):
    sides = []

    def rate(device, dtype, side):
        sides.append(side)
        return 1e9, f"{side}"

    monkeypatch.setattr(floors, "_rate", rate)
    measure_floors(CPU, ("bfloat16",))
    assert sides == [512]


def test_the_fastest_of_several_measurements_counts():
    def floors_of(*rates):
        return tuple(Floor(precision=p, flops=r, how=f"{r}", datasheet=None) for p, r in zip("fb", rates, strict=True))

    found = fastest([floors_of(1.0, 9.0), floors_of(3.0, 2.0), floors_of(2.0, 8.0)])
    assert [(floor.precision, floor.flops, floor.how) for floor in found] == [("f", 3.0, "3.0"), ("b", 9.0, "9.0")]


@pytest.mark.gpu
def test_the_floor_of_a_device_is_of_bfloat16_for_all():
    found = measure_floors(torch.device("cuda"), ("float32", "bfloat16"))
    assert found[0].flops == found[1].flops > 1e12
    assert "bfloat16" in found[0].how
