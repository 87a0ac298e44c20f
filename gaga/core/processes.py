"""Work in other processes: `Workers` apply a function to items in order, `Isolated` calls one on untrusted bytes.

Each process has a pipe of its own and nothing else in common with the others or with this one: no process waits for one
that is killed, and when this one is killed, they read the end of their pipe and end. Work that may never end, in code
that cannot be interrupted, is given up by ending its process.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Lock
from types import FrameType, ModuleType
from typing import Any, Generic, TypeVar, cast

from gaga.core.errors import GagaError, InvalidInput, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # items for each process that are begun and not yet taken
_PATIENCE = 5.0  # seconds for a process that was asked to end
_MOMENT = 0.5  # the same for one that has taken too long and probably does not respond
_MAIN_LOCK = Lock()
_LONGEST_WAIT = 3600.0  # s at a time; the system takes no number beyond some weeks
_ENDED = "a working process ended early"
_STARTING = 120.0  # seconds until the libraries of an isolated process are loaded
_MEMORY = 1 << 31  # bytes that it may take beyond those of its libraries
_DONE, _REFUSED = b"\0", b"\1"

Begin = Callable[[int], None]
"""Receives the number of the part of an item that begins now."""


@dataclass(frozen=True)
class Limit(Generic[Item]):
    """When a process has taken too long, and what is done then.

    Attributes:
        seconds: wall time for one part of an item, from when it is begun until the next is, or the item is done.
        without: the item whose part of this number is not worked on; it is begun again in a new process.
    """

    seconds: float
    without: Callable[[Item, int], Item]


@dataclass(eq=False)
class _Task(Generic[Item]):
    """An item in work: its number, the part that was begun last and when that has taken too long."""

    number: int
    item: Item
    part: int = -1
    deadline: float = float("inf")


class Workers(Generic[Item, Result]):
    """Processes that apply a function to items; a context manager.

    Args:
        function: what each of them does with an item; it can be pickled. With a limit, `Begin` is its second argument.
        processes: how many; they start with the first item.
        remedy: what to do when one has ended early.
        limit: how long a part of an item may take; None for as long as it takes.
    """

    def __init__(
        self,
        function: Callable[[Item], Result] | Callable[[Item, Begin], Result],
        processes: int,
        *,
        remedy: str,
        limit: Limit[Item] | None = None,
    ) -> None:
        self._function, self._processes, self._remedy, self._limit = function, processes, remedy, limit
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
        while len(self._workers) < self._processes:
            self._start()
        numbered, answers, taken = enumerate(items), dict[int, Result](), 0
        idle, busy = list(self._workers), dict[Connection, _Task[Item]]()
        while True:
            room = min(len(idle), _AHEAD * self._processes - len(busy) - len(answers))
            for number, item in islice(numbered, max(room, 0)):
                self._send(idle[-1], item)
                busy[idle.pop()] = _Task(number, item)
            if not busy:
                return
            for connection, answer in self._answers(busy):
                answers[busy.pop(connection).number] = answer
                idle.append(connection)
            while taken in answers:
                yield answers.pop(taken)
                taken += 1

    def _answers(self, busy: dict[Connection, _Task[Item]]) -> Iterator[tuple[Connection, Result]]:
        """What is ready, after waiting for something; tasks that have taken too long go to a new process."""
        first = min(task.deadline for task in busy.values())
        patience = None if first == float("inf") else min(max(0.0, first - time.monotonic()), _LONGEST_WAIT)
        ready = cast(list[Connection], wait(list(busy), patience))
        for connection in ready:
            message = self._receive(connection)
            if isinstance(message, int):
                self._begun(busy[connection], message)
            else:
                yield connection, self._result(message)
        now = time.monotonic()
        # If a mark is still to be read, the deadline is that of an earlier part.
        for connection in [c for c, task in busy.items() if task.deadline <= now and c not in ready]:
            self._give_up(connection, busy)

    def _begun(self, task: _Task[Item], part: int) -> None:
        if self._limit is not None:
            task.part, task.deadline = part, time.monotonic() + self._limit.seconds

    def _give_up(self, connection: Connection, busy: dict[Connection, _Task[Item]]) -> None:
        """End a process, and let a new one do the rest of its item."""
        task, process = busy.pop(connection), self._workers.pop(connection)
        end_now(process, _MOMENT)
        connection.close()
        rest = cast(Limit[Item], self._limit).without(task.item, task.part)
        successor = self._start()
        self._send(successor, rest)
        busy[successor] = _Task(task.number, rest)

    def _start(self) -> Connection:
        process, here = _spawned(_work, self._function, self._limit is not None)
        self._workers[here] = process
        return here

    def _send(self, connection: Connection, item: Item) -> None:
        try:
            connection.send(item)
        except OSError as error:
            raise Unavailable(_ENDED, remedy=self._remedy) from error

    def _receive(self, connection: Connection) -> Any:
        try:
            return connection.recv()
        except (EOFError, OSError) as error:
            raise Unavailable(_ENDED, remedy=self._remedy) from error

    @staticmethod
    def _result(message: Any) -> Result:
        result, refusal = message
        if refusal:
            raise InvalidInput(refusal)
        return cast(Result, result)

    def __enter__(self) -> "Workers[Item, Result]":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End the processes: after their current item if there was no error, else at once."""
        for connection, process in self._workers.items():
            connection.close()
            if error is not None:
                process.terminate()
        for process in self._workers.values():
            if error is None:
                process.join()
            else:
                end_now(process, _PATIENCE)


