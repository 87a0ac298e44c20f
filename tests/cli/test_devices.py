"""Devices by the names that users type, and processes by the environment of torchrun."""

import pytest
import torch

from gaga.cli.errors import UsageError
from gaga.cli.options import device_name
from gaga.cli.torchrun import ranks_from_environment
from gaga.core.errors import InvalidInput, Unavailable
from gaga.models.ranks import Ranks
from gaga.runs.devices import judging_processes, parse_device, statistics_device, torch_device


@pytest.mark.parametrize(
    ("name", "parts"), [("auto", ("auto", "")), ("CPU", ("cpu", "")), ("cuda:12", ("cuda", "12")), ("mps", ("mps", ""))]
)
def test_names(name, parts):
    assert parse_device(name) == parts


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "cpu:0", "auto:1", "cuda:-1"])
def test_names_that_are_none(name):
    for check in (parse_device, torch_device, statistics_device):
        with pytest.raises(InvalidInput, match=r"(?i)choose from auto, cpu"):
            check(name)
    with pytest.raises(UsageError, match="choose from auto, cpu"):
        device_name(name)


def test_statistics_need_float64():
    with pytest.raises(Unavailable, match="float64, which MPS does not have"):
        statistics_device("mps")


@pytest.fixture
def cards(monkeypatch):
    """A machine with so many CUDA devices."""

    def set_number(number):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)

    return set_number


def test_statistics_run_on_cuda_where_there_is_one(cards):
    cards(0)
    assert statistics_device("auto") == statistics_device("cpu") == (None, "cpu")
    with pytest.raises(Unavailable, match="no such CUDA device"):
        statistics_device("cuda")
    cards(2)
    assert statistics_device("cpu") == (None, "cpu")
    assert statistics_device("auto") == ("cuda:0", "cuda:0 (Card)")
    assert statistics_device("CUDA:1") == ("cuda:1", "cuda:1 (Card)")
    with pytest.raises(Unavailable, match="no such CUDA device"):
        statistics_device("cuda:2")


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    def settings(**variables):
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return settings


def test_ranks_are_those_of_torchrun(environment):
    environment()
    assert ranks_from_environment() == Ranks(0, 1, 0)
    environment(**TORCHRUN)
    assert ranks_from_environment() == Ranks(3, 8, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": "8"}, "do not fit"),
        ({"LOCAL_RANK": "4"}, "do not fit"),
        ({"WORLD_SIZE": "0"}, "do not fit"),
        ({"RANK": "-1"}, "RANK is not a number"),
        ({"MASTER_PORT": ""}, "MASTER_PORT"),
    ],
)
def test_ranks_that_cannot_be_are_refused(environment, changes, message):
    environment(**TORCHRUN | changes)
    with pytest.raises(InvalidInput, match=message) as error:
        ranks_from_environment()
    assert "torchrun" in error.value.line


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two CUDA devices; returns those that were made the current one."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_takes_its_own_gpu(two_gpus, name):
    assert torch_device(name) == torch.device("cuda:0")
    assert torch_device(name, Ranks(3, 4, 1)) == torch.device("cuda:1")
    assert torch_device("cuda:1") == torch.device("cuda:1")
    assert torch_device("CPU", Ranks(1, 2, 1)) == torch.device("cpu")
    assert two_gpus == [0, 1, 1]


def test_more_processes_than_gpus_are_refused(two_gpus):
    with pytest.raises(Unavailable, match=r"at most 2 processes"):
        torch_device("auto", Ranks(2, 3, 2))
    with pytest.raises(InvalidInput, match="own GPU"):
        torch_device("cuda:0", Ranks(0, 2, 0))
    with pytest.raises(InvalidInput, match=r"(?i)choose from"):
        torch_device("gpu")


def test_cores_that_a_gpu_leaves_idle_judge(two_gpus, monkeypatch):
    for cores, processes in ((1, 1), (4, 1), (8, 3), (128, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda pid, n=cores: set(range(n)), raising=False)
        assert judging_processes(torch.device("cuda:1")) == processes
        assert judging_processes(torch.device("cpu")) == 1


def test_a_command_of_one_process_is_not_started_several_times(gaga, environment):
    environment(**TORCHRUN | {"RANK": "1", "LOCAL_RANK": "1"})
    ran = gaga("store", "list")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("gaga (rank 1): gaga store is the work of one process")
    environment(**TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"})
    assert gaga("store", "list").code == 0
