"""Ordered work in processes that notice each other's end.

Each process has a pipe of its own and nothing else in common with the others or with this one: where one is killed
nobody waits for it, and where this one is, they read the end of their pipe and go.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Generic, TypeVar, cast

from gaga.base.errors import GagaError, InvalidInput, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # items for each process that are begun and not yet taken
_PATIENCE = 5.0  # seconds for a process that is told to end
_ENDED = "a working process ended early"


class Workers(Generic[Item, Result]):
    """Processes that apply a function to items; a context manager.

    Args:
        function: what each of them does; it can be pickled.
        processes: how many; they start with the first item.
        remedy: what to do when one has ended early.
    """

    def __init__(self, function: Callable[[Item], Result], processes: int, *, remedy: str) -> None:
        self._function, self._processes, self._remedy = function, processes, remedy
        self._workers: dict[Connection, BaseProcess] = {}

    @property
    def pids(self) -> list[int | None]:
        """The processes' numbers; none before the first item."""
        return [process.pid for process in self._workers.values()]

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """The function of each item, in their order; each goes to the first process that is idle.

        Raises:
            InvalidInput: the function raised a `GagaError`.
            Unavailable: a process has ended early.
        """
        if not self._workers:
            self._workers = dict(_start(self._function) for _ in range(self._processes))
        numbered, answers, taken = enumerate(items), dict[int, Result](), 0
        idle, busy = list(self._workers), dict[Connection, int]()
        while True:
            room = min(len(idle), _AHEAD * self._processes - len(busy) - len(answers))
            for number, item in islice(numbered, max(room, 0)):
                connection = idle.pop()
                self._send(connection, item)
                busy[connection] = number
            if not busy:
                return
            for connection in cast(list[Connection], wait(list(busy))):
                answers[busy.pop(connection)] = self._answer(connection)
                idle.append(connection)
            while taken in answers:
                yield answers.pop(taken)
                taken += 1

    def _send(self, connection: Connection, item: Item) -> None:
        try:
            connection.send(item)
        except OSError as error:
            raise Unavailable(_ENDED, remedy=self._remedy) from error

    def _answer(self, connection: Connection) -> Result:
        try:
            result, refusal = connection.recv()
        except (EOFError, OSError) as error:
            raise Unavailable(_ENDED, remedy=self._remedy) from error
        if refusal:
            raise InvalidInput(refusal)
        return cast(Result, result)

    def __enter__(self) -> "Workers[Item, Result]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the processes go: after what they are at where all went well, else at once."""
        for connection, process in self._workers.items():
            connection.close()
            if error is not None:
                process.terminate()
        for process in self._workers.values():
            process.join(None if error is None else _PATIENCE)
            if process.is_alive():  # in a library that does not look up
                process.kill()
                process.join()


def _start(function: Callable[[Item], Result]) -> tuple[Connection, BaseProcess]:
    """A process at work. Spawned, not forked: a fork of a process that runs threads or CUDA may hang."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_work, args=(there, function), daemon=True)
    process.start()
    there.close()
    return here, process


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _work(connection: Connection, function: Callable[[Item], Result]) -> None:
    """Answer what comes through the pipe until its end; interruptions are the other side's matter.

    Whoever is told to end does so in order, and takes with it what it has started.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    with suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            try:
                connection.send((function(item), ""))
            except GagaError as error:
                connection.send((None, error.line))
