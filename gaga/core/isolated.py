"""A function of a stranger's bytes in a process of its own: where a library dies of them, this process does not.

Code that is not Python's own may write where it should not when what it reads is damaged or hostile. Plain bytes are
all that goes to that process and comes back; it may take so much memory and time and no more.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from gaga.core.errors import Unavailable
from gaga.core.workers import end_now, end_quietly

_STARTING = 120.0  # seconds until the libraries are loaded
_PATIENCE = 0.5  # seconds for a process that is told to end
_MEMORY = 1 << 31  # bytes that it may take beyond those of its libraries
_DONE, _REFUSED = b"\0", b"\1"


class Isolated:
    """A function from bytes to bytes, which is called in another process; a context manager.

    Args:
        function: can be pickled; raises ValueError for bytes that it does not understand.
        seconds: that one call may take.
        most: bytes that it may return.
    """

    def __init__(self, function: Callable[[bytes], bytes], *, seconds: float, most: int) -> None:
        self._function, self._seconds, self._most = function, seconds, most
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def __call__(self, content: bytes) -> bytes:
        """What the function makes of it.

        Raises:
            ValueError: it does not understand it, or the process died of it or took too long.
            Unavailable: no process can be started.
        """
        connection = self._connection or self._start()
        try:
            connection.send_bytes(content)
            if connection.poll(self._seconds):
                answer = connection.recv_bytes(self._most + 1)
                if answer[:1] == _DONE:
                    return answer[1:]
                raise ValueError(answer[1:].decode("utf-8", "replace"))
        except (EOFError, OSError):
            pass
        self.close()
        raise ValueError("whatever reads it dies of it, or takes too long")

    def _start(self) -> Connection:
        here, there = get_context("spawn").Pipe()
        self._process = get_context("spawn").Process(target=_serve, args=(there, self._function), daemon=True)
        self._process.start()
        there.close()
        self._connection = here
        try:
            if here.poll(_STARTING) and here.recv_bytes(len(_DONE)) == _DONE:
                return here
        except (EOFError, OSError):
            pass
        self.close()
        raise Unavailable(
            "no process can be started", remedy='in a script, call this under `if __name__ == "__main__":`'
        )

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            end_now(self._process, _PATIENCE)
        self._connection = self._process = None

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: Connection, function: Callable[[bytes], bytes]) -> None:
    """Answer until the other side closes its pipe."""
    end_quietly()
    with suppress(ValueError):
        function(b"")  # loads its libraries, whose memory does not count
    _limit_memory()
    with suppress(EOFError, OSError):
        connection.send_bytes(_DONE)
        while True:
            content = connection.recv_bytes()
            try:
                connection.send_bytes(_DONE + function(content))
            except (ValueError, MemoryError) as error:
                connection.send_bytes(_REFUSED + str(error).encode("utf-8", "replace")[:200])


def _limit_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    with suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as file:
        most = int(file.read().split()[0]) * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
