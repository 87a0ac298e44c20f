"""Locks of open files, as the operating system has them: a process that dies, however, frees its own."""

import errno
import os
import sys
from contextlib import suppress

_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class NoLocks(OSError):
    """The file system has no locks."""


def take_if_free(descriptor: int) -> bool:
    """Whether the lock of this open file is now ours; it is freed when the descriptor is closed.

    A second descriptor of the same file, in this process or another, has to wait.

    Raises:
        NoLocks: the file system has none.
    """
    try:
        _take(descriptor)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            raise NoLocks(error.errno, "the file system has no locks") from error
        raise
    return True


if sys.platform == "win32":
    import msvcrt

    _BEHIND = 1 << 30  # a byte that nobody reads or writes: Windows keeps others from what is locked

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, _BEHIND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_at(descriptor: int, path: str) -> bool:
    """Whether this open file is the one of that name: not removed, and not replaced, since it was opened."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False
