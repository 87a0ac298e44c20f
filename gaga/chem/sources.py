"""Which files hold molecules: what a suffix means, which files of a folder count, and what a file's first bytes say.

A file is read as what it is, not as what it is called: its first bytes show gzip and UTF-16, and whether a `.txt` has
frames of XYZ, as the sample files of EDM and GeoLDM have (`molecule_000.txt`), or is a table of SMILES.
"""

import codecs
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePath

from gaga.chem.archives import ARCHIVE_SUFFIXES
from gaga.core.errors import InvalidInput, NotFound

SDF, XYZ, SMILES = "sdf", "xyz", "smiles"
_KINDS = {
    ".sdf": SDF, ".sd": SDF, ".mol": SDF, ".xyz": XYZ, ".extxyz": XYZ,
    ".csv": SMILES, ".tsv": SMILES, ".smi": SMILES, ".smiles": SMILES,
}  # fmt: skip
_TEXT, _ZIPPED = ".txt", ".gz"
FORMATS = tuple(suffix[1:] for suffix in (*_KINDS, _TEXT))
"""Formats by which molecules on standard input can be called."""


def _suffixes(*kinds: str) -> tuple[str, ...]:
    plain = (*(suffix for suffix, kind in _KINDS.items() if kind in kinds), _TEXT)
    return tuple(f"{suffix}{zipped}" for suffix in plain for zipped in ("", _ZIPPED))


READ_SUFFIXES = (*_suffixes(SDF, XYZ), *ARCHIVE_SUFFIXES)
SMILES_SUFFIXES = _suffixes(SMILES)
_READ = (
    "molecules are read from .sdf, .sd, .mol, .xyz, .extxyz and .txt, gzipped or not, from a folder, .tar or .zip of "
    "them, and SMILES from .csv, .tsv, .smi, .smiles and .txt"
)
# Formats that Open Babel converts.
_FOREIGN = (".pdb", ".ent", ".pdbqt", ".mol2", ".cif", ".mmcif", ".cml", ".mae", ".gro", ".cdxml", ".inchi", ".gjf")
_PACKED = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_LOOK = 4096  # bytes
_FRAME = re.compile(r"\s*\d{1,9}[ \t]*\n[^\n]*\n[ \t]*[\w(+\-)]{1,8}([ \t,]+[+-]?[\d.][\w.*^+-]*){3}", re.ASCII)


@dataclass(frozen=True)
class Content:
    """What the first bytes of a file show: whether it is gzip, the encoding of its text, and how that text begins."""

    zipped: bool
    encoding: str
    begins: str


def look_into(raw: io.BufferedReader, name: str) -> Content:
    """What a file is; it is left at its beginning.

    Raises:
        InvalidInput: it is packed with another program than gzip.
    """
    first = raw.peek(_LOOK)[:_LOOK]
    zipped = first.startswith(b"\x1f\x8b")
    if zipped:
        first = _unzipped(first)
    for magic, program in _PACKED.items():
        if first.startswith(magic) and (program != "bzip2" or first[4:10] == b"1AY&SY"):
            raise InvalidInput(f"{name} is packed with {program}", remedy="unpack it first, or pack it with gzip")
    encoding = next((known for mark, known in _BYTE_ORDER_MARKS.items() if first.startswith(mark)), _unmarked(first))
    return Content(zipped, encoding, first.decode(encoding, "replace").replace("\r\n", "\n"))


def _unzipped(first: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(first, _LOOK)
    except zlib.error:  # damaged, which is said when it is read
        return b""


def _unmarked(first: bytes) -> str:
    """The encoding of text without a byte order mark; in UTF-16 every other byte of a molecule is 0."""
    odd, even = first[1::2].count(0), first[::2].count(0)
    if max(odd, even) > len(first) // 4:
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8-sig"


def kind_of(name: str, content: Content) -> str:
    """`sdf`, `xyz` or `smiles`: by the suffix, and for `.txt` by what is in it; empty for other files."""
    suffix = _plain_suffix(name)
    if suffix == _TEXT:
        return XYZ if _FRAME.match(content.begins) else SMILES
    return _KINDS.get(suffix, "")


def _plain_suffix(name: str) -> str:
    return PurePath(name.lower().removesuffix(_ZIPPED)).suffix


def has_smiles_only(path: Path) -> bool:
    """Whether a path is that of a table of SMILES, whose molecules have no geometry."""
    suffix = _plain_suffix(path.name)
    if suffix != _TEXT or not path.is_file():
        return _KINDS.get(suffix) == SMILES and not path.is_dir()
    return _kind_of_file(path) == SMILES


def _kind_of_file(path: Path) -> str:
    with path.open("rb") as raw:
        return kind_of(path.name, look_into(raw, path.name))


def is_archive(path: Path) -> bool:
    """Whether a path is that of a tar or zip file."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def is_hidden(name: str | PurePath) -> bool:
    """Whether a file in a folder or archive is none of its user's: `.ipynb_checkpoints`, `._a.sdf`, `__MACOSX`.

    Args:
        name: with the folders that it is in, below the one that is read.
    """
    return any(
        (part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in PurePath(name).parts
    )


def molecule_files(path: Path) -> list[Path]:
    """The molecule files that a path stands for: itself, or those of a folder, in the order of their names.

    Raises:
        NotFound: there is no such file or folder.
        InvalidInput: the suffix is unknown, the file is empty, or the folder holds no molecule file.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _counts(file, path))
        if not files:
            raise InvalidInput("the folder holds no molecule file", received=path, remedy=_use(path))
        return files
    if not path.exists():
        raise NotFound("no such file or folder", received=path)
    if not path.name.lower().endswith(READ_SUFFIXES):
        raise InvalidInput("unknown kind of molecule file", received=path.name, remedy=_use(path))
    if not path.is_file():
        what = "a file of molecules is needed, not a pipe or device"
        raise InvalidInput(what, received=path, remedy="copy it to a file")
    if path.stat().st_size == 0:
        raise InvalidInput("the file is empty", received=path)
    return [path]


def _counts(file: Path, folder: Path) -> bool:
    """Whether a file in a folder is one of its molecule files."""
    if is_hidden(file.relative_to(folder)) or not file.is_file():
        return False
    is_text = _plain_suffix(file.name) == _TEXT
    return (_kind_of_file(file) if is_text else _KINDS.get(_plain_suffix(file.name))) in (SDF, XYZ)


def counts_in_archive(name: str, content: io.BufferedReader) -> bool:
    """Whether a file in an archive is one of its molecule files."""
    if is_hidden(name):
        return False
    is_text = _plain_suffix(name) == _TEXT
    return (kind_of(name, look_into(content, name)) if is_text else _KINDS.get(_plain_suffix(name))) in (SDF, XYZ)


def _use(path: Path) -> str:
    """What to do about a file that is not read, or a folder of such."""
    names = [file.name for file in path.iterdir()] if path.is_dir() else [path.name]
    foreign = next((name for name in names if _plain_suffix(name) in _FOREIGN), None)
    if foreign is None:
        return _READ
    return f"convert it first: obabel {foreign} -O {PurePath(foreign.removesuffix(_ZIPPED)).stem}.sdf"
