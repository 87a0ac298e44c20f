"""Molecule files by suffix: SDF, XYZ and SMILES, gzipped or not, read and written molecule by molecule.

Reading needs no rdkit; writing needs it only for SDF with bonds. Tables of SMILES are read as they are: their
molecules have no geometry before `gaga.chem.embed` makes one.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from gaga.base.errors import InvalidInput, NotFound, Unavailable
from gaga.base.progress import Progress, silent
from gaga.chem import sdf, tables, xyz
from gaga.chem.bounded import BoundedLines
from gaga.chem.records import UNREADABLE, Bonding, RawRecord, Record, Skipped, checked
from gaga.chem.tables import SmilesRow
from gaga.chem.writers import SMILES_TAG, WRITTEN_SUFFIXES, MoleculeWriter, open_writer

__all__ = [
    "READ_SUFFIXES",
    "SMILES_SUFFIXES",
    "SMILES_TAG",
    "WRITTEN_SUFFIXES",
    "MoleculeWriter",
    "Record",
    "Skipped",
    "SmilesRow",
    "has_smiles_only",
    "molecule_files",
    "open_writer",
    "read_molecules",
    "read_smiles",
]


@dataclass(frozen=True)
class _Format:
    split: Callable[[Iterable[str]], Iterator[list[str]]]
    parse: Callable[[list[str]], RawRecord]
    parse_bonding: Callable[[list[str]], Bonding | None] | None = None


_SDF = _Format(sdf.split_records, sdf.parse_record, sdf.parse_bonding)
_XYZ = _Format(xyz.split_frames, xyz.parse_frame)
_FORMATS = {".sdf": _SDF, ".sdf.gz": _SDF, ".xyz": _XYZ, ".xyz.gz": _XYZ}
READ_SUFFIXES = tuple(_FORMATS)
SMILES_SUFFIXES = (".csv", ".csv.gz", ".smi", ".smi.gz")
_REPORT_EVERY = 200

Part = TypeVar("Part")


def read_molecules(
    path: str | Path, progress: Progress = silent, *, bonding: bool = False
) -> Iterator[Record | Skipped]:
    """The molecules of a file, or of all files of a folder in the order of their names, one at a time.

    What cannot be used comes as a `Skipped` in its place, for whoever counts.

    Args:
        path: an `.sdf` or multi-frame `.xyz`, gzipped or not, or a folder of them, its subfolders included.
        progress: told the bytes read so far and in all.
        bonding: also read bonds and charges, where a file has them; none where they are damaged.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the suffix is unknown, the file is empty, damaged or a gzip bomb, or the folder holds no
            molecule file.
        Unavailable: a file cannot be read.
    """
    files = molecule_files(Path(path).expanduser())
    total = sum(file.stat().st_size for file in files)
    return _read_files(files, total, progress, partial(_records, bonding=bonding))


def read_smiles(
    path: str | Path, progress: Progress = silent, *, column: str | None = None
) -> Iterator[SmilesRow | Skipped]:
    """The rows of a table of SMILES, one at a time; what cannot be read comes as a `Skipped` in its place.

    Args:
        path: a `.csv` with a heading, or a `.smi` with a SMILES and perhaps a name in each line; gzipped or not.
        progress: told the bytes read so far and in all.
        column: the heading of a CSV file's SMILES; None for one of `tables.COLUMNS`.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is empty, damaged or a gzip bomb, or has no such column.
        Unavailable: the file cannot be read.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise NotFound("no such file", received=path)
    if file.stat().st_size == 0:
        raise InvalidInput("the file is empty", received=path)
    return _read_files([file], file.stat().st_size, progress, partial(_rows, column=column))


def has_smiles_only(path: Path) -> bool:
    """Whether a path is that of a table of SMILES, whose molecules have no geometry."""
    return path.name.lower().endswith(SMILES_SUFFIXES) and not path.is_dir()


