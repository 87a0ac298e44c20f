"""Long computations of one result that go on where they were interrupted: their pieces lie beside the store."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from gaga.cli.results import Key, Outcome, compute_once
from gaga.cli.signals import Terminated
from gaga.core.errors import Conflict, GagaError, Unavailable

if TYPE_CHECKING:
    from gaga.storage.partial import PartialFile
    from gaga.storage.store import Store

T = TypeVar("T")

NOTHING_KEPT = "nothing was finished yet, and the same command starts over"
_START_OVER = "start over with --replace"
_LONGEST = 150  # bytes of a name within a file's name


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """What is done about an interrupted run of the same result.

    Attributes:
        resume: go on with it. None, of a command that computes a result on its way to another, goes on with it where
            it is this very computation, and needs no word for that.
        replace: a different result of that name, and an unfinished run that is not gone on with, are given up.
        engine: what the same numbers come from, but for rounding: a run goes on with the one that it began with.
        note: told that a run goes on.
    """

    resume: bool | None
    replace: bool
    engine: Callable[[], str]
    note: Callable[[str], None]

    @property
    def kept(self) -> str:
        """What whoever ends the run is told."""
        command = "the same command" if self.resume is None else "the same command with --resume"
        return f"what was computed is kept, and {command} goes on"


def compute_resumably(
    store: "Store", key: Key, as_type: type[T], compute: "Callable[[PartialFile], T]", how: Resumption
) -> Outcome[T]:
    """`compute_once` of a computation that keeps its finished pieces, and goes on with those of an interrupted run.

    Raises:
        Conflict: an interrupted run of that result is there and is not gone on with, or has other settings; or as
            `compute_once`.
        NotFound, Unavailable: as `compute_once`.
    """
    path = journal_path(store.path, key)
    with ExitStack() as held:

        def work() -> T:
            journal = held.enter_context(_held(path, key, how))
            if store.same(key.kind, key.name, config=key.config, inputs=key.inputs, seed=key.seed) is not None:
                return store.get(key.kind, key.name, as_type)  # by the process that this one waited for
            return compute(journal)

        outcome = compute_once(store, key, as_type, work, replace=how.replace)
    _discard(path, key, how)
    return outcome


def journal_path(store: Path, key: Key) -> Path:
    """Where the finished pieces of an unfinished result are: beside the store."""
    from gaga.core.text import folded

    name = quote(folded(key.name), safe=" ")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return store.with_name(f".{store.name}.{key.kind}.{name}.unfinished")


@contextmanager
def _held(path: Path, key: Key, how: Resumption) -> "Iterator[PartialFile]":
    """The journal, which is this process's alone while the block runs; it stays when the block ends."""
    from gaga.storage.locks import locked

    with locked(path), _journal(path, key, how) as journal, _resumable(journal, how):
        if len(journal):
            how.note(f"Going on with {key.kind}/{key.name}, which was interrupted.")
        yield journal


def _journal(path: Path, key: Key, how: Resumption) -> "PartialFile":
    """The journal of this run, begun anew where that was asked for.

    Raises:
        Conflict: there is one that is not gone on with, or of other settings.
    """
    from gaga.storage.partial import PartialFile, first_line

    run = _identity(key, how)
    if how.resume is False and not how.replace and first_line(path):
        raise Conflict(
            f"an earlier run of {key.kind}/{key.name} was interrupted",
            remedy=f"go on with --resume, or {_START_OVER}",
        )
    if how.replace and not how.resume and not (how.resume is None and _is_of(path, run)):
        path.unlink(missing_ok=True)
    return PartialFile(path, run, remedy=_START_OVER)


def _discard(path: Path, key: Key, how: Resumption) -> None:
    """Remove the journal of what is in the store now, and a lock that a killed holder left; another run's stay."""
    from gaga.storage.locks import locked

    if not (path.is_file() or Path(f"{path}.lock").exists()):
        return
    with suppress(GagaError), locked(path, timeout=0):  # whoever holds it now sees to both
        if path.is_file() and _is_of(path, _identity(key, how)):
            path.unlink(missing_ok=True)


def _is_of(path: Path, run: Mapping[str, Any]) -> bool:
    from gaga.storage.partial import first_line

    line = first_line(path)
    return bool(line) and json.loads(line) == json.loads(json.dumps(run))


def _identity(key: Key, how: Resumption) -> dict[str, Any]:
    """What the pieces belong to, as JSON has it."""
    from gaga import __version__

    return {**key.config, **key.inputs, "seed": key.seed, "engine": how.engine(), "gaga": __version__}


@contextmanager
def _resumable(journal: "PartialFile", how: Resumption) -> Iterator[None]:
    """Whoever ends the run is told that what is kept is not lost."""
    with told(lambda: how.kept if len(journal) else "", otherwise=NOTHING_KEPT):
        yield


@contextmanager
def starts_over() -> Iterator[None]:
    """Whoever ends work that is quickly done again is told that it left nothing behind."""
    with told(lambda: "", otherwise="nothing was written, and the same command starts over"):
        yield


@contextmanager
def goes_on(kept: Callable[[], bool]) -> Iterator[None]:
    """Whoever ends work whose finished part lies beside its output is told that --resume goes on with it."""
    words = "what was read is kept, and the same command with --resume goes on"
    with told(lambda: words if kept() else "", otherwise=NOTHING_KEPT):
        yield


@contextmanager
def told(kept: Callable[[], str], *, otherwise: str) -> Iterator[None]:
    """Whoever ends the block, a full disk too, is told what is kept; an interruption where nothing is, `otherwise`."""
    try:
        yield
    except Terminated as stop:
        raise stop.saying(kept() or otherwise) from stop
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(kept() or otherwise) from stop
    except Unavailable as error:
        if "--resume" not in error.remedy:
            error.remedy = "; ".join(filter(None, [error.remedy.rstrip("."), kept()]))
        raise
