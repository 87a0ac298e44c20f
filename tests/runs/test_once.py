"""Computed once, found again, resumed, never mixed."""

import errno
from dataclasses import dataclass

import numpy as np
import pytest

from gaga.core.errors import Conflict, NotFound, Unavailable
from gaga.core.progress import Reporter
from gaga.runs.once import Key, Policy, once, slug
from gaga.runs.unfinished import partial_path
from gaga.storage import files
from gaga.storage.files import unwritable
from gaga.storage.store import Store


@dataclass(frozen=True)
class Number:
    value: float


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results.h5", shipped=False)


def key(**changes):
    return Key(**({"kind": "variance", "name": "v", "config": {"k": 2}, "inputs": {"qm9": "ab"}, "seed": 0} | changes))


def never(_):
    raise AssertionError("computed again")


def test_the_same_computation_is_found(store):
    first = once(store, key(), Number, lambda _: Number(1.5))
    again = once(store, key(config={"k": 2}), Number, never)
    assert (first.found, again.found) == (False, True)
    assert again.result == Number(1.5)
    assert again.entry.digest == first.entry.digest


@pytest.mark.parametrize("changes", [{"config": {"k": 3}}, {"inputs": {"qm9": "cd"}}, {"seed": 1}])
def test_another_computation_needs_a_name_or_replace(store, changes):
    once(store, key(), Number, lambda _: Number(1.5))
    with pytest.raises(Conflict, match="`name`, or add `replace=True`"):
        once(store, key(**changes), Number, never)
    replaced = once(store, key(**changes), Number, lambda _: Number(2.5), Policy(replace=True))
    assert store.get("variance", "v", Number) == Number(2.5) == replaced.result
    assert once(store, key(**changes, name="w"), Number, lambda _: Number(3.5)).found is False


def test_a_store_that_cannot_be_written_is_rejected_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(NotFound, match="folder of the store"):
        once(Store(tmp_path / "no" / "r.h5"), key(), Number, never)
    monkeypatch.setattr(files.os, "access", lambda path, mode: mode != files.os.W_OK)
    with pytest.raises(Unavailable, match="cannot be written"):
        once(Store(tmp_path / "r.h5", shipped=False), key(), Number, never)


def test_what_another_process_stored_meanwhile_is_returned(store):
    """The numbers of two processes, one without locks, differ in the last bit: both return what is kept."""

    def overtaken(_):
        key().put(store, Number(1.0), replace=False)
        return Number(1.0 + 2**-52)

    outcome = once(store, key(), Number, overtaken)
    assert outcome.result == Number(1.0)
    assert outcome.found


def test_slug():
    assert slug("my file/a") == "my_file_a"
    assert slug("../../x") == ".._.._x"
    assert slug("..") == "__"
    assert slug("a\x1b[0m") == "a_[0m"


class Notes(Reporter):
    def __init__(self):
        self.said = []

    def note(self, line):
        self.said.append(line)


def policy(resume, replace=False, engine="numpy"):
    return Policy(resume=resume, replace=replace, engine=lambda: engine)


def summed(folder, notes, policy, each, stop=False):
    """A computation of three pieces; the last is never reached if it is to `stop`."""

    def compute(pieces):
        for piece in "abc":
            if piece not in pieces:
                if stop and piece == "c":
                    raise KeyboardInterrupt
                pieces.put(piece, {"number": np.array(each)})
        return Number(sum(float(pieces.get(piece)["number"]) for piece in "abc"))

    wanted = Key(kind="total", name="it", config={"each": each}, inputs={})
    return once(Store(folder / "s.h5", shipped=False), wanted, Number, compute, policy, notes).result.value


def test_a_result_that_is_computed_on_the_way_to_another_resumes_by_itself(tmp_path):
    notes = Notes()
    with pytest.raises(KeyboardInterrupt, match=r"^what was computed is kept, and the same command continues$"):
        summed(tmp_path, notes, policy(None), 1, stop=True)
    with pytest.raises(Conflict, match="started with another each"):
        summed(tmp_path, notes, policy(None), 2)
    with pytest.raises(Conflict, match="started with another engine"):
        summed(tmp_path, notes, policy(None, engine="cuda"), 1)
    assert notes.said == []
    with pytest.raises(KeyboardInterrupt):
        summed(tmp_path, notes, policy(None, replace=True), 1, stop=True)
    assert summed(tmp_path, notes, policy(None), 1) == 3
    assert notes.said == ["Resuming total/it, which was interrupted."] * 2
    assert {path.name for path in tmp_path.iterdir()} <= {"s.h5", "s.h5.lock"}


def test_resuming_what_never_began_begins_and_says_so(tmp_path):
    notes = Notes()
    assert summed(tmp_path, notes, policy(True), 1) == 3
    assert notes.said == [
        "No unfinished run of total/it to resume: it begins now. To resume another run, stop and check `name` and "
        "`store`."
    ]
    assert summed(tmp_path, notes, policy(True), 1) == 3
    assert len(notes.said) == 1, "it is found"


@pytest.mark.parametrize("resume", [None, False])
def test_replacing_starts_over_with_other_settings(resume, tmp_path):
    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        summed(tmp_path, notes, policy(False), 1, stop=True)
    assert summed(tmp_path, notes, policy(resume, replace=True), 2) == 6
    assert notes.said == []


def test_replacing_a_stored_result_is_resumed_if_both_are_asked_for(tmp_path):
    notes = Notes()
    assert summed(tmp_path, notes, policy(False), 1) == 3
    with pytest.raises(KeyboardInterrupt):
        summed(tmp_path, notes, policy(False, replace=True), 2, stop=True)
    assert summed(tmp_path, notes, policy(False), 1) == 3, "found, and what is unfinished stays"
    assert summed(tmp_path, notes, policy(True, replace=True), 2) == 6
    assert len(notes.said) == 1


def test_a_store_without_room_keeps_what_was_computed_and_says_so(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise unwritable(tmp_path / "s.h5", OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as broken:
        broken.setattr(Store, "put", full)
        with pytest.raises(Unavailable, match=r"free some space; what was computed is kept, and .* continues\.$"):
            summed(tmp_path, Notes(), policy(False), 1)
    notes = Notes()
    assert summed(tmp_path, notes, policy(True), 1, stop=True) == 3, "nothing is computed again"
    assert len(notes.said) == 1


def test_nothing_finished_is_nothing_kept(tmp_path):
    def compute(pieces):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="nothing was finished yet, and the same command starts over"):
        once(Store(tmp_path / "s.h5"), key(), Number, compute, policy(False))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["as it is", "Å", "💊" * 40, "x" * 255, "con", "a:b*c?", "%2F", ".."])
def test_any_name_of_a_result_has_partial_results_of_its_own(name, tmp_path):
    paths = {partial_path(tmp_path / "gaga.h5", "evaluation", text) for text in (name, name + "2")}
    assert len(paths) == 2
    for path in paths:
        assert path.parent == tmp_path
        path.write_bytes(b"")
