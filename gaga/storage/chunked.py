"""Packed molecules whose positions stay in a file, compressed in small chunks of HDF5.

A chunk is what HDF5's filters `shuffle` and `deflate` make of so many rows; zlib's checksum in it finds damage when it
is read. Reading goes past HDF5, whose one lock would let only one thread decompress at a time.
"""

import os
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count
from operator import index
from threading import Lock
from typing import Any, SupportsIndex

import h5py
import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.storage.filed import read_at

CHUNK = 1024  # atoms; a random molecule costs the reading of one or two chunks
_LEVEL = 4  # of zlib; higher ones take twice the time for a hundredth of the size
_FILTERS = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE)
_CACHED = 512  # chunks that are kept decoded, 6 MB
_PIECE = 4096  # molecules


def encode(rows: Float32[np.ndarray, "a 3"]) -> bytes:
    """A chunk of at most CHUNK rows, filled up with zeros, as HDF5's filters shuffle and deflate make it."""
    whole = np.zeros((CHUNK, 3), dtype="<f4")
    whole[: len(rows)] = rows
    return zlib.compress(whole.view(np.uint8).reshape(-1, 4).T.tobytes(), _LEVEL)


def decode(content: bytes | bytearray) -> Float32[np.ndarray, "rows 3"]:
    """The rows of a chunk.

    Raises:
        ValueError: it is damaged, or of another size.
    """
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(content, 12 * CHUNK + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(plain) != 12 * CHUNK or not machine.eof:
        raise ValueError("a chunk is of another size")
    rows = np.frombuffer(plain, np.uint8).reshape(4, -1).T.copy().view("<f4")
    return rows.reshape(-1, 3).astype(np.float32, copy=False)


def new_array(group: h5py.Group, name: str, n_rows: int) -> Callable[[bytes], None]:
    """An array [n_rows, 3] of float32, and what its `encode`d chunks are given to, in their order."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((CHUNK, 3))
    plan.set_shuffle()
    plan.set_deflate(_LEVEL)
    space = h5py.h5s.create_simple((n_rows, 3), (max(n_rows, CHUNK), 3))  # no less than a chunk
    item = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plan)
    places = count(0, CHUNK)
    return lambda content: item.write_direct_chunk((next(places), 0), content, 0)


def encoded(pieces: Iterable[Float32[np.ndarray, "_ 3"]]) -> Iterator[bytes]:
    """The chunks of rows that come in pieces."""
    encoder = Encoder()
    for piece in pieces:
        yield from encoder.add(piece)
    yield from encoder.last()


class Encoder:
    """Rows that come in pieces -> whole chunks.

    Args:
        tail: rows that do not fill a chunk yet, of an earlier encoder.
    """

    def __init__(self, tail: Float32[np.ndarray, "a 3"] | None = None) -> None:
        self.tail = np.zeros((0, 3), dtype=np.float32) if tail is None else tail

    def add(self, rows: Float32[np.ndarray, "b 3"]) -> list[bytes]:
        """The chunks that these rows fill; the rest is kept."""
        rows = np.concatenate([self.tail, rows])
        whole = len(rows) - len(rows) % CHUNK
        self.tail = rows[whole:].copy()
        return [encode(rows[first : first + CHUNK]) for first in range(0, whole, CHUNK)]

    def last(self) -> list[bytes]:
        """The chunk of what is left, if anything is."""
        return [encode(self.tail)] if len(self.tail) else []


class Chunks:
    """The chunks of an array of positions [n_rows, 3], read from an open file by any thread.

    Args:
        descriptor: the open file, which is this object's to close.
        places: where each chunk begins in the file, and how many bytes it has, [chunks, 2].
        n_rows: of the array.
        largest: coordinates beyond this, in Å, are taken for damage.
        name: of the file, for complaints.
    """

    def __init__(
        self, descriptor: int, places: Int64[np.ndarray, "chunks 2"], n_rows: int, *, largest: float, name: str
    ) -> None:
        self.n_rows = n_rows
        self._descriptor, self._places, self._largest, self._name = descriptor, places, largest, name
        self._cache: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()
        weakref.finalize(self, os.close, descriptor)

    def __getitem__(self, k: int) -> Float32[np.ndarray, "rows 3"]:
        """Chunk k, its last rows without meaning where it is the last.

        Raises:
            InvalidInput: it is damaged, or holds what is no position.
        """
        with self._lock:
            if k in self._cache:
                self._cache.move_to_end(k)
                return self._cache[k]
        rows = self._read(k)
        with self._lock:
            self._cache[k] = rows
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return rows

    def _read(self, k: int) -> NDArray[np.float32]:
        place, size = map(int, self._places[k])
        try:
            rows = decode(read_at(self._descriptor, size, place))
            if not (np.abs(rows) <= self._largest).all():
                raise ValueError("a coordinate is not finite, or too far away")
        except ValueError as error:
            raise InvalidInput(f"{self._name} is damaged: {error}", remedy="prepare it again") from error
        rows.flags.writeable = False
        return rows

    def rows(self, wanted: Int64[np.ndarray, " a"]) -> Float32[np.ndarray, "a 3"]:
        """The rows of these numbers, each chunk read once."""
        chunk, within = np.divmod(wanted, CHUNK)
        order = np.argsort(chunk, kind="stable")
        found = np.empty((len(wanted), 3), dtype=np.float32)
        cuts = np.flatnonzero(np.diff(chunk[order], prepend=-1))
        for first, last in zip(cuts, [*cuts[1:], len(order)], strict=False):
            here = order[first:last]
            found[here] = self[int(chunk[here[0]])][within[here]]
        return found


def places_of(item: h5py.Dataset) -> Int64[np.ndarray, "chunks 2"] | None:
    """Place and size of each chunk of an array as `new_array` makes it; None where it is laid out otherwise.

    Raises:
        ValueError: a chunk is missing.
    """
    plan = item.id.get_create_plist()
    filters = tuple(plan.get_filter(i)[0] for i in range(plan.get_nfilters()))
    if item.chunks != (CHUNK, 3) or filters != _FILTERS or item.dtype != np.dtype("<f4") or item.shape[1:] != (3,):
        return None
    places = np.zeros((-(-item.shape[0] // CHUNK), 2), dtype=np.int64)
    stored_plainly = []

    def note(chunk: Any) -> None:
        places[chunk.chunk_offset[0] // CHUNK] = chunk.byte_offset, chunk.size
        stored_plainly.append(chunk.filter_mask)

    item.id.chunk_iter(note)
    if not places[:, 1].all():
        raise ValueError(f"{item.name} lacks some of its chunks")
    return None if any(stored_plainly) else places


class ChunkedMolecules(PackedMolecules):
    """Packed molecules whose positions are read from chunks as they are needed; `positions` reads and keeps them all.

    Args:
        chunks: of the positions. atomic_numbers: [A]. offsets: [M + 1].
        first: the first row of each molecule in the chunks, [M]; None where they lie there one after the other.
    """

    def __init__(
        self,
        chunks: Chunks,
        atomic_numbers: UInt8[np.ndarray, " A"],
        offsets: Int64[np.ndarray, " M1"],
        first: Int64[np.ndarray, " M"] | None = None,
    ) -> None:
        vars(self).update(_chunks=chunks, _first=first, atomic_numbers=atomic_numbers, offsets=offsets)
        self._check_offsets()
        if first is None and chunks.n_rows != len(atomic_numbers):
            raise InvalidInput("positions and atomic numbers differ in length", received=chunks.n_rows)

    @cached_property
    def positions(self) -> Float32[np.ndarray, "A 3"]:
        """Positions of all atoms in Å, [A, 3]; in memory from now on."""
        return np.concatenate([np.zeros((0, 3), np.float32), *self.position_pieces()])

    def __getitem__(self, i: SupportsIndex) -> tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]:
        if not -len(self) <= index(i) < len(self):
            raise IndexError(index(i))
        return self.take([index(i)])[0]

    def __iter__(self) -> Iterator[tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]]:
        for piece in self.pieces():
            yield from piece

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> PackedMolecules:
        """The molecules at these indices, in that order and in memory; negative ones count from the end."""
        chosen = np.asarray(indices, dtype=np.int64)
        sizes, starts = self._sizes_and_starts(chosen)
        offsets = offsets_of(sizes)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        atoms = within + np.repeat(starts, sizes)
        rows = atoms if self._first is None else within + np.repeat(self._first[chosen], sizes)
        return PackedMolecules(self._chunks.rows(rows), self.atomic_numbers[atoms], offsets)

    def select(self, indices: Int64[np.ndarray, " n"]) -> "ChunkedMolecules":
        """The molecules at these indices, in that order; their positions stay in the file."""
        sizes, starts = self._sizes_and_starts(indices)
        offsets = offsets_of(sizes)
        first = (self.offsets[:-1] if self._first is None else self._first)[indices]
        numbers = np.empty(int(offsets[-1]), dtype=np.uint8)
        for low in range(0, len(indices), _PIECE):
            high = min(low + _PIECE, len(indices))
            here, some = slice(int(offsets[low]), int(offsets[high])), sizes[low:high]
            atoms = np.arange(here.stop - here.start) + np.repeat(starts[low:high] - (np.cumsum(some) - some), some)
            numbers[here] = self.atomic_numbers[atoms]
        return ChunkedMolecules(self._chunks, numbers, offsets, first)

    def position_pieces(self) -> Iterator[Float32[np.ndarray, "a 3"]]:
        """All positions, a few at a time."""
        for piece in self.pieces(_PIECE):
            yield piece.positions

    def _sizes_and_starts(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of atoms and first atom of these molecules."""
        starts, stops = self.offsets[:-1][indices], self.offsets[1:][indices]
        return stops - starts, starts

    @property
    def _chunks(self) -> Chunks:
        chunks: Chunks = vars(self)["_chunks"]
        return chunks

    @property
    def _first(self) -> NDArray[np.int64] | None:
        first: NDArray[np.int64] | None = vars(self)["_first"]
        return first

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedMolecules, (self.positions, self.atomic_numbers, self.offsets)
