"""Molecule files by suffix: SDF, XYZ and SMILES, gzipped or not, read and written molecule by molecule.

Reading needs no rdkit; writing needs it only for SDF with bonds. Tables of SMILES are read as they are: their
molecules have no geometry before `gaga.chem.embed` makes one.
"""

import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from gaga.chem import archives, sdf, sources, tables, xyz
from gaga.chem.bounded import BoundedLines
from gaga.chem.records import UNREADABLE, Bonding, Lines, Notes, RawRecord, Record, Skipped, checked
from gaga.chem.sources import (
    FORMATS,
    READ_SUFFIXES,
    SMILES_SUFFIXES,
    Content,
    has_smiles_only,
    kind_of,
    look_into,
    molecule_files,
)
from gaga.chem.tables import SmilesRow
from gaga.chem.writers import SMILES_TAG, WRITTEN_SUFFIXES, MoleculeWriter, open_writer
from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.core.progress import Progress, silent
from gaga.core.text import legible
from gaga.storage.files import expanded, unwritable

__all__ = [
    "FORMATS",
    "READ_SUFFIXES",
    "SMILES_SUFFIXES",
    "SMILES_TAG",
    "WRITTEN_SUFFIXES",
    "MoleculeWriter",
    "Notes",
    "Record",
    "Skipped",
    "SmilesRow",
    "file_of",
    "has_smiles_only",
    "molecule_files",
    "open_writer",
    "read_molecules",
    "read_smiles",
]


@dataclass(frozen=True)
class _Format:
    split: Callable[[Iterable[str], Notes | None], Iterator[Lines]]
    parse: Callable[[list[str]], RawRecord]
    parse_bonding: Callable[[list[str]], Bonding | None] | None = None


_FORMATS = {
    sources.SDF: _Format(sdf.split_records, sdf.parse_record, sdf.parse_bonding),
    sources.XYZ: _Format(xyz.split_frames, xyz.parse_frame),
}
_REPORT_EVERY = 200

Part = TypeVar("Part")
_Parts = Callable[[BoundedLines, str, Content], Iterator[Part]]


def read_molecules(
    path: str | Path, progress: Progress = silent, *, bonding: bool = False, notes: Notes | None = None
) -> Iterator[Record | Skipped]:
    """The molecules of a file, or of all files of a folder in the order of their names, one at a time.

    What cannot be used comes as a `Skipped` in its place. Hidden files of a folder or archive are passed over.

    Args:
        path: a file with one of `READ_SUFFIXES`, gzipped or not, or a folder of them, its subfolders included.
        progress: called with the bytes read so far and in all.
        bonding: also read bonds and charges, if a file has them; none if they are damaged.
        notes: counts what a file lacks that makes no record unusable.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the suffix is unknown, the file is empty, damaged or a gzip bomb, or the folder holds no
            molecule file.
        Unavailable: a file cannot be read.
    """
    path = expanded(path)
    folder = path if path.is_dir() else path.parent
    return _read_files(molecule_files(path), folder, progress, partial(_records, bonding=bonding, notes=notes))


@contextmanager
def file_of(stream: io.BufferedIOBase, kind: str) -> Iterator[Path]:
    """A temporary file with the molecules of a stream, such as standard input, while the block runs.

    Args:
        stream: bytes of a molecule file, gzipped or not.
        kind: the format, one of `FORMATS`.

    Raises:
        InvalidInput: the format is unknown, or the stream is empty.
        Unavailable: the file cannot be written.
    """
    suffix = kind.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InvalidInput("unknown format of molecules", received=kind, remedy=f"use {', '.join(FORMATS)}")
    with tempfile.TemporaryDirectory(prefix="gaga-") as folder:
        path = Path(folder) / f"stdin.{suffix}"
        try:
            with path.open("wb") as kept:  # not atomic: it goes with its folder
                shutil.copyfileobj(stream, kept)
        except OSError as error:
            raise unwritable(path, error) from error
        if not path.stat().st_size:
            raise InvalidInput("standard input is empty")
        yield path


