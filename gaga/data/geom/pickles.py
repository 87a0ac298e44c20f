"""GEOM-Drugs as pickled RDKit molecules: `rdkit_folder.tar.gz`, or the folder that it unpacks to.

A pickle for each molecule: its `smiles` and `conformers`, each with `rd_mol` and `totalenergy`. No pickle is executed:
gaga.storage.pickles reads what it asks for, and of its requests RDKit's molecules are made, in chem/, from the bytes
that they hold; numbers of numpy are read out of theirs. Anything else that a pickle asks for ends the reading.
"""

import gzip
import hashlib
import json
import re
import tarfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gaga.chem.pickled import BinaryReader
from gaga.chem.records import UNREADABLE
from gaga.chem.sources import is_hidden
from gaga.core.errors import InvalidInput, Unavailable
from gaga.data.geom.conformers import (
    NO_ENERGY,
    Checker,
    Conformer,
    Counted,
    MoleculeConformers,
    Source,
    cut_short,
    energy_of,
    identity_of,
)
from gaga.storage.pickles import Built, Global, Refused, read_plain

MISSING = "pickle that is not in the folder"
SUMMARY = "summary_drugs.json"
_MOST = 1 << 28  # bytes of a pickle; those of GEOM have 20 MB at most
_FREE, _RATIO = 1 << 26, 200  # bytes that a gzip file may hold at least, and times its size
_MOST_SUMMARY = 1 << 31  # bytes

_MOLECULE = Global("rdkit.Chem.rdchem", "Mol")
_SCALARS = frozenset(Global(module, "scalar") for module in ("numpy.core.multiarray", "numpy._core.multiarray"))
_DTYPE, _ENCODE = Global("numpy", "dtype"), Global("_codecs", "encode")
_ALLOWED = frozenset({_MOLECULE, _DTYPE, _ENCODE, *_SCALARS})
_KINDS = re.compile(r"f[248]|[iu][1248]|b1")


class _Pickle(NamedTuple):
    """A pickle: its name, its bytes (None if it is missing), and the bytes of the source read with it."""

    name: str
    content: bytes | None
    done: int


class _Pickles(Source):
    """What folder and archive have in common."""

    grouping = "Grouped as the files have them: the conformers of a pickle are one molecule."

    def molecules(self, place: Mapping[str, Any], most: int, checker: Checker) -> Iterator[MoleculeConformers]:
        """The molecules from a place on: the number of the `pickle`.

        Raises:
            InvalidInput: a pickle asks for what no molecule needs, or the archive is cut short or no such archive.
            Unavailable: a file cannot be read.
        """
        first = int(place.get("pickle", 0))
        with BinaryReader() as reader:
            for number, pickle in enumerate(self._pickles(first), start=first):
                molecule = MoleculeConformers(most, place={"pickle": number + 1}, done=pickle.done)
                _read(pickle, molecule, checker, reader)
                yield molecule

    @abstractmethod
    def _pickles(self, first: int) -> Iterator[_Pickle]:
        """The pickles from a number on."""


class FolderSource(_Pickles):
    """A folder of pickles, in the order of the summary next to them, else of their names.

    Raises:
        InvalidInput: there is none, or the summary leads out of the folder.
    """

    def __init__(self, path: Path) -> None:
        summary, folder = path / SUMMARY, path / "drugs" if (path / "drugs").is_dir() else path
        pickles = (file for file in sorted(folder.glob("*.pickle")) if not is_hidden(file.name))
        there = {file.name: file for file in pickles if file.is_file()}
        if not there:
            raise InvalidInput(
                f"{path} holds no pickles of GEOM-Drugs", remedy="name rdkit_folder, or its drugs folder"
            )
        named = list(dict.fromkeys(_names_in(summary))) if summary.is_file() else []
        rest = sorted(there.keys() - set(named))
        self._files = [folder / name for name in (*named, *rest)]
        super().__init__(path, sum(file.stat().st_size for file in there.values()))

    def identity(self) -> dict[str, Any]:
        """The pickles' order: one that came since would move the number of those behind it."""
        names = "\n".join(file.name for file in self._files)
        return {"pickles": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()}

    def _pickles(self, first: int) -> Iterator[_Pickle]:
        done = 0
        for number, file in enumerate(self._files):
            try:
                size = file.stat().st_size if file.is_file() else 0
                done += size
                if number >= first:
                    yield _Pickle(file.name, _limited(file, size) if size else None, done)
            except OSError as error:
                raise Unavailable(f"cannot read {file}: {error.strerror or error}") from error


def _limited(file: Path, size: int) -> bytes:
    return b"" if size > _MOST else file.read_bytes()


def _names_in(summary: Path) -> Iterator[str]:
    """The names of the pickles of a summary, in its order; the file of 300 MB is searched, not made an object."""
    if summary.stat().st_size > _MOST_SUMMARY:
        raise InvalidInput(f"{summary} is no summary of GEOM-Drugs", received=f"over {_MOST_SUMMARY:,} bytes")
    with summary.open("rb") as file:
        left = b""
        for piece in iter(lambda: file.read(1 << 20), b""):
            left += piece
            matches = list(re.finditer(rb'"pickle_path"\s*:\s*"((?:[^"\\]|\\.){1,4096})"', left))
            yield from (_safe_name(match[1], summary) for match in matches)
            left = left[matches[-1].end() if matches else 0 :][-8192:]


def _safe_name(text: bytes, summary: Path) -> str:
    """The name of a pickle without its folder, which must be the one that it says."""
    try:
        path = PurePosixPath(json.loads(b'"%b"' % text))
    except ValueError as error:
        raise InvalidInput(f"{summary} is damaged", received=text[:80]) from error
    if path.is_absolute() or ".." in path.parts or path.parts[:-1] not in ((), ("drugs",)) or "\0" in path.name:
        raise InvalidInput(f"{summary} leads out of its folder", received=str(path)[:80])
    return path.name


