"""The result store: one HDF5 file of results with their provenance, `/<kind>/<name>`; see docs/FORMAT.md.

Reading falls back to the results that come with the package. Writing publishes a whole new file, so a reader
sees the store before or after a command and a failure changes nothing.
"""

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from gaga.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from gaga.core.text import checked_kind, checked_name, folded
from gaga.storage import serialise as records
from gaga.storage.files import atomic_write
from gaga.storage.hdf5 import new_hdf5, read_tree, reason, write_tree
from gaga.storage.locks import locked
from gaga.storage.provenance import FORMAT_VERSION, Entry, from_attributes, new_entry, to_attributes
from gaga.storage.serialise import Tree

__all__ = ["SHIPPED_STORE", "Entry", "Store"]

T = TypeVar("T")

FORMAT = "gaga-store"
SHIPPED_STORE = Path(__file__).parents[1] / "shipped" / "results.h5"

_SHOWN_DIFFERENCES = 4
_MAKERS = {
    "variance": "gaga variance --dataset qm9",
    "gaussianity": "gaga gaussianity --dataset qm9",
    "tstar": "gaga tstar identity_to_gaussian_qm9",
    "train": "gaga train",
    "sample": "gaga sample --out mols.sdf",
    "truncation": "gaga truncation --dataset qm9",
    "evaluation": "gaga evaluate mols.sdf",
    "benchmark": "gaga benchmark --quick",
}


