"""`gaga sample` as several processes that torchrun starts, on the CPU."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import h5py
import pytest

from gaga.storage.store import Store
from tests.cli import processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun and signals of Unix")
# torchrun of Python 3.11 takes --n for one of its own options, wherever it stands.
SAMPLE = [
    "gaga",
    "sample",
    "-n",
    "20",
    "--batch-size",
    "4",
    "--checkpoint",
    "qm9_small",
    "--method",
    "ddpm",
    "--stride",
    "100",
    "--repeats",
    "2",
    "--store",
    "s.h5",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(ranks, *words):
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks else []
    return [sys.executable, *launch, "-m", *SAMPLE, *words]


def run(folder, size, *words):
    """One `gaga sample`, or as many processes as torchrun would start; what the first says."""
    if not size:
        return processes.run(folder, *SAMPLE[1:], *words)
    first, *others = (process.ended() for process in processes.ranks(folder, size, *SAMPLE[1:], *words))
    assert {other.returncode for other in others} == {first.returncode}, [other.stderr for other in others]
    assert all(not other.stdout for other in others)
    return first


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with what one process writes."""
    folder = tmp_path_factory.mktemp("alone")
    ran = run(folder, 0, "--out", "m.sdf", "--trajectory", "1", "--frames", "3", "--json")
    assert ran.returncode == 0, ran.stderr
    return folder, json.loads(ran.stdout)


def same_results(folder, other):
    """The SDF byte by byte, and the store but for the time."""
    assert (folder / "m.sdf").read_bytes() == (other / "m.sdf").read_bytes()
    one, two = (Store(f / "s.h5", shipped=False).require("sample", "m") for f in (folder, other))
    assert (one.digest, one.config, one.inputs, one.seed) == (two.digest, two.config, two.inputs, two.seed)
    assert {p.name for p in folder.iterdir()} == {p.name for p in other.iterdir()}


def test_two_processes_write_what_one_writes(alone, tmp_path):
    folder, told = alone
    ran = run(tmp_path, 2, "--out", "m.sdf", "--trajectory", "1", "--frames", "3", "--json")
    assert ran.returncode == 0, ran.stderr
    same_results(tmp_path, folder)
    assert ran.stderr.count("Sampling from") == 1
    found = json.loads(ran.stdout)
    for result in (found, told):
        result["stored"].pop("created")
    assert found == told
    again = run(tmp_path, 2, "--out", "m.sdf", "--trajectory", "1", "--frames", "3")
    assert again.returncode == 0
    assert again.stdout.count("Found sample/m") == 1


def children(pid):
    """The processes that this one started."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def rank_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return re.search(rb"(?:^|\0)RANK=(\d+)", file.read())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_run_whose_process_was_killed_goes_on_with_another_number_of_them(alone, tmp_path, victim):
    spools = {0: tmp_path / ".m.sdf.unfinished", 1: tmp_path / ".m.sdf.unfinished.r1"}
    words = ("--out", "m.sdf", "--trajectory", "1", "--frames", "3")
    with subprocess.Popen(
        command(2, *words), cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    ) as launcher:
        deadline = time.monotonic() + 120
        while not (spools[victim].exists() and spools[victim].stat().st_size > 1500) and time.monotonic() < deadline:
            assert launcher.poll() is None, launcher.communicate()
            time.sleep(0.01)
        ranks = {int(found[1]): pid for pid in children(launcher.pid) if (found := rank_of(pid))}
        os.kill(ranks[victim], signal.SIGKILL)
        told = launcher.communicate()[1]
    assert launcher.returncode != 0
    if victim == 1:
        assert re.search(r"^gaga: .*--resume", told, re.MULTILINE), told
    assert not (tmp_path / "s.h5").exists()
    refused = run(tmp_path, 0, *words)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    resumed = run(tmp_path, 0 if victim else 3, *words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming after" in resumed.stderr
    same_results(tmp_path, alone[0])


def test_a_refusal_is_told_once_and_changes_nothing(alone, tmp_path):
    (tmp_path / "m.sdf").write_text("mine")
    ran = run(tmp_path, 2, "--out", "m.sdf")
    assert ran.returncode != 0
    assert ran.stderr.count("m.sdf is already there") == 1
    assert (tmp_path / "m.sdf").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["m.sdf"]


def test_the_precision_is_stored(gaga, tmp_path):
    assert (
        gaga(
            "sample", "--n", "2", "--out", "m.xyz", "--method", "ddpm", "--stride", "100", "--precision", "bfloat16"
        ).code
        == 0
    )
    with h5py.File(tmp_path / "gaga.h5") as file:
        config = json.loads(file["sample/m"].attrs["config"])
    assert (config["kernel"], config["precision"]) == ("torch", "bfloat16")
    ran = gaga("sample", "--n", "1", "--out", "x.xyz", "--precision", "half")
    assert ran.code == 1
    assert "float32, bfloat16" in ran.err
