import threading

import pytest

from gaga.base.threads import map_in_threads


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