class Store:
    """Results by kind and name in one HDF5 file, which need not exist yet.

    Names ignore case when looked up and are kept as typed. If both have a name, the file's entry hides the
    one that comes with the package.

    Args:
        path: the file.
        shipped: whether to read the results that come with the package too.
    """

    def __init__(self, path: Path | str, *, shipped: bool = True) -> None:
        self.path = Path(path)
        self.shipped = shipped

    def put(
        self,
        kind: str,
        name: str,
        result: Any,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, str] = {},
        seed: int | None = None,
        replace: bool = False,
        renew: bool = False,
    ) -> Entry:
        """Store a frozen dataclass of arrays, scalars, strings, tuples, dictionaries and nested dataclasses.

        An array may come in pieces (`storage.blocks`); neither it nor the file is then ever in memory as a whole.

        An entry of this name and the same config, inputs and seed is left as it is and returned, unless
        `renew` or `replace` is set; one from another computation is refused, unless `replace` is. The metadata
        `unit` and `dims` of the dataclass's fields are stored with them.

        Raises:
            Conflict: the file has an entry of this name from another computation, and `replace` is false.
            InvalidInput: the kind or name cannot be used, or the file is not a store.
            NotFound: the folder does not exist.
            Unavailable: the folder or the file cannot be written to, or the disk is full.
            TypeError: a field of `result` cannot be stored.
        """
        kind, name = checked_kind(kind), checked_name(name)
        tree = records.to_tree(result)
        entry = new_entry(kind, name, tree, config=config, inputs=inputs, seed=seed)
        with self._writing():
            present = _find(self.path, kind, name, shipped=False)
            if present and not replace:
                if changed := present.differences(config, inputs, seed):
                    raise _conflict(present, changed)
                if not renew:
                    return present
            self._publish(drop=present, add=(entry, tree, records.field_metadata(result)))
        return entry

    def get(self, kind: str, name: str, as_type: type[T]) -> T:
        """The stored result as the dataclass it was.

        Raises:
            NotFound: there is none.
            InvalidInput: it was written by a newer gaga, was damaged, or is not of this type.
        """
        return records.from_tree(self._tree(kind, name), as_type)

    @contextmanager
    def opened(self, kind: str, name: str) -> Iterator[Tree]:
        """A result as it lies in the file while the block runs, checked, its arrays as `storage.blocks.Blocks`.

        Raises:
            NotFound: there is none.
            InvalidInput: it was written by a newer gaga, or was damaged.
        """
        kind, name = checked_kind(kind), checked_name(name)
        for path, _ in self._places():
            with _located(path, kind, name) as group:
                if group is not None:
                    yield _checked(path, group, read_tree(group, lazily=True))
                    return
        raise self._missing(kind, name)

    def arrays(self, kind: str, name: str) -> dict[str, Any]:
        """Every array and scalar of a result by its dotted path.

        Raises:
            NotFound: there is none.
            InvalidInput: it was written by a newer gaga, or was damaged.
        """
        return records.flatten(self._tree(kind, name))

    def find(self, kind: str, name: str) -> Entry | None:
        """The header of a result, None if there is none; the file's own before the shipped one."""
        kind, name = checked_kind(kind), checked_name(name)
        found = (_find(path, kind, name, shipped=shipped) for path, shipped in self._places())
        return next((entry for entry in found if entry), None)

    def require(self, kind: str, name: str) -> Entry:
        """The header of a result that must be there.

        Raises:
            NotFound: there is none; the message has names like it and the command that makes one.
        """
        entry = self.find(kind, name)
        if entry is None:
            raise self._missing(kind, name)
        return entry

    def same(
        self,
        kind: str,
        name: str,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, str] = {},
        seed: int | None = None,
    ) -> Entry | None:
        """The entry of this name if it is this very computation: equal config, inputs and seed."""
        entry = self.find(kind, name)
        return entry if entry and not entry.differences(config, inputs, seed) else None

    def entries(self, kind: str | None = None) -> list[Entry]:
        """All headers, or those of one kind, by kind and name; shipped ones that are hidden are left out."""
        kind = None if kind is None else checked_kind(kind)
        by_key = {
            (entry.kind, folded(entry.name)): entry
            for path, shipped in reversed(self._places())
            for entry in _entries(path, kind, shipped=shipped)
        }
        return [by_key[key] for key in sorted(by_key)]

    def delete(self, kind: str, name: str) -> None:
        """Remove a result from the file.

        Raises:
            NotFound: there is none.
            Unavailable: it comes with the package, or the file cannot be written to.
        """
        with self._writing():
            entry = self.require(kind, name)
            if entry.shipped:
                raise Unavailable(f"{kind} {entry.name!r} comes with gaga and cannot be deleted")
            self._publish(drop=entry)

    def _places(self) -> list[tuple[Path, bool]]:
        """Files to read, the first that has a name wins: (path, whether it is the shipped one)."""
        return [(self.path, False)] + ([(SHIPPED_STORE, True)] if self.shipped else [])

    def _tree(self, kind: str, name: str) -> Tree:
        kind, name = checked_kind(kind), checked_name(name)
        for path, _ in self._places():
            tree = _read_whole(path, kind, name)
            if tree is not None:
                return tree
        raise self._missing(kind, name)

    def _missing(self, kind: str, name: str) -> NotFound:
        known = {folded(entry.name): entry.name for entry in self.entries(kind)}
        close = [known[match] for match in difflib.get_close_matches(folded(name), known, n=3)]
        hints = [f"did you mean {' or '.join(close)}?"] if close else []
        hints += [f"run `{_MAKERS[kind]}`"] if kind in _MAKERS else []
        return NotFound(f"no {kind} result {name!r} in {self.path}", remedy=" Or ".join(hints))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if os.path.realpath(self.path) == os.path.realpath(SHIPPED_STORE):
            raise Unavailable("the store that comes with gaga is read-only", remedy="choose another `store`")
        with locked(self.path):
            yield

    def _publish(self, *, drop: Entry | None, add: tuple[Entry, Tree, Mapping[str, Any]] | None = None) -> None:
        """Write a new file of all entries but `drop`, and `add`, over the old one."""
        with atomic_write(self.path) as partial:
            with new_hdf5(partial) as (target, proceed):
                target.attrs.update(format=FORMAT, format_version=FORMAT_VERSION)
                self._copy_entries(target, drop, proceed)
                if add:
                    _write_entry(target, *add, proceed)
            if add:
                _verify(partial, add[0])

    def _copy_entries(self, target: h5py.File, drop: Entry | None, proceed: Callable[[], None]) -> None:
        with _reading(self.path) as source:
            for kind, name in _keys(source):
                proceed()
                if drop is None or (kind, name) != (drop.kind, drop.name):
                    source.copy(source[kind][name], target.require_group(kind), name=name)


