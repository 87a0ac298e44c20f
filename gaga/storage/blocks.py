"""Arrays that come in pieces: a result that is larger than memory should hold is written and read so."""

import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaga.storage.files import unwritable

TEXT: np.dtype[Any] = np.dtype(np.str_)
_BYTES = 1 << 18  # of a piece
_TEXTS = 4096  # of a piece
LONG_TEXTS = 2 * _TEXTS  # more of them than these are written in pieces
_LENGTH = 8  # bytes in front of each text


class Blocks(ABC):
    """An array whose elements come in pieces along its first axis, as often as they are asked for.

    Attributes:
        dtype: of its elements; `TEXT` for text of any length.
        shape: of the whole array.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @abstractmethod
    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The pieces in their order, each of `rows` rows but for the last."""

    @property
    def rows(self) -> int:
        """Rows of a piece, about a quarter of a megabyte."""
        if self.dtype.kind == "U":
            return _TEXTS
        return max(1, _BYTES // max(1, self.dtype.itemsize * int(np.prod(self.shape[1:]))))


class Held(Blocks):
    """An array [n, ...] that is in memory, or texts [n], which need not become an array as wide as the longest."""

    def __init__(self, values: NDArray[Any] | Sequence[str]) -> None:
        is_array = isinstance(values, np.ndarray) and values.dtype.kind != "U"
        self.dtype = values.dtype if is_array else TEXT  # type: ignore[union-attr]
        self.shape = values.shape if isinstance(values, np.ndarray) else (len(values),)
        self._values = values

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for first in range(0, self.shape[0], self.rows):
            yield np.asarray(self._values[first : first + self.rows])


class Column(Blocks):
    """An array that grows at its end, in a nameless file that goes when this process ends; a context manager.

    Args:
        folder: where the file is.
        dtype: of the elements.
        row: shape of one row.

    Raises:
        Unavailable: the file cannot be made.
    """

    def __init__(self, folder: Path, dtype: Any, row: tuple[int, ...] = ()) -> None:
        self.dtype, self.shape = np.dtype(dtype), (0, *row)
        self._folder = folder
        try:
            # not atomic: it has no name, and goes with its process
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise unwritable(folder, error) from error

    def append(self, values: NDArray[Any]) -> None:
        """Add rows [n, *row] of numbers, or [n] of text.

        Raises:
            Unavailable: the disk is full.
        """
        content = as_bytes(values if self.dtype.kind == "U" else values.astype(self.dtype, casting="same_kind"))
        try:
            self._file.seek(0, 2)
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise unwritable(self._folder, error) from error
        self.shape = (self.shape[0] + len(values), *self.shape[1:])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        offset = 0
        for first in range(0, self.shape[0], self.rows):
            n = min(self.rows, self.shape[0] - first)
            self._file.seek(offset)
            yield self._texts(n) if self.dtype.kind == "U" else self._numbers(n)
            offset = self._file.tell()

    def _numbers(self, n: int) -> NDArray[Any]:
        content = self._file.read(n * self.dtype.itemsize * int(np.prod(self.shape[1:])))
        there = np.frombuffer(content, self.dtype.newbyteorder("<")).reshape(n, *self.shape[1:])
        return there.astype(self.dtype)

    def _texts(self, n: int) -> NDArray[Any]:
        read = self._file.read
        return np.array([read(int.from_bytes(read(_LENGTH), "little")).decode() for _ in range(n)], dtype=np.str_)

    def close(self) -> None:
        """Give the space back; what is left in a buffer is not needed, so that an error in writing it is ignored."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> "Column":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FiledColumn(Column):
    """A column of the system's temporary folder, whose file goes with this object.

    Args:
        dtype: of the elements.

    Raises:
        Unavailable: the file cannot be made.
    """

    def __init__(self, dtype: Any) -> None:
        super().__init__(Path(tempfile.gettempdir()), dtype)
        weakref.finalize(self, self._file.close)


def as_bytes(values: NDArray[Any]) -> bytes:
    """The elements in C order, as docs/FORMAT.md has them: little-endian; text as its length (8 bytes) and UTF-8."""
    if values.dtype.kind == "U":
        encoded = [text.encode("utf-8", "surrogateescape") for text in values.ravel().tolist()]
        return b"".join(len(text).to_bytes(_LENGTH, "little") + text for text in encoded)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
