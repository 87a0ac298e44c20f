"""Compute a result once: return what is stored, resume what is unfinished, never mix two results under one name.

`claimed` is the only place that decides this. `once` uses it for a result that is kept in the store alone; the runs
that also write a file or a folder (runs.sample, runs.train, runs.data) use `claimed` themselves.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gaga.core.errors import Conflict, NotFound, Unavailable
from gaga.core.progress import Reporter
from gaga.core.text import legible
from gaga.runs.unfinished import Unfinished, UnfinishedPieces, explained, partial_path
from gaga.storage.files import require_writable
from gaga.storage.locks import locked
from gaga.storage.partial import NO_PARTIALS, PartialResults, resume_or_reject
from gaga.storage.provenance import new_entry
from gaga.storage.serialise import digest, to_tree
from gaga.storage.store import Entry, Store
from gaga.version import __version__

if TYPE_CHECKING:
    from gaga.models.ranks import Ranks

T = TypeVar("T")
_SHOWN_DIFFERENCES = 4


@dataclass(frozen=True, kw_only=True)
class Key:
    """Which result: its kind and name, and everything that it is computed from."""

    kind: str
    name: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    seed: int | None = None

    def find(self, store: Store | None) -> Entry | None:
        """The stored result of this computation."""
        if store is None:
            return None
        return store.same(self.kind, self.name, config=self.config, inputs=self.inputs, seed=self.seed)

    def put(self, store: Store | None, result: Any, *, replace: bool, renew: bool = False) -> Entry:
        """Store a result of this computation, as `Store.put`; without a store, its header alone."""
        described: Any = {"config": self.config, "inputs": self.inputs, "seed": self.seed}
        if store is None:
            return new_entry(self.kind, self.name, to_tree(result), **described)
        return store.put(self.kind, self.name, result, **described, replace=replace, renew=renew)


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[T]):
    """A result with its header in the store; `found` if it had been computed before."""

    result: T
    entry: Entry
    found: bool


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What to do about an unfinished run, and about another result of the same name.

    Attributes:
        resume: True continues an unfinished run; if there is none it begins one, and says so. False rejects it. None
            continues it if it is the same computation: for a result on the way to another.
        replace: replace another result of that name; the same computation is found, and not repeated.
        overwrite: for a result that is also a file: start over and replace both. None if it is no file; then `replace`
            starts over.
        engine: what computes the numbers. They differ in rounding between engines, so that a run is resumed only on the
            engine that began it.
    """

    resume: bool | None = False
    replace: bool = False
    overwrite: bool | None = None
    engine: Callable[[], str] = lambda: ""

    @property
    def starts_over(self) -> bool:
        """Whether an unfinished run that is not resumed is deleted."""
        return self.replace if self.overwrite is None else self.overwrite

    @property
    def start_over(self) -> str:
        """How to ask for that."""
        return f"start over with `{'replace' if self.overwrite is None else 'overwrite'}=True`"


def once(
    store: Store | None,
    key: Key,
    as_type: type[T],
    compute: Callable[[PartialResults], T],
    policy: Policy = Policy(),
    report: Reporter = Reporter(),
    complete: Callable[[T], bool] = lambda stored: True,
) -> Outcome[T]:
    """The stored result if it is this computation; else compute it, resume it if it is unfinished, and store it.

    `compute` receives the partial results of an earlier run and adds its own: they survive the end of the process.
    Without a store nothing is kept. A stored result that is not `complete`, as an earlier version knew less, is
    computed anew, and replaced if `policy.replace` is set.

    Raises:
        Conflict: another result of that name is stored, or a run of it is unfinished, and `policy` does not say what
            to do about it; nothing is computed.
        NotFound: the store's folder does not exist.
        Unavailable: the store cannot be written to.
    """
    if store is None:
        result = compute(NO_PARTIALS)
        return Outcome(result=result, entry=key.put(None, result, replace=False), found=False)

    def stored() -> T | None:
        result = store.get(key.kind, key.name, as_type)
        return result if complete(result) else None

    run = {**key.config, **key.inputs, "seed": key.seed, "gaga": __version__}
    path = partial_path(store.path, key.kind, key.name)
    unfinished = UnfinishedPieces(
        path, lambda: {**run, "engine": policy.engine()}, policy.start_over, "`name` and `store`"
    )
    with claimed(store, key, stored, policy, unfinished, report) as found:
        if found is None:
            with unfinished.opened(f"{key.kind}/{key.name}", report) as pieces:
                result = compute(pieces)
                entry = key.put(store, result, replace=policy.replace)
            overtaken = entry.digest != digest(to_tree(result))  # by another process: its numbers count
            if overtaken:
                result = store.get(key.kind, key.name, as_type)
            found = Outcome(result=result, entry=entry, found=overtaken)
    unfinished.tidy()
    return found


