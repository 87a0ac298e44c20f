"""Ordered work in threads: array operations of numpy and torch release the interpreter's lock."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, *, stop: Event | None = None
) -> Iterator[Result]:
    """function of each item, in their order, at most 2 * threads of them begun and not yet taken.

    `stop` is set when the map ends, early or not: a function that takes long looks at it, so that the end does not wait
    for results that are not needed.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            if stop is not None:
                stop.set()
            for future in pending:
                future.cancel()


def ahead(items: Iterable[Item], depth: int, *, stop: Event | None = None) -> Iterator[Item]:
    """The items in their order, made in one thread of their own, at most `depth` before they are taken.

    `stop` is set when the end is reached or no more is taken, as for `map_in_threads`.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as maker:
        pending = deque(maker.submit(next, iterator, end) for _ in range(depth))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(maker.submit(next, iterator, end))
                yield cast(Item, item)
        finally:
            if stop is not None:
                stop.set()
            for future in pending:
                future.cancel()
            if isinstance(iterator, Generator):
                maker.submit(iterator.close)
