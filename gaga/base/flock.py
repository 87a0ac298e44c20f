"""Locks of open files, as the operating system has them: a process that dies, however, frees its own."""

import errno
import os
from contextlib import suppress

from filelock import lock_descriptor

_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class NoLocks(OSError):
    """The file system has no locks."""


def take_if_free(descriptor: int) -> bool:
    """Whether the lock of this open file is now ours; it is freed when the descriptor is closed.

    A second descriptor of the same file, in this process or another, has to wait. On Windows the file's first byte is
    nobody else's to read meanwhile.

    Raises:
        NoLocks: the file system has none.
    """
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
