"""How a library call says how far it is and what it notices: callbacks, never a bar and never a print."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

_log = logging.getLogger("gaga")


@runtime_checkable
class Progress(Protocol):
    """Called with the units done so far, their total, and a short note such as a loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """The default: report nothing."""


class Reporter:
    """Receives the notes and the progress of a run. This one logs notes and shows no progress; override both."""

    def note(self, line: str) -> None:
        """One sentence for the reader."""
        _log.info(line)

    def progress(self, label: str, *, first: bool = False) -> AbstractContextManager[Progress]:
        """The progress of the block that is entered; with `first` it is shown at the first report too."""
        return nullcontext(silent)


class Meter:
    """Adds up the units of work that are done, and reports their sum."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._done, self._total, self._note = progress, 0, total, ""

    def __call__(self, more: int) -> None:
        """This number more are done."""
        self._done += more
        self._progress(self._done, self._total, *([self._note] if self._note else []))

    def expect(self, more: int, note: str) -> None:
        """This number more are to be done from here on, as far as is known."""
        self._total, self._note = self._done + more, note
