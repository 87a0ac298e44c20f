import argparse
import pickle
from contextlib import suppress

import pytest

from gaga.core.errors import InvalidInput
from gaga.storage.pickles import Built, Global, Refused, read_plain
from tests.models.hostile import hostile_pickles

NAMESPACE = Global("argparse", "Namespace")
PLAIN = {"a": [1, 4.5, "x", None, True, (1, 2), {"b": [2**70, -1]}], "lr": 1e-4, "å": "", "again": "x"}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_what_pickle_makes_of_them(protocol):
    built = read_plain(pickle.dumps(argparse.Namespace(**PLAIN), protocol), frozenset({NAMESPACE}))
    assert isinstance(built, Built)
    assert (built.of, built.arguments, built.state) == (NAMESPACE, (), PLAIN)
    for old in (0, 1):
        assert read_plain(pickle.dumps(PLAIN, old), frozenset()) == PLAIN


@pytest.mark.parametrize("number", range(len(list(hostile_pickles(".")))))
def test_nothing_in_a_pickle_is_executed(number, tmp_path):
    name, data = list(hostile_pickles(tmp_path / "trap"))[number]
    allowed = frozenset({NAMESPACE, Global("torch._utils", "_rebuild_tensor_v2")})
    before = dict(vars(argparse.Namespace))
    with suppress(InvalidInput):
        value = read_plain(data, allowed)
        assert isinstance(value, Built | list), name  # what was asked for, not made
    assert not (tmp_path / "trap").exists(), name
    assert dict(vars(argparse.Namespace)) == before


SHARED = Global("numpy", "dtype")
KIND = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR"


def test_a_request_that_may_be_shared_holds_scalars_alone():
    shared = frozenset({SHARED})
    first, second = read_plain(b"\x80\x02(" + KIND + b"q\x00h\x00t.", shared, shared=shared)
    assert first is second
    for holds in (b"q\x00(h\x00tb.", b"q\x00]b.", b"q\x00(NNNNNN}tb.", b"q\x00]h\x00as."):
        with pytest.raises(InvalidInput, match="not a pickle"):
            read_plain(b"\x80\x02" + KIND + holds, shared, shared=shared)
    with pytest.raises(InvalidInput, match="twice"):
        read_plain(b"\x80\x02(" + KIND + b"q\x00h\x00t.", shared)


def test_whoever_asks_for_what_is_not_allowed_is_named():
    with pytest.raises(Refused, match=r"asks for os\.mkdir, which no molecule needs"):
        read_plain(b"cos\nmkdir\n.", frozenset(), whose="molecule")


def test_a_program_without_an_end_is_stopped(monkeypatch):
    monkeypatch.setattr("gaga.storage.pickles.MAX_STEPS", 100)
    with pytest.raises(InvalidInput, match="over 100 steps"):
        read_plain(b"\x80\x02(" + b"N" * 120 + b"t.", frozenset())
