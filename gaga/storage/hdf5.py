"""Trees of plain values as HDF5 groups, and back (docs/FORMAT.md)."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gaga.storage.blocks import TEXT, Blocks
from gaga.storage.hdf5_sizes import refuse_lies
from gaga.storage.serialise import Tree

_COMPRESS_FROM = 4096  # bytes; below it the index of chunks costs more than compression saves
_TEXT = h5py.string_dtype("utf-8")
_TEXT_AT_ONCE = 1 << 30  # bytes, at worst
_FEW_TEXTS = 16
_MOST_LETTERS = 1 << 29  # of an array of text in memory, where each element takes as much as the longest


def write_tree(
    group: h5py.Group,
    tree: Tree,
    metadata: Mapping[str, Mapping[str, Any]],
    proceed: Callable[[], None] = lambda: None,
) -> None:
    """Write the members of `tree` into an empty group, with their attributes `metadata` by path.

    `proceed` is called between pieces, and may raise.
    """
    group.attrs.create("members", list(tree), shape=(len(tree),), dtype=_TEXT)
    for name, node in tree.items():
        proceed()
        if isinstance(node, dict):
            inner = {path.removeprefix(f"{name}/"): m for path, m in metadata.items() if path.startswith(f"{name}/")}
            write_tree(group.create_group(name), node, inner, proceed)
        elif isinstance(node, Blocks):
            _write_blocks(group, name, node, proceed)
        else:
            _write_leaf(group, name, node)
        for key, value in metadata.get(name, {}).items():
            _write_attribute(group[name], key, value)


def _write_leaf(group: h5py.Group, name: str, leaf: Any) -> None:
    if leaf is None:
        group.create_dataset(name, data=h5py.Empty("f8"))
    elif not isinstance(leaf, np.ndarray):
        if isinstance(leaf, str):  # perhaps a path, whose bytes need not be UTF-8
            group.create_dataset(name, data=leaf.encode("utf-8", "surrogateescape"), dtype=_TEXT)
        else:
            group.create_dataset(name, data=leaf)
    elif leaf.dtype.kind == "U":
        group.create_dataset(name, data=leaf.astype(object), dtype=_TEXT)
    elif leaf.nbytes >= _COMPRESS_FROM:
        group.create_dataset(name, data=leaf, chunks=True, compression="gzip", shuffle=True)
    else:
        group.create_dataset(name, data=leaf)


def _write_blocks(group: h5py.Group, name: str, blocks: Blocks, proceed: Callable[[], None]) -> None:
    """A piece at a time; pieces are whole chunks, so that none is compressed twice."""
    text = blocks.dtype.kind == "U"
    how: dict[str, Any] = {"shape": blocks.shape, "dtype": _TEXT if text else blocks.dtype}
    if not text and blocks.dtype.itemsize * int(np.prod(blocks.shape)) >= _COMPRESS_FROM:
        rows = min(blocks.rows, blocks.shape[0])
        how |= {"chunks": (rows, *blocks.shape[1:]), "compression": "gzip", "shuffle": True}
    item = group.create_dataset(name, **how)
    first = 0
    for piece in blocks:
        item[first : first + len(piece)] = piece.astype(object) if text else piece
        first += len(piece)
        proceed()


def _write_attribute(item: Any, key: str, value: Any) -> None:
    """An attribute: text, numbers, or for a tuple such as `dims` an array of text."""
    if isinstance(value, tuple | list):
        item.attrs.create(key, list(value), shape=(len(value),), dtype=_TEXT)
    else:
        item.attrs[key] = value


def read_tree(group: h5py.Group) -> Tree:
    """The tree that `write_tree` wrote, its members in their order.

    Raises:
        KeyError: a member is missing.
        OSError: the file is damaged.
        ValueError: what it says of its sizes cannot be.
    """
    refuse_lies(group)
    return _read_members(group)


def _read_members(group: h5py.Group) -> Tree:
    return {name: _read_node(group[name]) for name in _members(group)}


def _members(group: h5py.Group) -> list[str]:
    names = np.asarray(group.attrs["members"])
    if names.ndim != 1 or set(names) != set(group):
        raise ValueError(f"{group.name} holds other members than it says")
    return [str(name) for name in names]


def read_lazily(group: h5py.Group) -> Tree:
    """The tree that `write_tree` wrote, its arrays as `Blocks` that read the open file; errors as of `read_tree`."""
    refuse_lies(group)
    return _lazy_members(group)


def _lazy_members(group: h5py.Group) -> Tree:
    return {name: _lazy_node(group[name]) for name in _members(group)}


def _lazy_node(item: Any) -> Any:
    if isinstance(item, h5py.Group):
        return _lazy_members(item)
    return _Stored(item) if item.shape else _read_node(item)


class _Stored(Blocks):
    """An array in an open file, a few of its chunks at a time."""

    def __init__(self, item: h5py.Dataset) -> None:
        self._item = item
        self.dtype, self.shape = TEXT if _is_text(item) else item.dtype, item.shape
        self._chunk = item.chunks[0] if item.chunks else 1

    def __iter__(self) -> Iterator[NDArray[Any]]:
        if self.dtype.kind == "U":
            yield from text_pieces(self._item, self.rows)
            return
        for first in range(0, self.shape[0], self.rows):
            yield self._item[first : first + self.rows]

    @property
    def rows(self) -> int:
        return -(-super().rows // self._chunk) * self._chunk


def _is_text(item: h5py.Dataset) -> bool:
    return item.dtype.kind == "O" and h5py.check_string_dtype(item.dtype) is not None


def text_pieces(item: h5py.Dataset, rows: int) -> Iterator[NDArray[Any]]:
    """The texts of an array, so many rows at a time; all together they are no longer than the file.

    Many elements may stand for one text in the file, so that their lengths are not known before they are read.

    Raises:
        ValueError: they are longer than the file.
    """
    size, texts = item.file.id.get_filesize(), item.asstr()
    careful = min(rows, max(_FEW_TEXTS, _TEXT_AT_ONCE // max(size, 1)))
    total = 0
    for first in range(0, item.shape[0], rows):
        parts = []
        for start in range(first, min(first + rows, item.shape[0]), careful):
            parts.append(texts[start : min(start + careful, first + rows)])
            lengths = [len(text) for text in parts[-1].flat]
            total += sum(lengths)
            if total > size or max(lengths, default=0) * item.size > _MOST_LETTERS:
                raise ValueError(f"{item.name} holds more text than its file")
        yield np.concatenate(parts).astype(np.str_)


def _read_texts(item: h5py.Dataset) -> NDArray[Any]:
    pieces = list(text_pieces(item, 4096))
    return np.concatenate(pieces) if pieces else np.zeros(item.shape, dtype=np.str_)


def _read_node(item: Any) -> Any:
    if isinstance(item, h5py.Group):
        return _read_members(item)
    if item.shape is None:
        return None
    if item.shape and _is_text(item):
        return _read_texts(item)
    value = item.asstr(errors="surrogateescape")[()] if _is_text(item) else item[()]
    if isinstance(value, np.ndarray):
        return value
    return value.item() if isinstance(value, np.bool_ | np.int64 | np.float64) else _scalar(value)


def _scalar(value: Any) -> Any:
    """Text as it is; a number of another width stays an array without axes, to keep its type."""
    return value if isinstance(value, str) else np.asarray(value)


def reason(error: Exception) -> str:
    """The part of an HDF5 error that says something: the system's message, else what stands in brackets."""
    text = " ".join(str(error).split())
    found = re.search(r"error message = '([^']*)'", text) or re.search(r"\(([^()]*)\)$", text)
    return found[1] if found else text
