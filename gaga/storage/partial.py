"""Finished pieces of long work: an append-only file beside its result, from which a killed run goes on.

One line of JSON says which run the file belongs to; then come records with checksums, as docs/FORMAT.md has them. What
does not check ends the file: it is cut there, and the pieces behind it are computed again.
"""

import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaga.core.errors import Conflict, InvalidInput
from gaga.storage.files import unwritable

Piece = Mapping[str, NDArray[Any]]
"""Arrays of numbers by name."""

_HEAD = struct.Struct("<II")  # bytes of the content and its CRC-32
_CHUNK = 1 << 20  # bytes that are checked at a time
_LONGEST_LINE = 1 << 20  # bytes of the first line


class PartialResults:
    """Finished pieces by name. This one keeps none: the default of work that nobody means to go on with."""

    def get(self, name: str) -> Piece | None:
        """The piece of that name, None where it is not there."""
        return None

    def put(self, name: str, piece: Piece) -> None:
        """Keep a piece; it survives the end of this process."""

    def __contains__(self, name: str) -> bool:
        return False

    def subset(self, stage: str) -> "PartialResults":
        """The pieces of one stage of the work, whose names are its own."""
        return _Stage(self, stage)


NO_PARTIALS = PartialResults()


class _Stage(PartialResults):
    def __init__(self, whole: PartialResults, stage: str) -> None:
        self._whole, self._stage = whole, stage

    def get(self, name: str) -> Piece | None:
        return self._whole.get(f"{self._stage}/{name}")

    def put(self, name: str, piece: Piece) -> None:
        self._whole.put(f"{self._stage}/{name}", piece)

    def __contains__(self, name: str) -> bool:
        return f"{self._stage}/{name}" in self._whole


class PartialFile(PartialResults):
    """The pieces of a run, those of earlier processes included; a context manager.

    The file is made with the first piece, so that a run which finished nothing leaves nothing.

    Args:
        path: the file.
        run: what identifies the run, as JSON.
        remedy: how to start over, for whoever comes with other settings.

    Raises:
        Conflict: the file belongs to a run with other settings.
        InvalidInput: the file is no journal.
        Unavailable: the file cannot be opened.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], *, remedy: str) -> None:
        self._path, self._line = path, json.dumps(dict(run), sort_keys=True).encode() + b"\n"
        self._places: dict[str, int] = {}
        self._end = len(self._line)
        # Unbuffered: what a full disk refused is not tried again when the file is closed.
        self._file: io.FileIO | None = None
        if first_line(path):
            with open_run(path, self._line, "rb", remedy=remedy) as file:
                self._end = len(file.readline())
                for name, offset, end in _whole_records(file, self._end):
                    self._places[name], self._end = offset, end

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def names(self) -> list[str]:
        """The names of the pieces."""
        return list(self._places)

    def get(self, name: str) -> Piece | None:
        """The piece of that name, None where it is not there."""
        if name not in self._places:
            return None
        with self._path.open("rb") as file:
            file.seek(self._places[name])
            length, _ = _HEAD.unpack(file.read(_HEAD.size))
            return _arrays(file.read(length))

    def put(self, name: str, piece: Piece) -> None:
        """Keep a piece; it survives the end of this process.

        Raises:
            Unavailable: it cannot be written.
        """
        content = _content(name, piece)
        try:
            if self._file is None:
                self._file = self._opened()
            self._file.seek(self._end)
            _write_all(self._file, _HEAD.pack(len(content), zlib.crc32(content)) + content)
        except OSError as error:
            raise unwritable(self._path, error) from error
        self._places[name] = self._end
        self._end += _HEAD.size + len(content)

    def _opened(self) -> io.FileIO:
        """The file, begun with its first line or without what follows its last whole record."""
        made = not self._path.exists()
        file = io.FileIO(self._path, "rb+" if self._places else "wb+")
        try:
            if self._places:
                file.truncate(self._end)
            else:
                _write_all(file, self._line)
        except OSError:
            file.close()
            if made:  # and not even its first line is there
                self._path.unlink(missing_ok=True)
            raise
        self._end = self._end if self._places else len(self._line)
        return file

    def close(self) -> None:
        """Close the file, and keep it."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _write_all(file: io.FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _whole_records(file: BinaryIO, start: int) -> Iterator[tuple[str, int, int]]:
    """Name, offset and end of each record up to the first that does not check."""
    size = file.seek(0, 2)
    while True:
        file.seek(start)
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        length, checksum = _HEAD.unpack(head)
        end = start + _HEAD.size + length
        if not length or end > size or _checksum(file, length) != checksum:
            return
        file.seek(start + _HEAD.size)
        yield str(json.loads(file.readline())["name"]), start, end
        start = end


def _checksum(file: BinaryIO, length: int) -> int:
    """CRC-32 of the next bytes."""
    checksum = 0
    for first in range(0, length, _CHUNK):
        checksum = zlib.crc32(file.read(min(_CHUNK, length - first)), checksum)
    return checksum


def _content(name: str, piece: Piece) -> bytes:
    """A line of JSON with the name and the arrays' types and shapes, then their elements, little-endian."""
    little = {key: np.asarray(value, value.dtype.newbyteorder("<")) for key, value in piece.items()}
    kinds = {key: [value.dtype.str, list(value.shape)] for key, value in little.items()}
    line = json.dumps({"name": name, "arrays": kinds}).encode() + b"\n"
    return b"".join([line, *(value.tobytes() for value in little.values())])


def _arrays(content: bytes) -> Piece:
    line, _, rest = content.partition(b"\n")
    piece, offset = {}, 0
    for key, (kind, shape) in json.loads(line)["arrays"].items():
        dtype = np.dtype(kind)
        values = np.frombuffer(rest, dtype, count=int(np.prod(shape, dtype=np.int64)), offset=offset)
        offset += values.nbytes
        piece[key] = values.reshape(shape).astype(dtype.newbyteorder("="))
    return piece


def open_run(path: Path, line: bytes, mode: str, *, remedy: str) -> BinaryIO:
    """The file of this very run, read from its beginning.

    Raises:
        Conflict: it belongs to a run with other settings.
        InvalidInput: it is no file of an unfinished run.
        Unavailable: it cannot be opened.
    """
    try:
        # not atomic: records are appended; one that was cut short does not count
        file = path.open(mode)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        _check_run(path, file.readline(_LONGEST_LINE), line, remedy)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file  # type: ignore[return-value]


def first_line(path: Path) -> bytes:
    """The first line; empty where there is no file, or the process that began it did not get as far."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
    except FileNotFoundError:
        return b""
    return line if line.endswith(b"\n") else b""


def settle(path: Path, *, resume: bool, start_over: bool, what: str, remedy: str) -> None:
    """Stop at an unfinished run that is neither gone on with nor given up; whoever calls this holds its lock.

    Raises:
        Conflict: there is one, of `what`.
    """
    if start_over and not resume:
        path.unlink(missing_ok=True)
    elif not resume and first_line(path):
        raise Conflict(f"{what} was interrupted", remedy=f"continue with `resume=True`, or {remedy}")


def _check_run(path: Path, there: bytes, wanted: bytes, remedy: str) -> None:
    here = json.loads(wanted)
    try:
        found = json.loads(there)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} is not an unfinished run of gaga", remedy="delete it")
    differing = [key for key in here if found.get(key) != here[key]]
    if differing:
        raise Conflict(
            f"the unfinished run in {path} was started with another {', '.join(differing)}",
            remedy=f"resume with the settings it was started with, or {remedy}",
        )