def read_smiles(
    path: str | Path, progress: Progress = silent, *, column: str | None = None
) -> Iterator[SmilesRow | Skipped]:
    """The rows of a table of SMILES, one at a time; what cannot be read comes as a `Skipped` in its place.

    Args:
        path: a `.csv` or `.tsv` with a heading, a `.smi` or `.smiles` with a SMILES and perhaps a name in each line,
            or a `.txt` that is either; gzipped or not.
        progress: called with the bytes read so far and in all.
        column: the heading of a table's SMILES; None for one of `tables.COLUMNS`.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is empty, damaged or a gzip bomb, or has no such column.
        Unavailable: the file cannot be read.
    """
    file = expanded(path)
    if not file.exists():
        raise NotFound("no such file", received=path)
    if file.stat().st_size == 0:
        raise InvalidInput("the file is empty", received=path)
    return _read_files([file], file.parent, progress, partial(_rows, column=column))


def _read_files(files: list[Path], folder: Path, progress: Progress, parts: _Parts[Part]) -> Iterator[Part]:
    """The parts of each file in their order."""
    before, total = 0, sum(file.stat().st_size for file in files)
    for file in files:
        read = _read_archive if sources.is_archive(file) else _read_file
        try:
            with file.open("rb") as raw:
                for n, part in enumerate(read(raw, str(file.relative_to(folder)), parts), start=1):
                    if n % _REPORT_EVERY == 0:
                        progress(before + raw.tell(), total, file.name)
                    yield part
        except PermissionError as error:
            raise Unavailable(f"cannot read {file}: {error.strerror}") from error
        before += file.stat().st_size
        progress(before, total, file.name)


def _read_archive(raw: io.BufferedReader, name: str, parts: _Parts[Part]) -> Iterator[Part]:
    """The parts of each molecule file in an archive."""
    n = 0
    try:
        for member, content in archives.members(raw, name):
            if sources.counts_in_archive(member, content):
                for part in _read_file(content, member, parts):
                    n += 1
                    yield part
    except archives.DAMAGE as error:
        raise InvalidInput(f"{name} is no whole archive: {error}", received=f"{n} molecules before") from error


def _read_file(raw: io.BufferedReader, name: str, parts: _Parts[Part]) -> Iterator[Part]:
    content, n = look_into(raw, name), 0
    try:
        with _text(raw, content) as text:
            for part in parts(BoundedLines(text, raw, name, zipped=content.zipped), name, content):
                n += 1
                yield part
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput(
            f"{name} is not a whole gzip file: it is cut short or damaged after {n} molecules",
            remedy="fetch it again, or unpack what is left with zcat and read that",
        ) from error


def _records(
    bounded: BoundedLines, name: str, content: Content, *, bonding: bool, notes: Notes | None
) -> Iterator[Record | Skipped]:
    layout = _FORMATS.get(kind_of(name, content))
    if layout is None:
        raise InvalidInput(
            f"{name} holds no geometries", remedy=f"make them of SMILES: gaga data prepare {name} --embed --out FILE.h5"
        )
    lacking = notes if not name.lower().endswith((".mol", ".mol.gz")) else None  # which have no end of a record
    for n, lines in enumerate(layout.split(bounded, lacking), start=1):
        bounded.next_record()
        yield _parsed(layout, lines, name, n, bonding=bonding)


def _rows(bounded: BoundedLines, name: str, content: Content, *, column: str | None) -> Iterator[SmilesRow | Skipped]:
    table = tables.has_heading(name, content.begins, column)
    parse = partial(tables.parse_csv, column=column) if table else tables.parse_smi
    for row in parse((legible(line) for line in bounded), name):
        bounded.next_record()
        yield row


def _text(raw: io.BufferedReader, content: Content) -> io.TextIOWrapper:
    """Lines of text, whatever the line ends; of UTF-8, other bytes are kept aside until a name needs them."""
    binary = gzip.GzipFile(fileobj=raw) if content.zipped else raw
    errors = "surrogateescape" if content.encoding.startswith("utf-8") else "replace"
    return io.TextIOWrapper(binary, encoding=content.encoding, errors=errors)


def _parsed(layout: _Format, found: Lines, name: str, n: int, *, bonding: bool) -> Record | Skipped:
    line, lines = found
    where = f"{name}, record {n} (line {line})"
    try:
        raw = layout.parse([legible(line) for line in lines])
    except (ValueError, IndexError) as error:
        return Skipped(UNREADABLE, where, str(error), name, line)
    record = checked(raw, where)
    if isinstance(record, Skipped):
        return replace(record, file=name, line=line)
    if not bonding or layout.parse_bonding is None:
        return record
    with suppress(ValueError, IndexError, OverflowError):  # atoms and coordinates are what makes a molecule
        return replace(record, bonding=layout.parse_bonding(lines))
    return record
