"""Ordered work on a stream of pieces, in processes if there is enough of it."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from gaga.core.errors import InvalidInput
from gaga.core.processes import Limit, Workers

Item = TypeVar("Item")
Result = TypeVar("Result")

_REMEDY = (
    'run it again with `resume=True`; in a script, call this under `if __name__ == "__main__":`, or with one worker'
)


def spread(
    function: Callable[..., Result],
    items: Iterable[Item],
    workers: int | None,
    *,
    worth: int,
    limit: Limit[Item] | None = None,
) -> Generator[Result]:
    """The function of each item, in their order and whatever the number of workers.

    Args:
        function: can be pickled.
        items: taken as they are needed.
        workers: processes; all cores if None; 1 for this process alone.
        worth: with fewer items, starting processes takes longer than the work, which is done here.
        limit: how long a part of an item may take. With a limit, other processes do the work, and the second argument
            of the function is a `Begin`.

    Raises:
        InvalidInput: fewer than one worker.
        Unavailable: a process ended early.
    """
    n_workers = (os.cpu_count() or 1) if workers is None else workers
    if n_workers < 1:
        raise InvalidInput("at least one worker is needed", received=n_workers)
    rest = iter(items)
    first = list(islice(rest, worth))
    everything = chain(first, rest)
    if limit is None and (n_workers == 1 or len(first) < worth):
        yield from map(function, everything)
        return
    with Workers[Item, Result](function, n_workers, remedy=_REMEDY, limit=limit) as processes:
        yield from processes.map(everything)


def in_chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last perhaps of fewer."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
