"""Unfinished work: a file next to its result, from which a killed run resumes.

A computation puts each finished piece, arrays under a name, into a `PartialFile` (`PartialResults` keeps nothing, for
work that is not resumed). `resume_or_reject` decides what happens to an unfinished run that is found. Beneath both,
`RecordFile` appends records: one line of JSON says which run the file belongs to; then come records, as docs/FORMAT.md
has them. The first that is not whole ends the file: it is cut there, and what followed is computed again.
"""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaga.core.errors import Conflict, InvalidInput
from gaga.storage.files import unwritable

Piece = Mapping[str, NDArray[Any]]
"""Arrays of numbers by name."""

_PIECE_HEAD = struct.Struct("<II")  # bytes of the content and its CRC-32
_LONGEST_LINE = 1 << 20  # bytes of the first line


class PartialResults:
    """Finished pieces by name. This class keeps none: the default of work that is not to be resumed."""

    def get(self, name: str) -> Piece | None:
        """The piece of that name, None if there is none."""
        return None

    def put(self, name: str, piece: Piece) -> None:
        """Keep a piece; it survives the end of this process."""

    def __contains__(self, name: str) -> bool:
        return False

    def get_or_put(self, name: str, compute: Callable[[], Piece]) -> Piece:
        """The piece of that name; if there is none, it is computed and kept."""
        piece = self.get(name)
        if piece is None:
            piece = compute()
            self.put(name, piece)
        return piece

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


class RecordFile:
    """An append-only file: one line of JSON, the run's identity, then records of a head and as many bytes as it says.

    Args:
        path: the file, which need not exist.
        run: what identifies the run, as JSON.
        head: the form of a record's head.
        size: the number of bytes after a head, from its values.
        is_whole: whether these bytes are those that the head was written for, from its values and the bytes.
        remedy: how to start over, for a run with other settings.
        appends: whether this process adds records.

    Raises:
        Conflict: the file belongs to a run with other settings.
        InvalidInput: it is no file of an unfinished run.
        Unavailable: it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        run: Mapping[str, Any],
        head: struct.Struct,
        size: Callable[..., int],
        is_whole: Callable[[Sequence[Any], bytes], bool],
        *,
        remedy: str,
        appends: bool = True,
    ) -> None:
        self.path, self._line = path, json.dumps(dict(run), sort_keys=True).encode() + b"\n"
        self._head, self._size, self._is_whole = head, size, is_whole
        # Unbuffered: what a full disk refused is not tried again when the file is closed.
        self._file: io.FileIO | None = None
        self._is_trimmed, self._end = False, len(self._line)
        if line := _first_line(path):
            _require_same_run(path, json.loads(self._line), remedy)
            self._end = len(line)
            try:
                # not atomic: records are appended; one that was cut short does not count
                self._file = io.FileIO(path, "rb+" if appends else "rb")
            except OSError as error:
                raise unwritable(path, error) from error

    def new_records(self) -> Iterator[tuple[int, Sequence[Any], bytes]]:
        """Offset, head and content of each whole record after those seen so far."""
        while record := self._record(self._end):
            offset, self._end = self._end, self._end + self._head.size + len(record[1])
            yield offset, *record

    def read(self, offset: int) -> tuple[Sequence[Any], bytes]:
        """Head and content of a record.

        Raises:
            InvalidInput: it is not whole.
        """
        record = self._record(offset)
        if record is None:
            raise InvalidInput(f"{self.path} is damaged", remedy="start over")
        return record

    def _record(self, offset: int) -> tuple[Sequence[Any], bytes] | None:
        if self._file is None:
            return None
        self._file.seek(offset)
        head = self._file.read(self._head.size)
        if len(head) < self._head.size:
            return None
        values = self._head.unpack(head)
        size = self._size(*values)
        if size > os.fstat(self._file.fileno()).st_size - offset:
            return None
        content = self._file.read(size)
        return (values, content) if len(content) == size and self._is_whole(values, content) else None

    def make_or_trim(self) -> io.FileIO:
        """Make the file, or cut what follows its last whole record; later calls change nothing.

        Raises:
            Unavailable: it cannot be written.
        """
        if self._file is not None and self._is_trimmed:
            return self._file
        is_new = not self.path.exists()
        try:
            if self._file is None:
                # not atomic: a first line that was cut short is written anew
                self._file = io.FileIO(self.path, "wb+")
                _write_all(self._file, self._line)
            else:
                self._file.truncate(self._end)
        except OSError as error:
            self.close()
            if is_new:  # and not even its first line is there
                self.path.unlink(missing_ok=True)
            raise unwritable(self.path, error) from error
        self._is_trimmed = True
        return self._file

    def append(self, records: Sequence[bytes]) -> list[int]:
        """Add records, heads included; they survive the end of this process.

        Returns:
            Their offsets.

        Raises:
            Unavailable: they cannot be written.
        """
        file = self.make_or_trim()
        offsets = list(accumulate(map(len, records), initial=self._end))
        try:
            file.seek(self._end)
            _write_all(file, b"".join(records))
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._end = offsets.pop()
        return offsets

    def close(self) -> None:
        """Close the file, and keep it."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


