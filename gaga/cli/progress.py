"""How far long work is: a bar with the time left on a terminal; elsewhere a line a minute on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import IO, cast

from gaga.cli import streams
from gaga.core.progress import Progress, silent
from gaga.core.text import printable

_FIRST, _EVERY = 50.0, 60.0  # seconds


@dataclass
class _Clock:
    """When the next line is due: all the work of a command shares it, so that many short parts are seen too."""

    due: float = field(default_factory=lambda: time.monotonic() + _FIRST)
    lock: Lock = field(default_factory=Lock)


_clock = _Clock()


def start_clock() -> None:
    """A command begins: its first line is due within a minute."""
    _clock.due = time.monotonic() + _FIRST


@contextmanager
def progress_bar(label: str, *, quiet: bool = False, bar: bool = True, first: bool = False) -> Iterator[Progress]:
    """A `Progress` that is shown while the block runs.

    Args:
        label: what is done.
        quiet: show nothing.
        bar: draw a bar if stderr is a terminal.
        first: if lines are written, write one at the first report too, whenever that is.
    """
    if quiet:
        yield silent
    elif not bar or streams.is_plain(sys.stderr):
        with _lines(label, first=first) as report:
            yield report
    else:
        with _bar(label) as report:
            yield report


@contextmanager
def _bar(label: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    console = Console(file=cast(IO[str], streams.Tolerant(sys.stderr)))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(printable(label), total=None, note="")

        def report(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=printable(note))

        yield report


@dataclass
class _Work:
    """What a piece of work has reported: the first time it did, and the last."""

    label: str
    began: float = field(default_factory=time.monotonic)
    first: tuple[float, int] | None = None
    done: int = 0
    total: int = 0
    note: str = ""

    def report(self, done: int, total: int, note: str = "") -> None:
        """So much is done of so much."""
        self.done, self.total, self.note = done, total, note
        if self.first is None:
            self.first = (time.monotonic(), done)

    def line(self) -> str:
        """Done, rate, time left, and the note."""
        from gaga.core.text import human_time

        now = time.monotonic()
        if self.first is None:
            return f"{self.label}: {human_time(now - self.began)}, nothing finished yet"
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        parts = [f"{self.label}: {self.done:,} of {self.total:,}{share}"]
        seconds, steps = now - self.first[0], self.done - self.first[1]
        if seconds > 0 and steps > 0:
            left = (self.total - self.done) * seconds / steps
            parts += [_rate(steps / seconds), f"{human_time(left)} left"]
        return ", ".join(filter(None, [*parts, self.note]))


def _rate(per_second: float) -> str:
    units = ((1, "a second"), (60, "a minute"), (3600, "an hour"))
    seconds, unit = next((u for u in units if per_second * u[0] >= 1), units[-1])
    return f"{per_second * seconds:.3g} {unit}"


@contextmanager
def _lines(label: str, *, first: bool) -> Iterator[Progress]:
    """A line each minute from a thread, as a step may take longer than that."""
    work, ended = _Work(label), Event()

    def write() -> None:
        with _clock.lock:
            if not ended.is_set() and time.monotonic() >= _clock.due:
                streams.note(work.line())
                _clock.due = time.monotonic() + _EVERY

    def watch() -> None:
        while not ended.wait(max(0.0, _clock.due - time.monotonic())):
            write()

    def report(done: int, total: int, note: str = "") -> None:
        is_first = work.first is None
        work.report(done, total, note)
        if first and is_first:
            streams.note(work.line())

    thread = Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()
