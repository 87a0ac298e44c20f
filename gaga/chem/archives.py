"""Files in tar and zip archives, read as streams: nothing is unpacked onto the disk, whatever a member is called."""

import bz2
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, cast

from gaga.chem.bounded import FREE, MAX_RATIO
from gaga.core.errors import InvalidInput

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".zip")

DAMAGE = (EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error)
"""What is raised if an archive is cut short or damaged."""


def members(raw: io.BufferedReader, name: str) -> Iterator[tuple[str, io.BufferedReader]]:
    """Name and content of each file in an archive, in their order; a content is read before the next one is asked for.

    Raises:
        InvalidInput: it unpacks to more than 200 times its size.
        EOFError, OSError, TarError, BadZipFile, zlib.error: it is damaged.
    """
    if zipfile.is_zipfile(raw):
        yield from _zip_members(raw, name)
        return
    raw.seek(0)
    with tarfile.open(fileobj=cast(Any, Unpacked(raw, name)), mode="r|") as archive:
        for member in archive:
            if member.isreg() and (content := archive.extractfile(member)) is not None:
                yield str(PurePosixPath(member.name)), io.BufferedReader(_Forward(content))


def _zip_members(raw: io.BufferedReader, name: str) -> Iterator[tuple[str, io.BufferedReader]]:
    with zipfile.ZipFile(raw, "r") as archive:
        total = 0
        for member in archive.infolist():
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                raise InvalidInput(f"{name} is encrypted", remedy="unpack it first")
            total += member.file_size
            if total > max(FREE, MAX_RATIO * raw.seek(0, io.SEEK_END)):
                raise too_large(name)
            with archive.open(member, mode="r") as content:  # gives no more bytes than the size that was looked at
                yield str(PurePosixPath(member.filename)), io.BufferedReader(_Forward(content))


class _Forward(io.RawIOBase):
    """A member's bytes from its beginning to its end: what reads them must not seek, nor ask whether it could."""

    def __init__(self, content: Any) -> None:
        self._content, self._place = content, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._content.read(len(buffer))
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def tell(self) -> int:
        return self._place


class Unpacked:
    """A tar file's bytes, unpacked as they are read, but not without end.

    Args:
        raw: the file: a tar, or one that gzip or bzip2 packed.
        name: of the file, for complaints.
        limit: bytes at most; None for 200 times the bytes that they came from.
    """

    def __init__(self, raw: io.BufferedReader, name: str, limit: int | None = None) -> None:
        magic = raw.read(3)
        raw.seek(0)
        opened: Any = {b"BZh": bz2.open, b"\x1f\x8b\x08": gzip.open}.get(magic)
        self._raw, self._name, self._limit = raw, name, limit
        self._file: Any = opened(raw, "rb") if opened else raw
        self._total = 0

    def read(self, size: int) -> bytes:
        """The next bytes, `size` at most.

        Raises:
            InvalidInput: they are too many.
        """
        content: bytes = self._file.read(size)
        self._total += len(content)
        most = max(FREE, MAX_RATIO * self._raw.tell()) if self._limit is None else self._limit
        if self._total > most:
            raise too_large(self._name, self._limit)
        return content


def too_large(name: str, most: int | None = None) -> InvalidInput:
    """The complaint about an archive that unpacks to too much."""
    much = f"{most:,} bytes" if most is not None else f"{MAX_RATIO} times its size"
    return InvalidInput(f"{name} unpacks to more than {much}", remedy="if you trust it, unpack it and read the folder")