def molecule_files(path: Path) -> list[Path]:
    """The molecule files that a path stands for: itself, or those of a folder.

    Raises:
        NotFound: there is no such file or folder.
        InvalidInput: the suffix is unknown, the file is empty, or the folder holds no molecule file.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and _format_suffix(file))
        if not files:
            raise InvalidInput("the folder holds no molecule file", received=path, remedy=_use_suffixes())
        return files
    if not path.exists():
        raise NotFound("no such file or folder", received=path)
    if not _format_suffix(path):
        raise InvalidInput("unknown kind of molecule file", received=path.name, remedy=_use_suffixes())
    if path.stat().st_size == 0:
        raise InvalidInput("the file is empty", received=path)
    return [path]


def _use_suffixes() -> str:
    return f"molecules are read from {', '.join(READ_SUFFIXES)} or a folder of them"


def _format_suffix(path: Path) -> str | None:
    name = path.name.lower()
    return next((suffix for suffix in READ_SUFFIXES if name.endswith(suffix)), None)


def _read_files(
    files: list[Path], total: int, progress: Progress, parts: Callable[[BoundedLines, Path], Iterator[Part]]
) -> Iterator[Part]:
    """The parts of each file in their order."""
    before = 0
    for file in files:
        try:
            with file.open("rb") as raw:
                for n, part in enumerate(_read_file(raw, file, parts), start=1):
                    if n % _REPORT_EVERY == 0:
                        progress(before + raw.tell(), total, file.name)
                    yield part
        except PermissionError as error:
            raise Unavailable(f"cannot read {file}: {error.strerror}") from error
        before += file.stat().st_size
        progress(before, total, file.name)


def _read_file(raw: BinaryIO, file: Path, parts: Callable[[BoundedLines, Path], Iterator[Part]]) -> Iterator[Part]:
    zipped = file.name.lower().endswith(".gz")
    n = 0
    try:
        with _text(raw, zipped=zipped) as text:
            for part in parts(BoundedLines(text, raw, file.name, zipped=zipped), file):
                n += 1
                yield part
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput(
            f"{file} is not a whole gzip file: it is cut short or damaged after {n} molecules",
            remedy="fetch it again, or unpack what is left with zcat and read that",
        ) from error


def _records(bounded: BoundedLines, file: Path, *, bonding: bool) -> Iterator[Record | Skipped]:
    layout = _FORMATS[_format_suffix(file) or ""]
    for n, lines in enumerate(layout.split(bounded), start=1):
        bounded.next_record()
        yield _parsed(layout, lines, f"{file.name}, record {n}", bonding=bonding)


def _rows(bounded: BoundedLines, file: Path, *, column: str | None) -> Iterator[SmilesRow | Skipped]:
    parse = partial(tables.parse_csv, column=column) if ".csv" in file.name.lower()[-7:] else tables.parse_smi
    for row in parse((_legible(line) for line in bounded), file.name):
        bounded.next_record()
        yield row


def _text(raw: BinaryIO, *, zipped: bool) -> io.TextIOWrapper:
    """Lines of UTF-8 text, whatever the line ends; other bytes are kept aside until a name needs them."""
    binary = gzip.GzipFile(fileobj=raw) if zipped else raw
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape")


def _parsed(layout: _Format, lines: list[str], where: str, *, bonding: bool) -> Record | Skipped:
    try:
        raw = layout.parse([_legible(line) for line in lines])
    except (ValueError, IndexError) as error:
        return Skipped(UNREADABLE, where, str(error))
    record = checked(raw, where)
    if not bonding or layout.parse_bonding is None or isinstance(record, Skipped):
        return record
    with suppress(ValueError, IndexError, OverflowError):  # atoms and coordinates are what makes a molecule
        return replace(record, bonding=layout.parse_bonding(lines))
    return record


def _legible(line: str) -> str:
    """Bytes that are not UTF-8 are taken for Latin-1, as in many an old SDF."""
    if line.isascii():
        return line
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return line.encode("utf-8", "surrogateescape").decode("latin-1")
    return line
