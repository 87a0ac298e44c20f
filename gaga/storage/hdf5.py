"""HDF5 files: trees of plain values as groups (docs/FORMAT.md), declared sizes checked, full disks survived.

In this order: writing and reading a tree; what a file declares, checked before anything is read into memory; a new
file that a full disk cannot turn into a crash.
"""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gaga.storage.blocks import TEXT, Blocks
from gaga.storage.serialise import Tree

_COMPRESS_FROM = 4096  # bytes; below it the index of chunks costs more than compression saves
_TEXT = h5py.string_dtype("utf-8")
_TEXT_AT_ONCE = 1 << 30  # bytes, at worst
_FEW_TEXTS = 16
_MOST_LETTERS = 1 << 29  # of an array of text in memory, where each element takes as much as the longest
_DEFLATE, _SHUFFLE, _FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32
_MOST = 1100  # deflate gives 1,032 bytes for one at most
_REFERENCE = 16  # bytes of an array for each text, which lies elsewhere in the file


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
    """Write a piece at a time; pieces are whole chunks, so that none is compressed twice."""
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


def read_tree(group: h5py.Group, *, lazily: bool = False) -> Tree:
    """The tree that `write_tree` wrote, its members in their order.

    Args:
        group: in an open file.
        lazily: give arrays as `Blocks` that read the open file.

    Raises:
        KeyError: a member is missing.
        OSError: the file is damaged.
        ValueError: what it says of its sizes cannot be.
    """
    check_sizes(group)
    return _read_members(group, lazily)


def _read_members(group: h5py.Group, lazily: bool) -> Tree:
    names = np.asarray(group.attrs["members"])
    if names.ndim != 1 or set(names) != set(group):
        raise ValueError(f"{group.name} holds other members than it says")
    return {str(name): _read_node(group[name], lazily) for name in names}


def _read_node(item: Any, lazily: bool) -> Any:
    if isinstance(item, h5py.Group):
        return _read_members(item, lazily)
    if item.shape is None:
        return None
    if not item.shape:
        return _read_scalar(item)
    stored = _Stored(item)
    if lazily:
        return stored
    if stored.dtype != TEXT:
        return item[()]
    pieces = list(stored)
    return np.concatenate(pieces) if pieces else np.zeros(item.shape, dtype=np.str_)


def _read_scalar(item: h5py.Dataset) -> Any:
    """Plain text, number or bool; a number of another width stays an array without axes, to keep its type."""
    value = item.asstr(errors="surrogateescape")[()] if _is_text(item) else item[()]
    if isinstance(value, np.bool_ | np.int64 | np.float64):
        return value.item()
    return value if isinstance(value, str) else np.asarray(value)


class _Stored(Blocks):
    """An array in an open file, a few of its chunks at a time."""

    def __init__(self, item: h5py.Dataset) -> None:
        self._item = item
        self.dtype, self.shape = TEXT if _is_text(item) else item.dtype, item.shape
        self._chunk = item.chunks[0] if item.chunks else 1

    def __iter__(self) -> Iterator[NDArray[Any]]:
        if self.dtype.kind == "U":
            yield from _text_pieces(self._item, self.rows)
            return
        for first in range(0, self.shape[0], self.rows):
            yield self._item[first : first + self.rows]

    @property
    def rows(self) -> int:
        return -(-super().rows // self._chunk) * self._chunk


def _is_text(item: h5py.Dataset) -> bool:
    return item.dtype.kind == "O" and h5py.check_string_dtype(item.dtype) is not None


def _text_pieces(item: h5py.Dataset, rows: int) -> Iterator[NDArray[Any]]:
    """The texts of an array, `rows` at a time.

    Many elements may share one text in the file, so that their lengths are not known before they are read.

    Raises:
        ValueError: all together they are longer than the file.
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


def reason(error: Exception) -> str:
    """The part of an HDF5 error that says something: the system's message, else what stands in brackets."""
    text = " ".join(str(error).split())
    found = re.search(r"error message = '([^']*)'", text) or re.search(r"\(([^()]*)\)$", text)
    return found[1] if found else text


def check_sizes(group: h5py.Group) -> None:
    """Reject a group that is larger in memory than its bytes on the disk can be, or that leads out of its file.

    Raises:
        ValueError: an array is declared larger than what is stored of it allows, or is compressed in another way
            than gaga's; a link leads to another file or place; or an object is in two places.
    """
    stored = sum(_stored(item) for item in _arrays(group, set()))
    if stored > group.file.id.get_filesize():
        raise ValueError("its arrays are larger than the file")


def _arrays(group: h5py.Group, seen: set[int]) -> Iterator[h5py.Dataset]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} leads to another place")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            raise ValueError(f"{name} is in two places")
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _arrays(item, seen)
        elif isinstance(item, h5py.Dataset):
            yield item
        else:
            raise ValueError(f"{name} is neither a group nor an array")


