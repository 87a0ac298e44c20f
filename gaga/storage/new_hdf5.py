"""Writing an HDF5 file that a full disk cannot turn into a crash."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def new_hdf5(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new HDF5 file, and a function that raises if a write has failed: call it between large pieces.

    HDF5 tries again whatever it could not write whenever it cleans up, and ends the process if that fails too. So a
    failure is kept from it until it has closed the file, and raised then.

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
        """Fill a buffer from this place on, with zeros where nothing was written."""
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
