import subprocess

import pytest
import torch

from gaga.benchmark import machine
from gaga.benchmark.machine import Floor, commit_of, describe_machine, fastest, measure_floors
from gaga.models.network.kernels import products
from tests.benchmark.conftest import CPU


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_this_machine():
    found = describe_machine(CPU, "as it comes")
    assert (found.device, found.device_memory, found.allocator) == ("cpu", 0, "as it comes")
    assert found.device_name == found.processor != ""
    assert f"torch {torch.__version__.partition('+')[0]}" in " ".join(found.packages)
    assert found.threads == torch.get_num_threads()
    assert found.cores >= 1


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    assert commit_of(tmp_path) == ""
    git(tmp_path, "init")
    assert commit_of(tmp_path) == ""  # nothing committed yet
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    commit = commit_of(tmp_path)
    assert len(commit) == 12
    (tmp_path / "other").write_text("not tracked")
    assert commit_of(tmp_path) == commit
    (tmp_path / "file").write_text("b")
    assert commit_of(tmp_path) == f"{commit} + changes"


def test_without_git_there_is_a_version(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    found = describe_machine(CPU, "")
    assert found.commit == ""


def test_a_system_that_says_little(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "missing")
    assert machine.processor_name() != ""
    monkeypatch.setattr(machine, "_PACKAGES", ("no-such-package",))
    assert describe_machine(CPU, "").packages == ()


@pytest.mark.gpu
def test_a_gpu():
    found = describe_machine(torch.device("cuda:0"), "")
    assert found.device_memory > 1 << 30
    assert found.cuda
    assert found.device_name != found.processor


def test_floors_of_the_cpu_are_of_each_precision(monkeypatch):
    monkeypatch.setattr(machine, "_CPU_SIDES", (64, 128))
    found = measure_floors(CPU)
    assert [floor.precision for floor in found] == ["float32", "bfloat16"]
    assert all(floor.how.startswith(f"{floor.precision} matrix product") for floor in found)
    assert all(1e8 < floor.flops < 1e14 for floor in found)


@pytest.mark.parametrize(("rates", "library"), [((2e9, 5e9), "oneDNN"), ((5e9, 2e9), "MKL")])
def test_the_floor_of_float32_is_that_of_the_faster_library(monkeypatch, rates, library):
    by_library = dict(zip(("mkl", "onednn"), rates, strict=True))
    monkeypatch.setattr(machine, "usable", lambda: ("mkl", "onednn"))
    monkeypatch.setattr(machine, "_fastest", lambda device, dtype: (by_library[products.current()], "a product"))
    floor, _ = measure_floors(CPU)
    assert (floor.flops, floor.how) == (5e9, f"a product, by {library}")


def test_a_large_product_is_left_out_where_it_would_take_long(monkeypatch):
    sides = []

    def rate(device, dtype, side):
        sides.append(side)
        return 1e9, f"{side}"

    monkeypatch.setattr(machine, "_rate", rate)
    monkeypatch.setattr(machine, "usable", lambda: ("mkl",))
    measure_floors(CPU)
    assert sides == [512, 512]


def test_the_fastest_of_several_measurements_counts():
    def floors_of(*rates):
        return tuple(Floor(precision=p, flops=r, how=f"{r}") for p, r in zip("fb", rates, strict=True))

    found = fastest([floors_of(1.0, 9.0), floors_of(3.0, 2.0), floors_of(2.0, 8.0)])
    assert [(floor.precision, floor.flops, floor.how) for floor in found] == [("f", 3.0, "3.0"), ("b", 9.0, "9.0")]


@pytest.mark.gpu
def test_the_floor_of_a_device_is_of_bfloat16_for_all():
    found = measure_floors(torch.device("cuda"))
    assert found[0].flops == found[1].flops > 1e12
    assert "bfloat16" in found[0].how