@contextmanager
def claimed(
    store: Store | None,
    key: Key,
    stored: Callable[[], T | None],
    policy: Policy,
    unfinished: Unfinished,
    report: Reporter,
    ranks: "Ranks | None" = None,
) -> Iterator[Outcome[T] | None]:
    """What is stored; or None, and the block computes and stores it, while no other process computes the same.

    Args:
        stored: reads the stored result of this computation; None if the file that belongs to it is gone or changed.
        ranks: the processes that share the work; the first decides for all.

    Raises: as `once`.
    """

    def look(*, alone: bool) -> Outcome[T] | None:
        entry = key.find(store)
        result = stored() if entry else None
        if entry is not None and result is not None:
            return Outcome(result=result, entry=entry, found=True)
        unfinished.check_files()
        if store is not None:
            _reject_other_result(store, key, policy)
        if alone:
            _resume_or_reject(unfinished, key, policy, report)
        return None

    found = ranks.from_first(partial(look, alone=False)) if ranks else look(alone=False)
    if found is not None:
        yield found
        return
    unfinished.make_room()
    with locked(unfinished.path, timeout=unfinished.patience) if ranks is None or ranks.first else nullcontext():
        # Again: while this process waited, another one may have computed it.
        found = ranks.from_first(partial(look, alone=True)) if ranks else look(alone=True)
        with nullcontext() if found else explained(lambda: unfinished.kept(by_itself=policy.resume is None)):
            yield found


def _reject_other_result(store: Store, key: Key, policy: Policy) -> None:
    there = store.find(key.kind, key.name)
    changed = there.differences(key.config, key.inputs, key.seed) if there else []
    if there and changed and not (there.shipped or policy.replace or policy.overwrite):
        raise Conflict(
            f"another {key.kind} is stored as {there.name}, with {'; '.join(changed[:_SHOWN_DIFFERENCES])}",
            remedy="give this one another `name`, or add `replace=True`",
        )
    check_store(store.path)


def _resume_or_reject(unfinished: Unfinished, key: Key, policy: Policy, report: Reporter) -> None:
    """As `storage.partial.resume_or_reject`.

    With `resume` None, a run of another computation is rejected when its file is opened (`storage.partial`).
    """
    result, exists = f"{key.kind}/{key.name}", unfinished.exists()
    if policy.resume and not exists:
        report.note(nothing_to_resume(result, unfinished.found_by))
    by_itself = policy.resume is None and (unfinished.is_this() or not policy.starts_over)
    resume_or_reject(
        exists, unfinished.discard, resume=bool(policy.resume) or by_itself, start_over=policy.starts_over,
        what=f"an earlier run of {result}", remedy=policy.start_over,
    )  # fmt: skip


def nothing_to_resume(result: str, found_by: str) -> str:
    """The line about `resume=True` without an unfinished run."""
    return f"No unfinished run of {result} to resume: it begins now. To resume another run, stop and check {found_by}."


def check_store(path: Path) -> None:
    """Reject, before the work, a store that could not be written to after it."""
    if not path.absolute().parent.is_dir():
        raise NotFound("the folder of the store does not exist", received=path.parent, remedy="create it first")
    try:
        require_writable(path)
    except Unavailable as error:
        raise Unavailable(f"the store {error.what}", remedy="name another `store`") from error


def as_store(store: Store | Path | str | None) -> Store | None:
    """The store in that file, with the results that ship behind it."""
    return store if store is None or isinstance(store, Store) else Store(store)


def slug(text: str) -> str:
    """A text as part of a result's or folder's name: spaces, slashes and control characters become underscores."""
    name = re.sub(r"[\s/\x00-\x1f\x7f]+", "_", legible(text).strip())
    return name.replace(".", "_") if name in ("", ".", "..") else name
