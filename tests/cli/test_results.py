"""Computed once, found again, never mixed."""

import os
from dataclasses import dataclass

import pytest

from gaga.cli.results import Key, compute_once, locate, slug
from gaga.core.errors import Conflict, NotFound, Unavailable
from gaga.storage import files
from gaga.storage.store import Store


@dataclass(frozen=True)
class Number:
    value: float


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results.h5", shipped=False)


def key(**changes):
    return Key(**({"kind": "variance", "name": "v", "config": {"k": 2}, "inputs": {"qm9": "ab"}, "seed": 0} | changes))


def never():
    raise AssertionError("computed again")


def test_the_same_computation_is_found(store):
    first = compute_once(store, key(), Number, lambda: Number(1.5))
    again = compute_once(store, key(config={"k": 2}), Number, never)
    assert (first.found, again.found) == (False, True)
    assert again.result == Number(1.5)
    assert again.entry.digest == first.entry.digest


@pytest.mark.parametrize("changes", [{"config": {"k": 3}}, {"inputs": {"qm9": "cd"}}, {"seed": 1}])
def test_another_computation_needs_a_name_or_replace(store, changes):
    compute_once(store, key(), Number, lambda: Number(1.5))
    with pytest.raises(Conflict, match="--name, or add --replace"):
        compute_once(store, key(**changes), Number, never)
    replaced = compute_once(store, key(**changes), Number, lambda: Number(2.5), replace=True)
    assert store.get("variance", "v", Number) == Number(2.5) == replaced.result
    assert compute_once(store, key(**changes, name="w"), Number, lambda: Number(3.5)).found is False


def test_a_store_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(NotFound, match="folder of the store"):
        compute_once(Store(tmp_path / "no" / "r.h5"), key(), Number, never)
    monkeypatch.setattr(files.os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(Unavailable, match="cannot be written"):
        compute_once(Store(tmp_path / "r.h5", shipped=False), key(), Number, never)


def test_what_another_process_stored_meanwhile_is_what_is_told(store):
    """The same command twice at once, whose numbers differ in the last bit: both tell what is kept."""

    def overtaken():
        compute_once(store, key(), Number, lambda: Number(1.0))
        return Number(1.0 + 2**-52)

    outcome = compute_once(store, key(), Number, overtaken)
    assert outcome.result == Number(1.0)
    assert outcome.found


def test_results_are_located_by_name_or_by_kind_and_name(store):
    for kind in ("variance", "tstar"):
        compute_once(store, key(kind=kind), Number, lambda: Number(1.0))
    compute_once(store, key(name="Only"), Number, lambda: Number(1.0))
    assert locate(store, "ONLY").name == "Only"
    assert locate(store, "tstar/V").kind == "tstar"
    with pytest.raises(Conflict, match="tstar/v or variance/v"):
        locate(store, "v")
    with pytest.raises(NotFound, match=r"(?i)did you mean Only"):
        locate(store, "onlyy")
    with pytest.raises(NotFound):
        locate(store, "variance/none")


def test_slug():
    assert slug("my file/a") == "my_file_a"
    assert slug("../../x") == ".._.._x"
    assert slug("..") == "__"
    assert slug("a\x1b[0m") == "a_[0m"