def _stored(item: h5py.Dataset) -> int:
    """Bytes of an array on the disk, of which its shape needs enough."""
    plan = item.id.get_create_plist()
    if plan.get_external_count() or item.is_virtual:
        raise ValueError(f"{item.name} lies in another file")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if len(filters) != len(set(filters)) or not {*filters} <= {_DEFLATE, _SHUFFLE, _FLETCHER32}:
        raise ValueError(f"{item.name} is compressed in another way than gaga's arrays")
    stored = int(item.id.get_storage_size())
    if _bytes_in_memory(item) > (_MOST if _DEFLATE in filters else 1) * stored:
        raise ValueError(f"{item.name} is declared as {list(item.shape)}, but holds {stored:,} bytes")
    return stored


def _bytes_in_memory(item: Any) -> int:
    if item.shape is None:
        return 0
    text = item.dtype.kind == "O"
    if text and h5py.check_string_dtype(item.dtype) is None:
        raise ValueError(f"{item.name} holds neither numbers nor text")
    return int(item.size) * (_REFERENCE if text else item.dtype.itemsize)


@contextmanager
def new_hdf5(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new HDF5 file, and a function that raises if a write has failed: call it between large pieces.

    When HDF5 cleans up, it repeats every write that failed, and ends the process if that fails too. So it never sees a
    failure: the error is kept until HDF5 has closed the file, and raised then.

    Raises:
        OSError: the file could not be written.
    """
    # not atomic: callers give the temporary path of an atomic write
    with path.open("w+b", buffering=0) as file:
        patient = _PatientFile(file)
        try:
            # not atomic: callers give the temporary path of an atomic write
            with h5py.File(patient, "w") as target:
                yield target, patient.proceed
        finally:
            patient.proceed()


class _PatientFile:
    """A file as h5py takes one. After a write has failed, what is written stays in memory, and nothing fails."""

    def __init__(self, file: io.RawIOBase | io.BufferedIOBase) -> None:
        self._file, self._place = file, 0
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []

    def proceed(self) -> None:
        """Raise the failure, if there was one."""
        if self._error is not None:
            raise self._error

    def read(self, size: int = -1) -> bytes:
        """`size` bytes; h5py itself calls `readinto`."""
        content = bytearray(size)
        self.readinto(content)
        return bytes(content)

    def readinto(self, content: Any) -> int:
        """Fill a buffer from this place on, with zeros if nothing was written."""
        buffer = memoryview(content).cast("B")
        start, stop = self._place, self._place + len(buffer)
        self._file.seek(start)
        got = self._file.readinto(buffer)
        buffer[got:] = bytes(len(buffer) - got)
        for at, unwritten in self._unwritten:
            low, high = max(at, start), min(at + len(unwritten), stop)
            if low < high:
                buffer[low - start : high - start] = unwritten[low - at : high - at]
        self._place = stop
        return len(buffer)

    def write(self, content: Any) -> int:
        """Write at this place."""
        left = memoryview(content).cast("B")
        length = len(left)
        if self._error is None:
            try:
                self._file.seek(self._place)
                while left:
                    left = left[self._file.write(left) :]
            except OSError as error:
                self._error = error
        if self._error is not None:
            self._unwritten.append((self._place + length - len(left), bytes(left)))
        self._place += length
        return length

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        if whence == os.SEEK_END:
            end = self._file.seek(0, os.SEEK_END)
            offset += max([end, *(at + len(content) for at, content in self._unwritten)])
        self._place = offset + (self._place if whence == os.SEEK_CUR else 0)
        return self._place

    def tell(self) -> int:
        """This place."""
        return self._place

    def truncate(self, size: int) -> int:
        """Cut the file, or make it longer."""
        if self._error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Nothing waits here."""
