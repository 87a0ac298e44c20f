"""What `gaga evaluate` reads: a file, a folder of files, or standard input."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gaga.cli.errors import usage_error
from gaga.cli.results import slug
from gaga.core.errors import InvalidInput, NotFound
from gaga.core.text import printable

STDIN = Path("-")
_NAME = "stdin"


@dataclass(frozen=True, kw_only=True)
class Input:
    """Molecules as they are read.

    Attributes:
        path: the file or folder; of standard input, a temporary file.
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


@contextmanager
def opened(typed: Path, form: str | None) -> Iterator[Input]:
    """The input, while the block runs.

    Args:
        typed: a path, or `-` for standard input.
        form: the format of standard input, such as sdf.

    Raises:
        UsageError: standard input without a format or with one that is not read, or a format for a file.
        NotFound: there is no such file.
        InvalidInput: it is no file and no folder of molecules, or is empty.
    """
    if typed != STDIN:
        if form is not None:
            raise usage_error("--format is for standard input, which is -; a file says by its name what it is")
        yield Input(path=typed, label=_label(typed), digest=_digest(typed))
        return
    suffix = _suffix(form)
    with tempfile.TemporaryDirectory(prefix="gaga-") as folder:
        path = Path(folder) / f"{_NAME}{suffix}"
        _spool(path)
        yield Input(path=path, label=path.name, digest=_digest(path))


def _suffix(form: str | None) -> str:
    from gaga.chem.io import READ_SUFFIXES

    known = ", ".join(suffix.lstrip(".") for suffix in READ_SUFFIXES)
    if form is None:
        raise usage_error(f"standard input needs --format; choose from {known}")
    suffix = f".{form.lower().lstrip('.')}"
    if suffix not in READ_SUFFIXES:
        raise usage_error(f"invalid value for --format: {form!r}; choose from {known}")
    return suffix


def _spool(path: Path) -> None:
    """Keep what standard input gives in a file: it is read more than once."""
    from gaga.storage.files import unwritable

    if sys.stdin is None or sys.stdin.isatty():
        raise usage_error("- reads standard input, and nothing is piped into it")
    try:
        with path.open("wb") as file:  # not atomic: it goes with its folder
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise unwritable(path, error) from error
    if not path.stat().st_size:
        raise InvalidInput("standard input is empty")


def _label(path: Path) -> str:
    return printable(path.name or path.resolve().name or _NAME)


def _digest(path: Path) -> str:
    from gaga.chem.io import molecule_files

    if not path.is_dir():
        return _digest_of_file(path)
    total = hashlib.sha256()
    for file in molecule_files(path):
        name = file.relative_to(path).as_posix()
        total.update(f"{name.encode('utf-8', 'surrogateescape').hex()} {_digest_of_file(file)}\n".encode())
    return total.hexdigest()


def _digest_of_file(file: Path) -> str:
    if not file.exists():
        raise NotFound("no such file", received=file)
    if not file.is_file():
        raise InvalidInput(
            "a file of molecules is needed, not a pipe or device", received=file, remedy="pipe it in: - and --format"
        )
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
