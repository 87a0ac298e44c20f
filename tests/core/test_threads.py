import threading

import pytest

from gaga.core.threads import ahead, map_in_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    assert list(map_in_threads(lambda i: i * i, range(37), threads)) == [i * i for i in range(37)]


def test_no_more_is_begun_than_can_be_taken():
    begun = []
    results = map_in_threads(lambda i: begun.append(i), range(1000), 2)
    next(results)
    assert len(begun) <= 5
    results.close()
    assert len(begun) <= 6


def test_a_failure_reaches_the_caller_and_the_threads_end():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda i: 1 / (3 - i), range(10), 2))
    assert threading.active_count() == before


@pytest.mark.parametrize("depth", [1, 3])
def test_items_are_made_ahead_in_their_order_and_no_more_than_asked_for(depth):
    made = []

    def items():
        for i in range(20):
            made.append(i)
            yield i

    results = ahead(items(), depth)
    assert [next(results) for _ in range(5)] == list(range(5))
    assert len(made) <= 5 + depth
    assert list(results) == list(range(5, 20))
    assert list(ahead([], depth)) == []


def test_who_stops_taking_ends_the_maker_in_its_own_thread():
    stop, ended = threading.Event(), []

    def items():
        try:
            while True:
                yield threading.current_thread()
        finally:
            ended.append((stop.is_set(), threading.current_thread()))

    results = ahead(items(), 2, stop=stop)
    maker = next(results)
    assert maker is not threading.current_thread()
    results.close()
    assert ended == [(True, maker)]


def test_a_failure_ahead_reaches_the_taker():
    results = ahead((1 // (2 - i) for i in range(5)), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
