import argparse
import pickle
from contextlib import suppress

import pytest

from gaga.base.errors import InvalidInput
from gaga.base.plain_pickle import Built, Global, read_plain
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
