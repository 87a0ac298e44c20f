"""The one atomic write."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gaga.core.errors import Conflict, GagaError, NotFound, Unavailable
from gaga.storage.flock import NoLocks, is_at, take_if_free

_TEMPORARY = ".gaga-tmp-"
_LONGEST_SUFFIX = 40  # characters of a temporary file's name that are kept of the file's own


def expanded(path: str | Path) -> Path:
    """The path, `~` at its beginning as the home folder; a file whose own name begins with `~` is that file."""
    found = Path(path)
    return found if found.exists() else Path(os.path.expanduser(found))  # which leaves what it does not know


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path next to `path`; publish it there when the block ends well, else remove it.

    The temporary file is flushed to disk and then renamed over `path`: a reader sees the old file or the
    new one, and a failure leaves the old one as it was. The temporary path keeps the suffixes of `path`.
    If `path` is a symbolic link, the file that it points to is replaced.

    A process that is killed leaves its temporary file behind; the next atomic write into the folder removes it. So
    that it knows the dead from the living, the file is locked while the block runs (on Unix): HDF5 locks too,
    unless its own locks are switched off.

    Raises:
        NotFound: the folder does not exist.
        Unavailable: the folder or the file cannot be written to, or the disk is full.
    """
    path = target(path)
    require_replaceable(path)
    try:
        remove_abandoned(path.parent)
        with _temporary(path) as partial:
            try:
                yield partial
            except GagaError as error:  # of the block, which knows the temporary name alone
                error.what = error.what.replace(str(partial), str(path))
                raise
            _publish(partial, path)
    except BrokenPipeError:  # the reader of what the block prints has left; this file is all right
        raise
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """An empty file next to `path`, locked if that tells the living from the dead; gone after the block."""
    descriptor, name = _made(path)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)


def _made(path: Path) -> tuple[int | None, str]:
    """Its descriptor, to be closed after the block, and its name."""
    suffix = f".tmp{''.join(path.suffixes)[-_LONGEST_SUFFIX:]}"
    while True:
        # not atomic: this is the temporary file of the atomic write
        descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, suffix=suffix, dir=path.parent)
        if sys.platform == "win32":  # where an open file cannot be renamed
            os.close(descriptor)
            return None, name
        try:
            if take_if_free(descriptor) and is_at(descriptor, name):
                return descriptor, name
        except NoLocks:
            return descriptor, name
        os.close(descriptor)  # taken for abandoned in the moment before it was locked


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of atomic writes whose processes are gone; nothing if that cannot be decided."""
    if sys.platform == "win32":
        return
    for name in [entry.path for entry in os.scandir(folder) if entry.name.startswith(_TEMPORARY)]:
        with suppress(OSError):  # of somebody else, or gone already: it is not ours to care
            _remove_if_free(name)


def _remove_if_free(name: str) -> None:
    descriptor = os.open(name, os.O_RDWR)  # not atomic: opened to be locked; nothing is written
    try:
        if take_if_free(descriptor) and is_at(descriptor, name):
            os.unlink(name)
    finally:
        os.close(descriptor)


def _publish(partial: Path, path: Path) -> None:
    sync(partial)
    partial.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
    partial.replace(path)
    _sync_folder(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has the file; some file systems tell only now that they are full."""
    with path.open("rb+") as file:  # not atomic: opened to be flushed; nothing is written
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Let the new name survive a loss of power, if the system can promise that."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def target(path: Path) -> Path:
    """The file itself, behind any symbolic links, in a folder that exists.

    Raises:
        NotFound: the folder does not exist.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise NotFound("there is no such folder", received=path.parent, remedy="create it first")
    return path


def require_replaceable(path: Path) -> None:
    """Stop if something is there that is no regular file, or must not be written to.

    Raises:
        Unavailable: so it is.
    """
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise Unavailable(f"{path} is no file that may be written to", remedy="choose another path")


def require_writable(path: Path) -> None:
    """Stop before the work if a file could not be written after it.

    Raises:
        NotFound: its folder does not exist.
        Unavailable: its folder may not be written to, or something is there that cannot be replaced.
    """
    path = target(path)
    if not os.access(path.parent, os.W_OK):
        raise Unavailable(f"{path} cannot be written: no permission in its folder", remedy="choose another path")
    require_replaceable(path)


def unwritable(path: Path, error: OSError) -> Unavailable:
    """The error of a file that could not be written."""
    return Unavailable(
        f"cannot write {path}: {error.strerror or error}", remedy="choose another path or free some space"
    )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def refuse_to_overwrite(path: Path, *, overwrite: bool) -> None:
    """Stop if an output file is already there.

    Raises:
        Conflict: `path` exists and `overwrite` is false.
    """
    if path.exists() and not overwrite:
        raise Conflict(f"{path} is already there", remedy="choose another name or add `overwrite=True`")


@contextmanager
def with_utf8_name(path: Path) -> Iterator[str]:
    """A name of this file for a library that only takes names in UTF-8; others get one by their open file (POSIX)."""
    if os.fsencode(path).decode("utf-8", "replace") == str(path):
        yield str(path)
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"
