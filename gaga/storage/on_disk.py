"""Packed molecules whose positions stay in a file: plain rows of float32, read at their place by any thread."""

import os
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from operator import index
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float32, Int64, UInt8, UInt32
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.storage.files import unwritable

BLOCK = 256  # rows for each checksum
_ROW = 12  # bytes of three float32
_PIECE = 20_000  # atoms
_MOLECULES = 4096  # that are selected or written at a time
_IN_MEMORY = 1 << 26  # bytes of a selection's positions
_SEEKING = Lock()  # of systems without reads at a place

ReadRows = Callable[[int, int], Float32[np.ndarray, "a 3"]]
"""Rows first:last of an array [A, 3] in a file, from any thread."""


class Checksums:
    """CRC-32 of each block of rows that come in pieces.

    Attributes:
        done: those of the blocks that are full.
    """

    def __init__(self) -> None:
        self.done: list[int] = []
        self._rest = b""

    def add(self, rows: Float32[np.ndarray, "a 3"]) -> None:
        """Count rows in."""
        content, size = self._rest + rows.astype("<f4", copy=False).tobytes(), BLOCK * _ROW
        whole = len(content) - len(content) % size
        self.done += [zlib.crc32(content[k : k + size]) for k in range(0, whole, size)]
        self._rest = content[whole:]

    def all(self) -> UInt32[np.ndarray, " blocks"]:
        """Those of all blocks, the last of which may be shorter."""
        return np.array(self.done + ([zlib.crc32(self._rest)] if self._rest else []), dtype=np.uint32)