def _spawned(target: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """A process with its pipe. Spawned, not forked: a fork of a process that runs threads or CUDA may hang."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=target, args=(there, *arguments), daemon=True)
    with _main_out_of_sight():
        process.start()
    there.close()
    return process, here


@contextmanager
def _main_out_of_sight() -> Iterator[None]:
    """A spawned process begins by running the program's main file again, unless the main module has none.

    What works here are functions of modules. So a user's script needs no `if __name__ == "__main__":`, without which it
    would run again in every worker, and wait for the lock that the script itself holds.
    """
    with _MAIN_LOCK:
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def end_now(process: BaseProcess, patience: float) -> None:
    """Ask a process to end, and kill it after `patience` seconds: a library may not check for signals."""
    process.terminate()
    process.join(patience)
    if process.is_alive():
        process.kill()
        process.join()


def end_quietly() -> None:
    """Ignore signals to stop, which the process that this one works for receives too; end in order if it says so."""
    for name in ("SIGINT", "SIGHUP", "SIGUSR1"):  # which reach all processes of a terminal or of a batch job
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _ignore_sigterm()
    raise SystemExit(128 + number)


def _ignore_sigterm() -> None:
    """A second signal would interrupt what is put in order, or what other libraries do at the end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _work(connection: Connection, function: Callable[..., Any], marks: bool) -> None:
    """Answer what comes through the pipe until its end; interruptions are the other side's matter.

    A process that is asked to end does so in order, and ends the processes that it has started.
    """
    end_quietly()
    with suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            try:
                connection.send((function(item, connection.send) if marks else function(item), ""))
            except GagaError as error:
                connection.send((None, error.line))
    _ignore_sigterm()


class Isolated:
    """A function from bytes to bytes, which is called in another process; a context manager.

    A library in C may write to wrong memory if what it reads is damaged or hostile. If it crashes on such bytes, this
    process does not. Only plain bytes go to that process and come back; its memory and its time are limited.

    Args:
        function: can be pickled; raises ValueError for bytes that it does not understand.
        seconds: that one call may take.
        most: bytes that it may return.
    """

    def __init__(self, function: Callable[[bytes], bytes], *, seconds: float, most: int) -> None:
        self._function, self._seconds, self._most = function, seconds, most
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def __call__(self, content: bytes) -> bytes:
        """What the function makes of it.

        Raises:
            ValueError: it does not understand it, or the process died of it or took too long.
            Unavailable: no process can be started.
        """
        connection = self._connection or self._start()
        try:
            connection.send_bytes(content)
            if connection.poll(self._seconds):
                answer = connection.recv_bytes(self._most + 1)
                if answer[:1] == _DONE:
                    return answer[1:]
                raise ValueError(answer[1:].decode("utf-8", "replace"))
        except (EOFError, OSError):
            pass
        self.close()
        raise ValueError("whatever reads it dies of it, or takes too long")

    def _start(self) -> Connection:
        self._process, here = _spawned(_serve, self._function)
        self._connection = here
        try:
            if here.poll(_STARTING) and here.recv_bytes(len(_DONE)) == _DONE:
                return here
        except (EOFError, OSError):
            pass
        self.close()
        raise Unavailable(
            "no process can be started", remedy='in a script, call this under `if __name__ == "__main__":`'
        )

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            end_now(self._process, _MOMENT)
        self._connection = self._process = None

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: Connection, function: Callable[[bytes], bytes]) -> None:
    """Answer until the other side closes its pipe."""
    end_quietly()
    with suppress(ValueError):
        function(b"")  # loads its libraries, whose memory does not count
    _limit_memory()
    with suppress(EOFError, OSError):
        connection.send_bytes(_DONE)
        while True:
            content = connection.recv_bytes()
            try:
                connection.send_bytes(_DONE + function(content))
            except (ValueError, MemoryError) as error:
                connection.send_bytes(_REFUSED + str(error).encode("utf-8", "replace")[:200])


def _limit_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    with suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as file:
        most = int(file.read().split()[0]) * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
