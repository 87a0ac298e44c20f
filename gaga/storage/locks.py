"""The one lock between processes: who holds it writes down who they are, and who waits says for whom."""

import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from gaga.core.errors import Conflict, Unavailable
from gaga.storage.files import target, unwritable
from gaga.storage.flock import NoLocks, done_without, is_at, switched_off, take_if_free

_LOOK_EVERY = 0.02  # seconds
_TELL_AFTER = 1.0  # seconds
_LONGEST = 120  # characters of a command
_UNREAD = b"\n"  # what a lock on Windows keeps others from reading: the file's first byte
_log = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, *, timeout: float = 600.0) -> Iterator[None]:
    """Hold the lock `path`.lock; the operating system frees the lock of a process that died.

    The file exists while a process holds it, and says which. After a second of waiting a line of the log says it.

    If the file system has no locks and HDF5_USE_FILE_LOCKING=FALSE, or if GAGA_LOCKS=off, the block runs without one,
    and the first time a line of the log warns.

    Raises:
        NotFound: the folder does not exist.
        Unavailable: the lock file cannot be written, or the file system has no locks and no setting allows that.
        Conflict: another process held the lock for longer than `timeout` seconds.
    """
    path = target(path)
    name = f"{path}.lock"
    try:
        descriptor = None if switched_off() else _taken(path, name, timeout)
    except NoLocks as error:
        with suppress(OSError):
            os.unlink(name)
        if not done_without():
            raise Unavailable(
                f"the file system of {path} has no locks, which keep two commands apart",
                remedy="choose a path on another disk, or set GAGA_LOCKS=off and run one command at a time",
            ) from error
        descriptor = None
    except OSError as error:
        raise unwritable(path, error) from error
    if descriptor is None:
        _warn_once(done_without())
        yield
        return
    try:
        _sign(descriptor)
        yield
    finally:
        _release(descriptor, name)


@cache
def _warn_once(setting: str) -> None:
    """One line for a process, however many files it locks."""
    _log.warning("Files are not locked (%s): do not run two gaga commands on the same files at once.", setting)


def _taken(path: Path, name: str, timeout: float) -> int:
    """The open lock file, ours."""
    began, warned = time.monotonic(), False
    while (descriptor := _open_if_free(name)) is None:
        waited = time.monotonic() - began
        if waited >= timeout:
            raise Conflict(
                f"another gaga process has held {path} for {timeout:.0f} s: {_holder(name)}",
                remedy="wait for it to end, then try again",
            )
        if waited >= _TELL_AFTER and not warned:
            _log.warning("Waiting for %s, which is writing %s.", _holder(name), path)
            warned = True
        time.sleep(_LOOK_EVERY)
    return descriptor


def _open_if_free(name: str) -> int | None:
    """The lock file, ours; None while another holds it, or if its holder removed it just now."""
    # not atomic: a lock is a file that is there, whatever it says
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        ours = take_if_free(descriptor) and is_at(descriptor, name)
    except BaseException:
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return descriptor


def _release(descriptor: int, name: str) -> None:
    """Remove the file while it is still ours, so that a process that waits for it opens a new one."""
    if sys.platform == "win32":  # where an open file cannot be removed; nor can one that another has opened
        os.close(descriptor)
    with suppress(OSError):
        os.unlink(name)
    if sys.platform != "win32":
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Write down who holds the lock; a full disk is no reason not to hold it."""
    since = datetime.now(UTC).strftime("%H:%M:%S UTC")
    who = {"process": os.getpid(), "host": socket.gethostname(), "command": _command(), "since": since}
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, _UNREAD + json.dumps(who).encode())


def _command() -> str:
    """What was typed, in short."""
    program = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path(sys.executable)
    name = program.parent.name if program.name == "__main__.py" else program.name
    line = shlex.join([name, *sys.argv[1:]]).replace("\n", " ")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _holder(name: str) -> str:
    """Who wrote down that they hold the lock."""
    try:
        with Path(name).open("rb") as file:
            file.seek(len(_UNREAD))
            who = json.loads(file.read())
        return f"{who['command']} (process {who['process']} on {who['host']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "one that has not said who it is"
