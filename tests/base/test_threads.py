import threading

import pytest

from gaga.base.threads import ahead, map_in_threads


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


def numbers_until(failure, made):
    for i in range(1000):
        if i == failure:
            raise ZeroDivisionError
        made.append(i)
        yield i


def test_what_is_made_ahead_comes_in_order_and_from_another_thread():
    threads = set()

    def items():
        for i in range(50):
            threads.add(threading.get_ident())
            yield i

    assert list(ahead(items(), 3)) == list(range(50))
    assert threading.get_ident() not in threads
    assert len(threads) == 1


def test_no_more_than_the_depth_is_made_ahead_and_closing_ends_the_thread():
    before, made = threading.active_count(), []
    items = ahead(numbers_until(None, made), 3)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert len(made) <= 5
    assert threading.active_count() == before


def test_a_failure_ahead_is_met_where_its_item_is_asked_for():
    items = ahead(numbers_until(4, []), 3)
    assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        next(items)
