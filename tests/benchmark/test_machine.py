import subprocess

import pytest
import torch

from gaga.benchmark import machine
from gaga.benchmark.machine import commit_of, describe_machine
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
    assert found.code == f"gaga {found.gaga_version}"


def test_a_system_that_says_little(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "missing")
    assert machine.processor_name() != ""
    assert machine.installed("no-such-package") == ""


@pytest.mark.gpu
def test_a_gpu():
    found = describe_machine(torch.device("cuda:0"), "")
    assert found.device_memory > 1 << 30
    assert found.cuda
    assert found.device_name != found.processor