def _write_all(file: io.FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


class PartialFile(PartialResults):
    """The pieces of a run, those of earlier processes included; a context manager.

    The file is made with the first piece, so that a run which finished nothing leaves nothing.

    Args:
        path: the file.
        run: what identifies the run, as JSON.
        remedy: how to start over, for a run with other settings.

    Raises:
        Conflict, InvalidInput, Unavailable: as of `RecordFile`.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], *, remedy: str) -> None:
        self._file = RecordFile(path, run, _PIECE_HEAD, lambda length, _: length, _matches_crc, remedy=remedy)
        self._offsets = {
            str(json.loads(content.partition(b"\n")[0])["name"]): offset
            for offset, _, content in self._file.new_records()
        }

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, name: str) -> bool:
        return name in self._offsets

    def names(self) -> list[str]:
        """The names of the pieces."""
        return list(self._offsets)

    def get(self, name: str) -> Piece | None:
        """The piece of that name, None if there is none.

        Raises:
            InvalidInput: it has been damaged since it was written.
        """
        return _piece_in(self._file.read(self._offsets[name])[1]) if name in self._offsets else None

    def put(self, name: str, piece: Piece) -> None:
        """Keep a piece; it survives the end of this process.

        Raises:
            Unavailable: it cannot be written.
        """
        content = _as_bytes(name, piece)
        (self._offsets[name],) = self._file.append([_PIECE_HEAD.pack(len(content), zlib.crc32(content)) + content])

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _matches_crc(head: Sequence[int], content: bytes) -> bool:
    return bool(content) and zlib.crc32(content) == head[1]


def _as_bytes(name: str, piece: Piece) -> bytes:
    """A line of JSON with the name and the arrays' types and shapes, then their elements, little-endian."""
    little = {key: np.asarray(value, value.dtype.newbyteorder("<")) for key, value in piece.items()}
    kinds = {key: [value.dtype.str, list(value.shape)] for key, value in little.items()}
    line = json.dumps({"name": name, "arrays": kinds}).encode() + b"\n"
    return b"".join([line, *(value.tobytes() for value in little.values())])


def _piece_in(content: bytes) -> Piece:
    line, _, rest = content.partition(b"\n")
    piece, offset = {}, 0
    for key, (kind, shape) in json.loads(line)["arrays"].items():
        dtype = np.dtype(kind)
        values = np.frombuffer(rest, dtype, count=int(np.prod(shape, dtype=np.int64)), offset=offset)
        offset += values.nbytes
        piece[key] = values.reshape(shape).astype(dtype.newbyteorder("="))
    return piece


def has_run(path: Path) -> bool:
    """Whether a run has begun the file."""
    return bool(_first_line(path))


def run_of(path: Path) -> dict[str, Any] | None:
    """What identifies the run that began the file; None if no run of gaga has."""
    try:
        found = json.loads(_first_line(path))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _first_line(path: Path) -> bytes:
    """The first line; empty if there is no file, or if the process that began it did not write all of the line."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
    except FileNotFoundError:
        return b""
    return line if line.endswith(b"\n") else b""


def resume_or_reject(
    exists: bool, discard: Callable[[], object], *, resume: bool, start_over: bool, what: str, remedy: str
) -> None:
    """Keep an unfinished run that is resumed, discard one if the new run starts over, else reject the new run.

    Args:
        exists: whether there is an unfinished run; the caller holds its lock.
        discard: deletes it.
        resume, start_over: what the user asked for; `resume` comes first.
        what: the unfinished run, for the error. remedy: how to start over.

    Raises:
        Conflict: there is one, and neither is asked for.
    """
    if not exists or resume:
        return
    if not start_over:
        raise Conflict(f"{what} is unfinished", remedy=f"continue with `resume=True`, or {remedy}")
    discard()


def _require_same_run(path: Path, wanted: dict[str, Any], remedy: str) -> None:
    found = run_of(path)
    if found is None:
        raise InvalidInput(f"{path} is not an unfinished run of gaga", remedy="delete it")
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        raise Conflict(
            f"the unfinished run in {path} was started with another {', '.join(differing)}",
            remedy=f"resume with the settings it was started with, or {remedy}",
        )
