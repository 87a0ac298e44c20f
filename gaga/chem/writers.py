"""Writing molecules one at a time: each record goes to disk whole, and a killed run can be taken up again."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from gaga.chem import sdf, xyz
from gaga.chem.records import Record, text_of
from gaga.core.errors import InvalidInput, NotFound
from gaga.storage.files import atomic_write, expanded, refuse_to_overwrite, unwritable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

SMILES_TAG = "SMILES"
WRITTEN_SUFFIXES = (".sdf", ".sdf.gz", ".xyz", ".xyz.gz", ".smi")


def open_writer(path: str | Path, *, overwrite: bool = False, resume: bool = False) -> "MoleculeWriter":
    """A writer of molecules in the format of the suffix; use it as a context manager.

    Args:
        path: `.sdf`, `.sdf.gz`, `.xyz`, `.xyz.gz` or `.smi`.
        overwrite: replace a file that is there.
        resume: keep the whole records of a file that is there, drop a last one that is cut short, and append.

    Raises:
        InvalidInput: the suffix is unknown, or both `overwrite` and `resume` are asked for.
        Conflict: the file is there and neither `overwrite` nor `resume` is asked for.
        NotFound: the folder does not exist.
        Unavailable: the file cannot be written.
    """
    path = expanded(path)
    suffix = written_suffix(path)
    if overwrite and resume:
        raise InvalidInput("a file is either overwritten or resumed, not both")
    if not path.parent.is_dir():
        raise NotFound("the folder does not exist", received=path.parent, remedy="create it first")
    refuse_to_overwrite(path, overwrite=overwrite or resume)
    return MoleculeWriter(path, suffix, resume=resume)


def written_suffix(path: Path) -> str:
    """The suffix that decides the format of a file to be written.

    Raises:
        InvalidInput: it is none that is written.
    """
    name = path.name.lower()
    suffix = next((suffix for suffix in WRITTEN_SUFFIXES if name.endswith(suffix)), None)
    if suffix is None:
        raise InvalidInput(
            "unknown kind of molecule file", received=path.name, remedy=f"use {', '.join(WRITTEN_SUFFIXES)}"
        )
    return suffix


def trajectory_path(out: Path, index: int) -> Path:
    """Where the frames of a molecule go, such as mols_trajectory_0.xyz next to mols.sdf."""
    return out.with_name(f"{out.name.partition('.')[0]}_trajectory_{index}.xyz")


def as_written(path: Path, record: Record, mol: "Mol | None" = None) -> bytes:
    """The record as it is in a file of that name; arguments and errors as of `MoleculeWriter.write`."""
    if not np.all(np.isfinite(record.positions)):
        raise InvalidInput("a molecule with non-finite coordinates cannot be written", received=record.name)
    suffix = written_suffix(path)
    content = _FORMATTERS[suffix.removesuffix(".gz")](record, mol).encode("utf-8")
    return gzip.compress(content, mtime=0) if suffix.endswith(".gz") else content


class MoleculeWriter:
    """Appends records to a file, each in one write; a gzipped file gets one gzip member for each record.

    Attributes:
        path: the file.
        n_existing: number of whole records that were there when a file was resumed.
    """

    def __init__(self, path: Path, suffix: str, *, resume: bool) -> None:
        self.path = path
        try:
            self.n_existing = _keep_whole_records(path, suffix) if resume and path.exists() else 0
            # not atomic: records are appended; `gaga sample` gives the temporary path of an atomic write
            self._file = path.open("ab" if resume else "wb")
        except OSError as error:
            raise unwritable(path, error) from error

    def write(self, record: Record, mol: "Mol | None" = None) -> None:
        """Write one molecule.

        Args:
            record: the molecule with its name and properties; `.smi` needs the property SMILES.
            mol: the same molecule with bonds and one conformer, for SDF; the other formats do not look at it.

        Raises:
            InvalidInput: a coordinate is not finite, or a `.smi` line lacks its SMILES.
            Unavailable: the disk is full, or the file has become unwritable.
        """
        self.append(as_written(self.path, record, mol))

    def append(self, content: bytes) -> None:
        """Write records that `as_written` made for this file.

        Raises:
            Unavailable: the disk is full, or the file has become unwritable.
        """
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Close the file.

        Raises:
            Unavailable: the disk is full, or the file has become unwritable.
        """
        try:
            self._file.close()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def __enter__(self) -> "MoleculeWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _xyz_frame(record: Record, mol: "Mol | None") -> str:
    return xyz.format_frame(record)


def _smiles_line(record: Record, mol: "Mol | None") -> str:
    smiles = text_of(record.properties.get(SMILES_TAG, ""))
    if not smiles:
        raise InvalidInput("a .smi file takes only molecules that have a SMILES", received=record.name)
    return f"{smiles}\t{text_of(record.name)}".rstrip() + "\n"


_FORMATTERS: dict[str, Callable[[Record, "Mol | None"], str]] = {
    ".sdf": sdf.format_record,
    ".xyz": _xyz_frame,
    ".smi": _smiles_line,
}


def _keep_whole_records(path: Path, suffix: str) -> int:
    """Drop what follows the last whole record, and tell how many there are."""
    split = _WHOLE[suffix.removesuffix(".gz")]
    if not suffix.endswith(".gz"):
        # not atomic: cut behind its last whole record, and nothing else
        with path.open("rb+") as file:
            sizes = [len(record) for record in split(file)]
            file.truncate(sum(sizes))
        return len(sizes)
    n_records = 0
    with atomic_write(path) as rewritten, path.open("rb") as damaged, rewritten.open("wb") as file:
        for record in split(_lines_until_damage(damaged)):
            file.write(gzip.compress(record, mtime=0))
            n_records += 1
    return n_records


def _lines_until_damage(file: io.BufferedIOBase) -> Iterator[bytes]:
    try:
        yield from gzip.GzipFile(fileobj=file)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return


def _whole_sdf(lines: Iterable[bytes]) -> Iterator[bytes]:
    record: list[bytes] = []
    for line in lines:
        record.append(line)
        if line.startswith(b"$$$$") and line.endswith(b"\n"):
            yield b"".join(record)
            record = []


def _whole_xyz(lines: Iterable[bytes]) -> Iterator[bytes]:
    rest = iter(lines)
    for line in rest:
        if not line.strip().isdigit():
            return
        n_lines = int(line) + 2
        frame = [line, *(text for _, text in zip(range(n_lines - 1), rest, strict=False))]
        if len(frame) == n_lines and frame[-1].endswith(b"\n"):
            yield b"".join(frame)


def _whole_smi(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line in lines if line.endswith(b"\n"))


_WHOLE: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    ".sdf": _whole_sdf,
    ".xyz": _whole_xyz,
    ".smi": _whole_smi,
}
