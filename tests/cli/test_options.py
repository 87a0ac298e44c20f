"""Steps, splits and fractions as users type them."""

import os
import sys

import pytest

from gaga.cli import options
from gaga.cli.errors import UsageError
from gaga.cli.sample import _sizes as parse_sizes


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("50:1000:50", tuple(range(50, 1001, 50))),
        ("300, 400,550", (300, 400, 550)),
        ("550,300:320:10,300", (300, 310, 320, 550)),
        ("7", (7,)),
        ("3:5", (3, 4, 5)),
    ],
)
def test_steps(text, steps):
    assert options.parse_steps(text, last=1000) == steps


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "100:50", "1:10:0", "-5", "1.5", "1,,2", "1:", "٣", "9" * 5000])
def test_steps_that_are_none(text):
    with pytest.raises(UsageError, match="--timesteps"):
        options.parse_steps(text, last=1000)


@pytest.mark.parametrize("text", ["0", "0:10", "1001", "999999999", "1:999999999"])
def test_steps_outside_the_schedule_name_the_range(text):
    with pytest.raises(UsageError, match="is not in 1 to 1000"):
        options.parse_steps(text, last=1000)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0", "0 is not in 1 to 100000"),
        ("0:29", "0 is not in 1 to 100000"),
        ("100001", "100001 is not in"),
        ("14:12", "14:12 begins at 14, above its end 12"),
        ("9,14:12", "14:12 begins at 14"),
        ("9:29:0", "a stride of 0"),
        ("abc", "'abc'"),
        ("9-29", "'9-29'"),
        ("", "''"),
        ("1.5", "'1.5'"),
        ("-3", "'-3'"),
    ],
)
def test_sizes_that_are_none_speak_of_atoms(text, why):
    with pytest.raises(UsageError, match="--sizes") as refused:
        parse_sizes(text)
    said = str(refused.value)
    assert why in said
    assert "write numbers of atoms such as 18 or 9,18,27 or 9:29" in said
    assert "step" not in said
    assert "stride" not in said.replace("a stride of 0", "")


def test_sizes():
    assert parse_sizes("18") == (18,)
    assert parse_sizes("29, 9:11") == (9, 10, 11, 29)


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.0001, float("nan"), float("inf")])
def test_fractions_that_are_none(fraction):
    with pytest.raises(UsageError, match="--fraction"):
        options.check_fraction(fraction)


def test_splits_ignore_case_and_refuse_others():
    assert options.check_split("Train") == "train"
    with pytest.raises(UsageError, match="train, valid, test, all"):
        options.check_split("training")


def test_threads_reach_the_libraries(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setitem(sys.modules, "torch", _Torch())
    options.use_threads(None)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    for variable in ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.setenv(variable, "7")
    options.use_threads(3)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "3"
    assert sys.modules["torch"].threads == 3


class _Torch:
    threads = 0

    def set_num_threads(self, count):
        self.threads = count
