"""Packed molecules whose positions stay in a file until somebody needs all of them."""

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from operator import index
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.storage.files import unwritable

_ROW = 12  # bytes of three float32
_PIECE = 20_000  # atoms
_SEEKING = Lock()  # of systems without reads at a place
_GATHERED = 4096  # molecules that are written at a time


class FiledMolecules(PackedMolecules):
    """Packed molecules whose `take` reads what it needs; `positions` reads all of them, once, and keeps them.

    The file stays open: what is renamed over it does not change the molecules.

    Args:
        descriptor: the open file, which is this object's to close.
        start: where the positions begin, float32 [A, 3], little-endian and in C order.
        atomic_numbers: [A]. offsets: [M + 1].

    Raises:
        InvalidInput: the file is too short.
    """

    def __init__(
        self, descriptor: int, start: int, atomic_numbers: UInt8[np.ndarray, " A"], offsets: Int64[np.ndarray, " M1"]
    ) -> None:
        weakref.finalize(self, os.close, descriptor)
        vars(self).update(_descriptor=descriptor, _start=start, atomic_numbers=atomic_numbers, offsets=offsets)
        self._check_offsets()
        if os.fstat(descriptor).st_size < start + _ROW * len(atomic_numbers):
            raise InvalidInput("the file ends before the positions do")

    @cached_property
    def positions(self) -> Float32[np.ndarray, "A 3"]:
        """Positions of all atoms in Å, [A, 3]; in memory from now on."""
        return self._rows(0, len(self.atomic_numbers))

    def __getitem__(self, i: SupportsIndex) -> tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]:
        if not -len(self) <= index(i) < len(self):
            raise IndexError(index(i))
        return super().__getitem__(i) if self._is_loaded else self.take([index(i)])[0]

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> PackedMolecules:
        """The molecules at these indices, in that order and in memory; negative ones count from the end."""
        if self._is_loaded:
            return super().take(indices)
        chosen = np.asarray(indices, dtype=np.int64) % max(len(self), 1)
        offsets = offsets_of(self.n_atoms[np.asarray(indices, dtype=np.int64)])
        positions = np.empty((int(offsets[-1]), 3), dtype=np.float32)
        numbers = np.empty(len(positions), dtype=np.uint8)
        # Neighbours in the file are read together.
        cuts = np.flatnonzero(np.diff(chosen, prepend=-2) != 1)
        for first, last in zip(cuts, [*cuts[1:], len(chosen)], strict=False):
            start, stop = self.offsets[chosen[first]], self.offsets[chosen[last - 1] + 1]
            here = slice(int(offsets[first]), int(offsets[last]))
            positions[here], numbers[here] = self._rows(int(start), int(stop)), self.atomic_numbers[start:stop]
        return PackedMolecules(positions, numbers, offsets)

    def position_pieces(self) -> Iterator[Float32[np.ndarray, "a 3"]]:
        """All positions, a few at a time."""
        if self._is_loaded:
            yield self.positions
            return
        for first in range(0, len(self.atomic_numbers), _PIECE):
            yield self._rows(first, min(first + _PIECE, len(self.atomic_numbers)))

    @property
    def _is_loaded(self) -> bool:
        return "positions" in vars(self)

    def _rows(self, start: int, stop: int) -> Float32[np.ndarray, "a 3"]:
        wanted, at = _ROW * (stop - start), vars(self)["_start"] + _ROW * start
        content = read_at(vars(self)["_descriptor"], wanted, at)
        return np.frombuffer(content, dtype="<f4").reshape(-1, 3).astype(np.float32, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedMolecules, (self.positions, self.atomic_numbers, self.offsets)


def read_at(descriptor: int, size: int, at: int) -> bytearray:
    """So many bytes at a place; from any thread.

    Raises:
        InvalidInput: the file has become shorter.
    """
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


def file_away(molecules: Iterable[tuple[Any, Any]], folder: Path | None = None) -> PackedMolecules:
    """Pack (atomic_numbers [N], positions [N, 3] in Å) pairs, positions in a nameless file that ends with this process.

    Raises:
        Unavailable: the disk is full.
    """
    numbers, sizes, places = bytearray(), [], list[NDArray[np.float32]]()
    try:
        # not atomic: it has no name, and ends with this process
        with TemporaryFile(dir=folder, prefix=".") as file:
            for z, x in molecules:
                numbers += np.asarray(z, dtype=np.uint8).tobytes()
                sizes.append(len(z))
                places.append(np.asarray(x, dtype="<f4").reshape(-1, 3))
                if len(places) == _GATHERED:
                    file.write(np.concatenate(places).tobytes())
                    places.clear()
            file.write(b"".join(place.tobytes() for place in places))
            file.flush()
            descriptor = os.dup(file.fileno())
    except OSError as error:
        raise unwritable(folder or Path("a temporary file"), error) from error
    atomic_numbers = np.frombuffer(bytes(numbers), dtype=np.uint8)
    return FiledMolecules(descriptor, 0, atomic_numbers, offsets_of(sizes))
