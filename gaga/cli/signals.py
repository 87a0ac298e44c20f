"""Stopping long work politely: the first SIGINT or SIGTERM asks it to finish its step and save."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(SystemExit):
    """SIGTERM arrived: unwinds like any exit, so that files and locks are left in order.

    Its arguments are the exit code and, perhaps, what was saved.
    """


class StopRequest:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None

    def raise_if_asked(self, message: str) -> None:
        """End the command with the signal's exit code and this message."""
        if self.number == signal.SIGTERM:
            raise Terminated(143, message)
        if self.number is not None:
            raise KeyboardInterrupt(message)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note the first SIGINT or SIGTERM while the block runs; a second SIGINT interrupts at once."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.number is not None:
            raise KeyboardInterrupt
        request.number = number

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where no handler can be set
        yield request
        return
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