class PlainRows:
    """Reads rows [A, 3] of float32 that lie in a file in one piece, little-endian and in C order.

    The file stays open: what is renamed over it does not change the rows.

    Args:
        descriptor: the open file, which is this object's to close.
        start: byte where the rows begin.
        n_rows: A.
        checksums: of each block, [ceil(A / BLOCK)]; None if there are none.

    Raises:
        InvalidInput: the file is too short.
    """

    def __init__(
        self, descriptor: int, start: int, n_rows: int, checksums: UInt32[np.ndarray, " blocks"] | None = None
    ) -> None:
        weakref.finalize(self, os.close, descriptor)
        self._descriptor, self._start, self._n_rows, self._checksums = descriptor, start, n_rows, checksums
        if os.fstat(descriptor).st_size < start + _ROW * n_rows:
            raise InvalidInput("the file ends before the positions do")

    def __call__(self, first: int, last: int) -> Float32[np.ndarray, "a 3"]:
        """Rows first:last, [last - first, 3].

        Raises:
            ValueError: they differ from their checksums.
            InvalidInput: the file has become shorter.
        """
        if self._checksums is None or first == last:
            return self._rows(first, last)
        block = first // BLOCK
        low, high = block * BLOCK, min(-(-last // BLOCK) * BLOCK, self._n_rows)
        rows = self._rows(low, high)
        for k, at in enumerate(range(0, high - low, BLOCK), block):
            if zlib.crc32(rows[at : at + BLOCK].astype("<f4", copy=False).data) != self._checksums[k]:
                raise ValueError("its positions differ from their checksums")
        return rows[first - low : last - low]

    def _rows(self, first: int, last: int) -> Float32[np.ndarray, "a 3"]:
        content = _read_at(self._descriptor, _ROW * (last - first), self._start + _ROW * first)
        return np.frombuffer(content, dtype="<f4").reshape(-1, 3).astype(np.float32, copy=False)


def _read_at(descriptor: int, size: int, at: int) -> bytearray:
    content = bytearray()
    while len(content) < size:
        got = _read_once(descriptor, size - len(content), at + len(content))
        if not got:
            raise InvalidInput("a file of molecules was cut short while it was read", remedy="start again")
        content += got
    return content


def _read_once(descriptor: int, size: int, at: int) -> bytes:
    if os.name != "nt":
        return os.pread(descriptor, size, at)
    with _SEEKING:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, size)


class MoleculesOnDisk(PackedMolecules):
    """Packed molecules whose `take` reads what it needs; `positions` reads all of them, once, and keeps them.

    Args:
        read: reads rows of the positions in Å.
        atomic_numbers: [A]. offsets: [M + 1].
        first: the first row of each molecule, [M]; None if they follow one another.
    """

    def __init__(
        self,
        read: ReadRows,
        atomic_numbers: UInt8[np.ndarray, " A"],
        offsets: Int64[np.ndarray, " M1"],
        first: Int64[np.ndarray, " M"] | None = None,
    ) -> None:
        in_order = first is None
        first = offsets[:-1] if first is None else first
        vars(self).update(atomic_numbers=atomic_numbers, offsets=offsets, _read=read, _first=first, _in_order=in_order)
        self._check_offsets()

    @cached_property
    def positions(self) -> Float32[np.ndarray, "A 3"]:
        """Positions of all atoms in Å, [A, 3]; in memory from now on."""
        return np.concatenate([np.zeros((0, 3), np.float32), *self.position_pieces()])

    def __getitem__(self, i: SupportsIndex) -> tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]:
        if not -len(self) <= index(i) < len(self):
            raise IndexError(index(i))
        return super().__getitem__(i) if self._is_loaded else self.take([index(i)])[0]

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> PackedMolecules:
        """The molecules at these indices, in that order and in memory; negative ones count from the end."""
        if self._is_loaded:
            return super().take(indices)
        chosen = np.asarray(indices, dtype=np.int64)
        offsets = offsets_of(self.n_atoms[chosen])
        positions = np.empty((int(offsets[-1]), 3), dtype=np.float32)
        starts, sizes = vars(self)["_first"][chosen], np.diff(offsets)
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        # Neighbours in the file are read together.
        between = starts[1:] - (starts + sizes)[:-1]
        cuts = [0, *(np.flatnonzero((between < 0) | (between > BLOCK)) + 1), len(chosen)]
        for some in (slice(*offsets[[k, after]]) for k, after in pairwise(cuts)):
            if some.start < some.stop:
                first, last = int(rows[some.start]), int(rows[some.stop - 1]) + 1
                positions[some] = vars(self)["_read"](first, last)[rows[some] - first]
        return PackedMolecules(positions, self._numbers(chosen, offsets), offsets)

    def select(self, indices: Int64[np.ndarray, " n"]) -> PackedMolecules:
        """The molecules at these indices, in that order; the positions of many stay in the file."""
        offsets = offsets_of(self.n_atoms[indices])
        if _ROW * offsets[-1] <= _IN_MEMORY:
            return self.take(indices)
        numbers = np.empty(int(offsets[-1]), dtype=np.uint8)
        for low in range(0, len(indices), _MOLECULES):  # as the number of each atom takes eight times its element
            some = indices[low : low + _MOLECULES]
            bounds = offsets[low : low + len(some) + 1]
            numbers[bounds[0] : bounds[-1]] = self._numbers(some, bounds - bounds[0])
        return MoleculesOnDisk(vars(self)["_read"], numbers, offsets, vars(self)["_first"][indices])

    def _numbers(self, indices: NDArray[np.int64], offsets: NDArray[np.int64]) -> UInt8[np.ndarray, " a"]:
        """Atomic numbers of these molecules, whose atoms are to begin at `offsets`."""
        moved = np.repeat(self.offsets[:-1][indices] - offsets[:-1], np.diff(offsets))
        return self.atomic_numbers[np.arange(offsets[-1]) + moved]

    def position_pieces(self) -> Iterator[Float32[np.ndarray, "a 3"]]:
        """All positions, a few at a time."""
        if self._is_loaded:
            yield self.positions
        elif vars(self)["_in_order"]:
            for first in range(0, len(self.atomic_numbers), _PIECE):
                yield vars(self)["_read"](first, min(first + _PIECE, len(self.atomic_numbers)))
        else:
            for piece in self.pieces():
                yield piece.positions

    @property
    def _is_loaded(self) -> bool:
        return "positions" in vars(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedMolecules, (self.positions, self.atomic_numbers, self.offsets)


def spill_to_disk(molecules: Iterable[tuple[Any, Any]], folder: Path | None = None) -> PackedMolecules:
    """Pack (atomic_numbers [N], positions [N, 3] in Å) pairs, positions in a nameless file that ends with this process.

    Raises:
        Unavailable: the disk is full.
    """
    numbers, sizes, waiting = bytearray(), [], list[NDArray[np.float32]]()
    try:
        # not atomic: it has no name, and ends with this process
        with TemporaryFile(dir=folder, prefix=".") as file:
            for z, x in molecules:
                numbers += np.asarray(z, dtype=np.uint8).tobytes()
                sizes.append(len(z))
                waiting.append(np.asarray(x, dtype="<f4").reshape(-1, 3))
                if len(waiting) == _MOLECULES:
                    file.write(np.concatenate(waiting).tobytes())
                    waiting.clear()
            file.write(b"".join(rows.tobytes() for rows in waiting))
            file.flush()
            descriptor = os.dup(file.fileno())
    except OSError as error:
        raise unwritable(folder or Path("a temporary file"), error) from error
    atomic_numbers = np.frombuffer(bytes(numbers), dtype=np.uint8)
    return MoleculesOnDisk(PlainRows(descriptor, 0, len(atomic_numbers)), atomic_numbers, offsets_of(sizes))
