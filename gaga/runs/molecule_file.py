"""A file of molecules that a run reads: its name in results, and what identifies its content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gaga.chem.io import molecule_files
from gaga.core.errors import InvalidInput, NotFound
from gaga.core.text import printable
from gaga.runs.once import slug


@dataclass(frozen=True, kw_only=True)
class MoleculeFile:
    """A file or folder of molecules.

    Attributes:
        path: where it is.
        label: its name, as tables and results have it.
        digest: SHA-256 of the file, or of the names and contents of a folder's files.
    """

    path: Path
    label: str
    digest: str

    @property
    def stem(self) -> str:
        """The name without its suffix, as part of a result's name."""
        return slug(self.label.partition(".")[0] or self.label)

    @classmethod
    def of(cls, path: Path) -> "MoleculeFile":
        """The file or folder at this path.

        Raises:
            NotFound: there is no such file.
            InvalidInput: it is no file and no folder of molecules.
        """
        if path.is_dir():
            total = hashlib.sha256()
            for file in molecule_files(path):
                name = file.relative_to(path).as_posix()
                total.update(f"{name.encode('utf-8', 'surrogateescape').hex()} {_digest(file)}\n".encode())
            digest = total.hexdigest()
        else:
            digest = _digest(path)
        return cls(path=path, label=printable(path.name or path.resolve().name or "stdin"), digest=digest)


def _digest(file: Path) -> str:
    if not file.exists():
        raise NotFound("no such file", received=file)
    if not file.is_file():
        raise InvalidInput(
            "a file of molecules is needed, not a pipe or device", received=file, remedy="pipe it in: - and `format`"
        )
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