def _conflict(present: Entry, changed: list[str]) -> Conflict:
    shown = changed[:_SHOWN_DIFFERENCES]
    more = [f"{len(changed) - len(shown)} more"] if len(changed) > len(shown) else []
    return Conflict(
        f"{present.kind} {present.name!r} is already stored with {', '.join(shown + more)}",
        remedy="choose another `name`, or overwrite it with `replace=True`",
    )


def _damaged(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path} is damaged: {why}", remedy="restore a copy, or choose another `store`")


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """The root group of a store, or an empty mapping if there is no file.

    Without HDF5's own lock: files are replaced, never changed, and a read-only folder must do.

    Raises:
        InvalidInput: not a store, of a newer version, or damaged.
        Unavailable: the file may not be read.
    """
    if not path.exists():
        yield {}
        return
    try:
        with _opened(path) as file:
            _check_format(path, file)
            yield file
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise _damaged(path, reason(error)) from error


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except PermissionError as error:
        raise Unavailable(f"{path} may not be read", remedy="choose another `store`") from error
    except OSError as error:
        raise InvalidInput(f"{path} is not a gaga store: {reason(error)}", remedy="choose another `store`") from error


def _check_format(path: Path, file: h5py.File) -> None:
    version = file.attrs.get("format_version")
    if file.attrs.get("format") != FORMAT or not isinstance(version, int | np.integer):
        raise InvalidInput(f"{path} is an HDF5 file but not a gaga store", remedy="choose another `store`")
    if version > FORMAT_VERSION:
        raise InvalidInput(f"{path} was written by a newer gaga", received=f"format {version}", remedy="update gaga")


def _keys(file: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((kind, name) for kind in file if isinstance(file[kind], h5py.Group) for name in file[kind])


def _entries(path: Path, kind: str | None, *, shipped: bool) -> Iterator[Entry]:
    with _reading(path) as file:
        for k, name in _keys(file):
            if kind in (None, k):
                yield from_attributes(k, name, file[k][name].attrs, shipped=shipped)


def _as_typed(file: Any, kind: str, name: str) -> str | None:
    """The name in the file that equals this one but for case."""
    return next((known for k, known in _keys(file) if k == kind and folded(known) == folded(name)), None)


def _find(path: Path, kind: str, name: str, *, shipped: bool) -> Entry | None:
    with _reading(path) as file:
        known = _as_typed(file, kind, name)
        if known is None:
            return None
        return from_attributes(kind, known, file[kind][known].attrs, shipped=shipped)


@contextmanager
def _located(path: Path, kind: str, name: str) -> Iterator[Any]:
    """The group of a result while the file is open, so that header and contents belong together; None if missing."""
    with _reading(path) as file:
        known = _as_typed(file, kind, name)
        yield None if known is None else file[kind][known]


def _read_whole(path: Path, kind: str, name: str) -> Tree | None:
    with _located(path, kind, name) as group:
        return None if group is None else _checked(path, group, read_tree(group))


def _checked(path: Path, group: h5py.Group, tree: Tree) -> Tree:
    """The tree, if it is what was written."""
    if records.digest(tree) != group.attrs["digest"]:
        raise _damaged(path, f"{group.name[1:]} has changed since it was written")
    return tree


def _write_entry(
    file: h5py.File, entry: Entry, tree: Tree, metadata: Mapping[str, Any], proceed: Callable[[], None]
) -> None:
    group = file.require_group(entry.kind).create_group(entry.name)
    write_tree(group, tree, metadata, proceed)
    group.attrs.update(to_attributes(entry))


def _verify(path: Path, entry: Entry) -> None:
    """Read a new entry back before it is published, a piece at a time."""
    with _located(path, entry.kind, entry.name) as group:
        if group is None:
            raise OSError(f"{entry.kind}/{entry.name} was not written")
        _checked(path, group, read_tree(group, lazily=True))
