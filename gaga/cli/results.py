"""What commands do with stored results: find before computing, and never mix two under one name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gaga.core.errors import Conflict, NotFound, Unavailable
from gaga.core.text import legible

if TYPE_CHECKING:
    from gaga.storage.store import Entry, Store

T = TypeVar("T")
SHOWN_DIFFERENCES = 4


@dataclass(frozen=True, kw_only=True)
class Key:
    """Which result: its kind and name, and everything that it is computed from."""

    kind: str
    name: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[T]):
    """A result with its header; `found` where it had been computed before."""

    result: T
    entry: "Entry"
    found: bool


def compute_once(
    store: "Store", key: Key, as_type: type[T], compute: Callable[[], T], *, replace: bool = False
) -> Outcome[T]:
    """The stored result where it is this very computation; else compute it and put it there.

    Raises:
        Conflict: a different result of that name is in the user's store, and `replace` is false; nothing is
            computed.
        NotFound: the store's folder does not exist.
        Unavailable: the store cannot be written to.
    """
    from gaga.storage.serialise import digest, to_tree

    same = store.same(key.kind, key.name, config=key.config, inputs=key.inputs, seed=key.seed)
    if same is not None:
        return Outcome(result=store.get(key.kind, key.name, as_type), entry=same, found=True)
    if not replace:
        _refuse_to_mix(store, key)
    require_writable(store.path)
    result = compute()
    entry = store.put(key.kind, key.name, result, config=key.config, inputs=key.inputs, seed=key.seed, replace=replace)
    if entry.digest != digest(to_tree(result)):  # another process was faster, and its numbers are the ones that count
        return Outcome(result=store.get(key.kind, key.name, as_type), entry=entry, found=True)
    return Outcome(result=result, entry=entry, found=False)


def _refuse_to_mix(store: "Store", key: Key) -> None:
    there = store.find(key.kind, key.name)
    if there is not None and not there.shipped:
        changed = there.differences(key.config, key.inputs, key.seed)
        raise Conflict(
            f"another {key.kind} is stored as {there.name}, with {'; '.join(changed[:SHOWN_DIFFERENCES])}",
            remedy="give this one another --name, or add --replace",
        )


def require_writable(path: Path) -> None:
    """Refuse before the work a store that could not be written after it."""
    from gaga.storage import files

    if not path.absolute().parent.is_dir():
        raise NotFound("the folder of the store does not exist", received=path.parent, remedy="create it first")
    try:
        files.require_writable(path)
    except Unavailable as error:
        raise Unavailable(f"the store {error.what}", remedy="name another --store") from error


def slug(text: str) -> str:
    """A text as part of a result's name or a folder's: spaces, slashes and control characters become underscores."""
    name = re.sub(r"[\s/\x00-\x1f\x7f]+", "_", legible(text).strip())
    return name.replace(".", "_") if name in ("", ".", "..") else name


def locate(store: "Store", wanted: str) -> "Entry":
    """The entry of "name" or "kind/name".

    Raises:
        NotFound: there is none.
        Conflict: results of several kinds have the name.
    """
    wanted = legible(wanted)
    kind, slash, name = wanted.partition("/")
    if slash:
        return store.require(kind, name)
    matches = [entry for entry in store.entries() if entry.name.casefold() == wanted.casefold()]
    if len(matches) > 1:
        choices = " or ".join(f"{entry.kind}/{entry.name}" for entry in matches)
        raise Conflict(f"several results are named {wanted}", remedy=f"say {choices}")
    if not matches:
        raise NotFound("no result of that name", received=wanted, remedy=_near(store, wanted))
    return matches[0]


def _near(store: "Store", wanted: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(wanted, [entry.name for entry in store.entries()], cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "see gaga store list"


def open_store(path: Path) -> "Store":
    """The user's results, with the shipped ones behind them."""
    from gaga.storage.store import Store

    return Store(path)
