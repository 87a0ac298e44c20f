"""Work in other processes, whatever a function does to them."""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import get_context

import pytest

from gaga.core.errors import InvalidInput, Unavailable
from gaga.core.processes import _AHEAD, Isolated, Limit, Workers, end_quietly
from gaga.core.text import checked_kind


def test_results_are_in_the_order_of_the_items_and_processes_serve_again():
    with Workers(partial(pow, 2), 2, remedy="") as workers:
        assert workers.pids == []
        assert list(workers.map(range(30))) == [2**n for n in range(30)]
        first = workers.pids
        assert list(workers.map([])) == []
        assert list(workers.map([5])) == [32]
        assert workers.pids == first
        assert len(set(first)) == 2


def test_items_are_taken_only_so_far_ahead():
    numbers = count()
    with Workers(partial(pow, 2), 2, remedy="") as workers:
        results = workers.map(numbers)
        assert [next(results) for _ in range(3)] == [1, 2, 4]
        assert next(numbers) <= 3 + 2 * _AHEAD


def test_a_refusal_comes_back_as_its_line():
    with Workers(checked_kind, 1, remedy="") as workers:
        assert list(workers.map(["a", "b"])) == ["a", "b"]
        with pytest.raises(InvalidInput, match=r"a kind is of the characters .* \(received 'A B'\)"):
            list(workers.map(["A B"]))


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_process_that_is_killed_is_noticed_at_once():
    began = time.monotonic()
    with Workers(time.sleep, 2, remedy="do so") as workers:
        results = workers.map([0.01] * 4 + [1.0] * 200)
        for _ in range(4):
            next(results)
        os.kill(workers.pids[0], signal.SIGKILL)
        with pytest.raises(Unavailable, match=r"ended early\. Do so\."):
            list(results)
    assert time.monotonic() - began < 60


@dataclass(frozen=True)
class Naps:
    """Sleeps of so many seconds, some of which are given up."""

    seconds: tuple[float, ...]
    given_up: frozenset[int] = frozenset()

    def without(self, part: int) -> "Naps":
        return Naps(self.seconds, self.given_up | {part})


def nap(naps, begin):
    slept = []
    for part, seconds in enumerate(naps.seconds):
        if part not in naps.given_up:
            begin(part)
            time.sleep(seconds)
            slept.append(part)
    return slept


@pytest.mark.parametrize("processes", [1, 2])
def test_parts_that_take_too_long_are_given_up_and_the_rest_is_done(processes):
    items = [Naps((0.0, 0.01)), Naps((0.0, 600.0, 0.0, 600.0)), Naps(()), Naps((0.2,) * 8)]
    began = time.monotonic()
    with Workers(nap, processes, remedy="", limit=Limit(1.0, Naps.without)) as workers:
        assert list(workers.map(items)) == [[0, 1], [0, 2], [], list(range(8))]
        assert len(workers.pids) == processes
        assert list(workers.map([Naps((0.0,))])) == [[0]]
    assert time.monotonic() - began < 60


def test_time_is_not_up_for_what_was_done_while_nobody_looked():
    with Workers(nap, 2, remedy="", limit=Limit(0.5, Naps.without)) as workers:
        results = workers.map([Naps((0.01,) * 3)] * 6)
        assert next(results) == [0, 1, 2]
        time.sleep(1.5)
        assert list(results) == [[0, 1, 2]] * 5


def test_time_is_up_while_others_are_busy():
    began = time.monotonic()
    with Workers(nap, 2, remedy="", limit=Limit(1.0, Naps.without)) as workers:
        results = list(workers.map([Naps((600.0,)), *[Naps((0.001,) * 100)] * 60]))
    assert results == [[], *[list(range(100))] * 60]
    assert time.monotonic() - began < 60


def test_a_limit_may_be_longer_than_any_clock():
    with Workers(nap, 1, remedy="", limit=Limit(1e30, Naps.without)) as workers:
        assert list(workers.map([Naps((0.0, 0.0))])) == [[0, 1]]


def _slow(seconds: float) -> int:
    with suppress(OSError):
        time.sleep(seconds)
    return os.getpid()


def _give_up(pids: list[int]) -> None:
    """Begin work of minutes, note who does it, and be interrupted."""
    with Workers(_slow, 2, remedy="") as workers:
        pids.append(next(workers.map([0.01, 300.0, 300.0])))
        pids[:] = workers.pids
        raise KeyboardInterrupt


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")
def test_whoever_gives_up_does_not_wait_for_work_that_nobody_takes():
    began = time.monotonic()
    pids = []
    with pytest.raises(KeyboardInterrupt):
        _give_up(pids)
    assert len(pids) == 2
    assert time.monotonic() - began < 100
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _ends_slowly(connection):
    end_quietly()
    try:
        connection.send("at work")
        time.sleep(60)
    finally:
        connection.send("putting things in order")
        time.sleep(0.5)
        connection.send("in order")


def test_a_process_that_is_told_twice_to_end_puts_things_in_order_and_says_nothing(capfd):
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_ends_slowly, args=(there,))
    process.start()
    for words in ("at work", "putting things in order"):
        assert here.recv() == words
        process.terminate()
    assert here.recv() == "in order"
    process.join(30)
    assert process.exitcode == 143
    assert capfd.readouterr().err == ""


def obey(content: bytes) -> bytes:
    """Do what the bytes say."""
    if content == b"die":
        ctypes.string_at(0)
    if content == b"hang":
        time.sleep(60)
    if content == b"grow":
        return bytes(bytearray(1 << 33))[:1]
    if content in (b"", b"refuse"):
        raise ValueError("no")
    return content * 2


@pytest.fixture(scope="module")
def isolated():
    with Isolated(obey, seconds=2.0, most=100) as found:
        yield found


def test_bytes_go_and_come(isolated):
    assert isolated(b"ab") == b"abab"
    with pytest.raises(ValueError, match="no"):
        isolated(b"refuse")
    assert isolated(b"cd") == b"cdcd"


def test_a_process_that_dies_is_an_error_of_its_bytes_alone(isolated):
    with pytest.raises(ValueError, match="dies of it"):
        isolated(b"die")
    assert isolated(b"ab") == b"abab"


def test_an_answer_that_is_too_long_is_an_error(isolated):
    with pytest.raises(ValueError, match="dies of it"):
        isolated(b"x" * 60)
    assert isolated(b"ab") == b"abab"


def test_what_takes_too_long_is_ended():
    with Isolated(obey, seconds=0.2, most=100) as isolated:
        with pytest.raises(ValueError, match="too long"):
            isolated(b"hang")
        assert isolated(b"ab") == b"abab"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_memory_has_an_end(isolated):
    with pytest.raises(ValueError):
        isolated(b"grow")
    assert isolated(b"ab") == b"abab"
