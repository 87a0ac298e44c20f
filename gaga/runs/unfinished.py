"""Unfinished runs: whether one is there, what an interruption keeps, and the sentence that says so."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gaga.core.errors import Conflict, GagaError, Terminated, Unavailable
from gaga.core.progress import Reporter
from gaga.core.text import folded
from gaga.storage.locks import locked
from gaga.storage.partial import PartialFile, has_run, run_of

KEPT = "what was computed is kept, and the same command with `resume=True` continues"
NOTHING_KEPT = "nothing was finished yet, and the same command starts over"
NOTHING_WRITTEN = "nothing was written, and the same command starts over"
_LONGEST = 150  # bytes of a name within a file's name


@contextmanager
def explained(kept: Callable[[], str], *, otherwise: str = NOTHING_KEPT) -> Iterator[None]:
    """Add what is `kept` to an interruption or a failure of the block; `otherwise` to an interruption that keeps
    nothing."""
    try:
        yield
    except Terminated as stop:
        raise stop.saying(kept() or otherwise) from stop
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(kept() or otherwise) from stop
    except (Unavailable, Conflict) as error:
        if "resume" not in error.remedy:
            error.remedy = "; ".join(filter(None, [error.remedy.rstrip("."), kept()]))
        raise


class Unfinished:
    """The unfinished run of a result. This base class stands for "nothing is unfinished".

    Attributes:
        path: its lock is held while the run computes.
        patience: seconds to wait for another process that holds it.
        found_by: the arguments by which a run finds it, for the reader.
    """

    def __init__(self, path: Path, patience: float, found_by: str) -> None:
        self.path, self.patience, self.found_by = path, patience, found_by

    def exists(self) -> bool:
        """Whether there is one."""
        return False

    def is_this(self) -> bool:
        """Whether it is the same computation."""
        return True

    def discard(self) -> None:
        """Delete it."""

    def has_kept(self) -> bool:
        """Whether an interruption now leaves something to resume."""
        return self.exists()

    def kept(self, *, by_itself: bool = False) -> str:
        """The sentence for the reader; `by_itself` if the same command resumes without being asked to."""
        return (KEPT.replace(" with `resume=True`", "") if by_itself else KEPT) if self.has_kept() else ""

    def make_room(self) -> None:
        """Make the folder of the lock, if it is the run's own."""

    def check_files(self) -> None:
        """Reject a run that would overwrite files.

        Raises:
            Conflict: there are some.
        """


class UnfinishedPieces(Unfinished):
    """Finished pieces of a result in one file, next to the store or the file that the result will be in.

    Args:
        path: the file of the pieces.
        run: gives what identifies the computation; called only if that matters.
        start_over: how to ask for a run that starts over.
        found_by: see `Unfinished`.
    """

    def __init__(self, path: Path, run: Callable[[], Mapping[str, Any]], start_over: str, found_by: str) -> None:
        super().__init__(path, 600.0, found_by)
        self._run, self._start_over = run, start_over
        self._pieces: PartialFile | None = None

    def opened(self, result: str, report: Reporter) -> PartialFile:
        """The pieces, those of an interrupted run included; then the reader gets a line with the result's name.

        Raises:
            Conflict: they are those of a run with other settings.
        """
        self._pieces = PartialFile(self.path, self._run(), remedy=self._start_over)
        if len(self._pieces):
            report.note(f"Resuming {result}, which was interrupted.")
        return self._pieces

    def exists(self) -> bool:
        """Whether a run has begun the file."""
        return has_run(self.path)

    def is_this(self) -> bool:
        """Whether its run has the same settings."""
        return self.exists() and run_of(self.path) == json.loads(json.dumps(self._run()))

    def discard(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)

    def has_kept(self) -> bool:
        """Whether this run has partial results."""
        return bool(self._pieces)

    def tidy(self) -> None:
        """Delete the partial results of what is stored now, and the lock of a process that was killed."""
        if not (self.path.is_file() or Path(f"{self.path}.lock").exists()):
            return
        with suppress(GagaError), locked(self.path, timeout=0):  # else the process that holds it does so
            if self.is_this():
                self.discard()


def partial_path(store: Path, kind: str, name: str) -> Path:
    """The file of the partial results of an unfinished result."""
    part = quote(folded(name), safe=" ")
    if len(part) > _LONGEST:
        part = f"{part[:_LONGEST]}-{hashlib.sha256(part.encode()).hexdigest()[:16]}"
    return store.parent / f".{store.name}.{kind}.{part}.unfinished"