class ArchiveSource(_Pickles):
    """The archive, read as a stream, in its order; nothing is unpacked onto the disk, whatever it is called."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, path.stat().st_size)

    def _pickles(self, first: int) -> Iterator[_Pickle]:
        number = 0
        try:
            with _unpacked(self.path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:  # type: ignore[call-overload]
                for member in _members(archive, unpacked):
                    if number >= first:
                        yield _Pickle(member.name, _content(archive, member), unpacked.read_on_disk)
                    number += 1
                unpacked.check_end()
        except EOFError as error:
            raise cut_short(self.path, f"{number:,} molecules") from error
        except (ValueError, OSError, tarfile.TarError, zlib.error) as error:
            if "unexpected end of data" in str(error):
                raise cut_short(self.path, f"{number:,} molecules") from error
            why = (str(error).strip() or "damaged").splitlines()[0]
            raise InvalidInput(
                f"{self.path} is no rdkit_folder.tar.gz: {why}", received=f"{number:,} molecules"
            ) from error


def _members(archive: tarfile.TarFile, unpacked: "_Unpacked") -> Iterator[tarfile.TarInfo]:
    """The pickles of the archive."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] # it would remember all of them
        path = PurePosixPath(member.name)
        is_pickle = path.suffix == ".pickle" and path.parent.name == "drugs" and not is_hidden(path)
        if is_pickle and member.isreg() and not member.issparse():
            yield member
        unpacked.restart()


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a pickle; none if they are more than any molecule has."""
    file = archive.extractfile(member) if member.size <= _MOST else None
    return file.read() if file else b""


class _Unpacked(Counted):
    """A tar file's bytes, unpacked as they are read, but not without end."""

    def __init__(self, raw: BinaryIO) -> None:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        opened: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        super().__init__(opened, 2 * _MOST, "a member of the archive")
        self._raw, self._total, self._last = raw, 0, b""

    @property
    def read_on_disk(self) -> int:
        """Bytes of the file read so far."""
        return self._raw.tell()

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            ValueError: they are too many for the bytes that they were unpacked from.
        """
        content = super().read(size)
        self._total += len(content)
        if self._total > max(_FREE, _RATIO * self._raw.tell()):
            raise ValueError(f"it unpacks to more than {_RATIO} times its size")
        self._last = (self._last + content)[-tarfile.BLOCKSIZE :]
        return content

    def check_end(self) -> None:
        """Stop if the archive has no end.

        Raises:
            EOFError: so it is.
        """
        if self._last.strip(b"\0"):
            raise EOFError


@contextmanager
def _unpacked(path: Path) -> Iterator[_Unpacked]:
    with path.open("rb") as raw:
        yield _Unpacked(raw)


def _read(pickle: _Pickle, molecule: MoleculeConformers, checker: Checker, reader: BinaryReader) -> None:
    """Read a pickle into a molecule.

    Raises:
        InvalidInput: it asks for what no molecule of GEOM needs.
    """
    try:
        content = _content_of(pickle)
        smiles = content.get("smiles", "")
        molecule.smiles = smiles if isinstance(smiles, str) else ""
        for number, found in enumerate(content["conformers"]):
            energy = energy_of({"totalenergy": _plain(found["totalenergy"])}) if "totalenergy" in found else None
            if energy is None:
                molecule.add(NO_ENERGY)
            elif molecule.wants(energy):
                identity = identity_of(_plain(found.get("geom_id")), number)
                molecule.add(_conformer(found.get("rd_mol"), identity, checker, reader), energy)
    except (ValueError, LookupError, TypeError, AttributeError):
        molecule.add(MISSING if pickle.content is None else UNREADABLE)


def _content_of(pickle: _Pickle) -> Any:
    try:
        return read_plain(
            pickle.content or b"", _ALLOWED, shared=frozenset({_DTYPE, _ENCODE}), whose="molecule of GEOM"
        )
    except Refused as error:
        raise InvalidInput(f"{pickle.name}: {error.what}", remedy=error.remedy) from error
    except InvalidInput as error:
        raise ValueError(error.what) from error


def _conformer(request: Any, identity: int, checker: Checker, reader: BinaryReader) -> Conformer | str:
    """The conformer that a pickle asks for."""
    if not isinstance(request, Built) or request.of != _MOLECULE or len(request.arguments) != 1:
        return UNREADABLE
    try:
        numbers, positions = reader.atoms(_bytes_of(request.arguments[0]))
    except ValueError:
        return UNREADABLE
    return checker.check(numbers, positions, identity)


def _bytes_of(value: Any) -> bytes:
    """Bytes, which old pickles have as text that is to be encoded."""
    if isinstance(value, Built) and value.of == _ENCODE:
        text, encoding = value.arguments
        if encoding != "latin1" or not isinstance(text, str):
            raise ValueError("it encodes text otherwise than as bytes")
        return text.encode("latin1")
    if not isinstance(value, bytes):
        raise ValueError("it has no bytes where there should be some")
    return value


def _plain(value: Any) -> Any:
    """A number of numpy as a plain one; anything else as it is."""
    if not isinstance(value, Built) or value.of not in _SCALARS:
        return value
    kind, content = value.arguments
    if not isinstance(kind, Built) or kind.of != _DTYPE or not _KINDS.fullmatch(str(kind.arguments[0])):
        raise ValueError("it has a number of an unknown type")
    order = kind.state[1] if isinstance(kind.state, tuple) and kind.state[1] in ("<", ">") else "<"
    (number,) = np.frombuffer(_bytes_of(content), np.dtype(f"{order}{kind.arguments[0]}"))
    return number.item()
