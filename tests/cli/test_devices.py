"""Devices by the names that users type."""

import pytest
import torch

from gaga.base.errors import Unavailable
from gaga.cli.commands import UsageError
from gaga.cli.devices import check_device, check_statistics_device, statistics_device, torch_device


@pytest.mark.parametrize(
    ("name", "parts"), [("auto", ("auto", "")), ("CPU", ("cpu", "")), ("cuda:12", ("cuda", "12")), ("mps", ("mps", ""))]
)
def test_names(name, parts):
    assert check_device(name) == parts


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "cpu:0", "auto:1", "cuda:-1"])
def test_names_that_are_none(name):
    for check in (check_device, check_statistics_device, torch_device, statistics_device):
        with pytest.raises(UsageError, match="choose from auto, cpu"):
            check(name)


def test_statistics_need_float64():
    with pytest.raises(Unavailable, match="float64, which MPS does not have"):
        check_statistics_device("mps")


@pytest.fixture
def cards(monkeypatch):
    """A machine with so many CUDA devices."""

    def set_number(number):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")

    return set_number


def test_statistics_run_on_cuda_where_there_is_one(cards):
    cards(0)
    assert statistics_device("auto") == statistics_device("cpu") == (None, "cpu")
    with pytest.raises(Unavailable, match="no such CUDA device"):
        statistics_device("cuda")
    cards(2)
    assert statistics_device("cpu") == (None, "cpu")
    assert statistics_device("auto") == ("cuda", "cuda (Card)")
    assert statistics_device("CUDA:1") == ("cuda:1", "cuda:1 (Card)")
    with pytest.raises(Unavailable, match="no such CUDA device"):
        statistics_device("cuda:2")
