"""Work on a stream, here or in processes: the same results in the same order."""

import os
from functools import partial
from itertools import count

import pytest

from gaga.core.errors import InvalidInput
from gaga.data.spread import in_chunks, spread


def _who(number: int) -> tuple[int, int]:
    return number, os.getpid()


def test_few_items_are_done_here_and_many_in_processes():
    assert {pid for _, pid in spread(_who, range(3), 2, worth=4)} == {os.getpid()}
    assert {pid for _, pid in spread(_who, range(30), 1, worth=4)} == {os.getpid()}
    found = list(spread(_who, range(30), 2, worth=4))
    assert [number for number, _ in found] == list(range(30))
    assert os.getpid() not in {pid for _, pid in found}


def test_items_are_taken_as_they_are_needed():
    numbers = count()
    results = spread(partial(pow, 2), numbers, 1, worth=4)
    assert [next(results) for _ in range(3)] == [1, 2, 4]
    assert next(numbers) == 4


def test_no_worker_does_nothing():
    with pytest.raises(InvalidInput, match="at least one worker"):
        list(spread(_who, range(3), 0, worth=4))


def test_chunks():
    assert list(in_chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_chunks([], 3)) == []
