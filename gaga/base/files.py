"""The one atomic write, the one lock."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gaga.base.errors import Conflict, NotFound, Unavailable


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; publish it there when the block ends well, else remove it.

    The temporary file is flushed to disk and then renamed over `path`: a reader sees the old file or the
    new one, and a failure leaves the old one as it was. The temporary path keeps the suffixes of `path`.
    Where `path` is a symbolic link, the file that it points to is replaced.

    Raises:
        NotFound: the folder does not exist.
        Unavailable: the folder or the file cannot be written to, or the disk is full.
    """
    path = _target(path)
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise Unavailable(f"{path} is no file that may be written to", remedy="choose another path")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=f".tmp{''.join(path.suffixes)}", dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(descriptor)
    partial = Path(temporary)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file itself, behind any symbolic links, in a folder that exists."""
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise NotFound("there is no such folder", received=path.parent, remedy="create it first")
    return path


def unwritable(path: Path, error: OSError) -> Unavailable:
    """The error of a file that could not be written."""
    return Unavailable(
        f"cannot write {path}: {error.strerror or error}", remedy="choose another path or free some space"
    )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextmanager
def locked(path: Path, *, timeout: float = 600.0) -> Iterator[None]:
    """Hold the lock `path`.lock; the operating system frees the lock of a process that died.

    Raises:
        NotFound: the folder does not exist.
        Unavailable: the lock file cannot be written.
        Conflict: another process held the lock for longer than `timeout` seconds.
    """
    path = _target(path)
    lock = FileLock(f"{path}.lock")
    try:
        # The lock waits for a file that cannot be made as if another process held it: make it first.
        Path(lock.lock_file).touch()
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise Conflict(
            f"another gaga process has held {path} for {timeout:.0f} s",
            remedy="wait for it to end, then try again",
        ) from error
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def refuse_to_overwrite(path: Path, *, overwrite: bool) -> None:
    """Stop where an output file is already there.

    Raises:
        Conflict: `path` exists and `overwrite` is false.
    """
    if path.exists() and not overwrite:
        raise Conflict(f"{path} is already there", remedy="choose another name or add --overwrite")
