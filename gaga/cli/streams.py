"""stdin, stdout and stderr: they are there, show any text, and a lost reader or terminal ends no work."""

import io
import os
import sys
from contextlib import suppress
from typing import Any

from gaga.core.text import printable

_LOST = (OSError, ValueError)  # ValueError: the stream is closed


class Tolerant:
    """A stream for notes: what cannot be written is dropped. Only stdout carries results."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, if the stream still takes it."""
        with suppress(*_LOST):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if the stream still can."""
        with suppress(*_LOST):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def note(line: str, *, lines: bool = False) -> None:
    """A line for the reader on stderr; with `lines`, its line feeds stay."""
    Tolerant(sys.stderr).write(f"{printable(line, lines=lines)}\n")


def prepare() -> None:
    """Open what is closed (`gaga ... >&-`), and let a narrow encoding show something in place of Å or a dash.

    A closed stream gets the null device: else the next file that is opened would take its number, and libraries that
    write to stdout or stderr would write into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # not atomic: the null device, which takes the lowest free number
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - open as long as the process runs
    sys.stdout = sys.stdout or _null()
    sys.stderr = sys.stderr or _null()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _null() -> Any:
    return open(os.devnull, "w", encoding="utf-8")  # not atomic: the null device


def settled(code: int) -> tuple[int, str]:
    """The exit code once stdout is flushed, and why it cannot be; Python's own flush at the end finds no fault then.

    141, as of a process that SIGPIPE ends, if the reader of stdout has left.
    """
    reason = ""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 141
        _discard(sys.stdout)
    except _LOST as error:
        reason = "" if code else f"cannot write to standard output: {getattr(error, 'strerror', None) or error}"
        code = code or 1
        _discard(sys.stdout)
    try:
        sys.stderr.flush()
    except _LOST:
        _discard(sys.stderr)
    return code, reason


def _discard(stream: Any) -> None:
    with suppress(*_LOST):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # not atomic: the null device


def is_plain(stream: Any) -> bool:
    """Whether it takes no bold text and no moving bar: a file, a pipe, or a terminal that cannot."""
    return not stream.isatty() or os.environ.get("TERM", "") in ("dumb", "unknown")
