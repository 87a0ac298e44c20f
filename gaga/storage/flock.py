"""Locks of open files, as the operating system has them: a process that dies, however, frees its own."""

import errno
import os
from contextlib import suppress

from filelock import lock_descriptor

_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class NoLocks(OSError):
    """The file system has no locks, or they are switched off."""


def switched_off() -> bool:
    """Whether GAGA_LOCKS=off says to lock nothing."""
    return os.environ.get("GAGA_LOCKS", "").strip().lower() in ("off", "false", "no", "0")


def done_without() -> str:
    """The setting that says to continue if a file system has no locks: ours, or HDF5's own; empty if there is none."""
    if switched_off():
        return "GAGA_LOCKS=off"
    hdf5 = os.environ.get("HDF5_USE_FILE_LOCKING", "")
    return f"HDF5_USE_FILE_LOCKING={hdf5}" if hdf5.strip().upper() in ("FALSE", "0", "BEST_EFFORT") else ""


def take_if_free(descriptor: int) -> bool:
    """Whether the lock of this open file is now ours; it is freed when the descriptor is closed.

    A second descriptor of the same file, in this process or another, has to wait. On Windows no other process
    can read the file's first byte meanwhile.

    Raises:
        NoLocks: the file system has none, or they are switched off.
    """
    if switched_off():
        raise NoLocks(errno.ENOLCK, "locks are switched off")
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            raise NoLocks(error.errno, "the file system has no locks") from error
        raise


def is_at(descriptor: int, path: str) -> bool:
    """Whether this open file is the one of that name: not removed, and not replaced, since it was opened."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False
