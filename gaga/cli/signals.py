"""Stopping long work politely: by SIGINT, SIGTERM, SIGHUP (the terminal closed) or SIGUSR1 (a batch system warns).

Training finishes its step and saves; other commands end at once and keep what is finished. The exit code is 128 + the
signal's number. A signal that was ignored when gaga started, as nohup does with SIGHUP, stays ignored.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from gaga.core.errors import Terminated

_ASKING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)  # Windows has SIGTERM alone


class StopRequest:
    """Whether a signal asked to stop, and which."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None

    def raise_if_asked(self, message: str) -> None:
        """End the command with the signal's exit code and this message."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        if self.number is not None:
            raise Terminated(128 + self.number, message)


@contextmanager
def stop_requests(request: StopRequest) -> Iterator[StopRequest]:
    """Note the first signal that asks to stop while the block runs; a SIGINT after it interrupts at once."""

    def note(number: int, frame: FrameType | None) -> None:
        if request.number is None:
            request.number = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    with _handled(note, (signal.SIGINT, *_ASKING)):
        yield request


@contextmanager
def terminating_signals() -> Iterator[None]:
    """Raise `Terminated` at the first signal but SIGINT while the block runs.

    Later ones do not disturb what it puts in order: a terminal that closes sends SIGHUP more than once.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Terminated(128 + number)

    with _handled(stop, _ASKING):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], numbers: tuple[int, ...]) -> Iterator[None]:
    """Handle these signals so while the block runs, but for those that are ignored."""
    before = {}
    try:
        for number in numbers:
            if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    except ValueError:  # not in the main thread, where no handler can be set
        yield
        return
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
