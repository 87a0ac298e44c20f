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

    Raises:
        NotFound: the folder does not exist.
        Unavailable: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise NotFound("the folder does not exist", received=path.parent, remedy="create it first")
    name = path.name
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
        partial.replace(path.parent / name)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


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
        Unavailable: the lock file cannot be written.
        Conflict: another process held the lock for longer than `timeout` seconds.
    """
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise Conflict(
            f"another gaga process has held {path} for {timeout:.0f} s", remedy="wait for it to end, then try again"
        ) from error
    except OSError as error:
        raise unwritable(Path(path), error) from error
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
