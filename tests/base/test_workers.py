import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from itertools import count

import pytest

from gaga.base.errors import InvalidInput, Unavailable
from gaga.base.names import checked_kind
from gaga.base.workers import _AHEAD, Workers


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
