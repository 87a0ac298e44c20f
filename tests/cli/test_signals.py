"""Which signals ask to stop, and what they leave alone."""

import os
import signal
import sys

import pytest

from gaga.cli.signals import StopRequest, stop_requests, terminating_signals
from gaga.core.errors import Terminated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
LINES = {signal.SIGTERM: "terminated", signal.SIGHUP: "SIGHUP received", signal.SIGUSR1: "SIGUSR1 received"}


@pytest.mark.parametrize("number", LINES)
def test_training_is_asked_to_stop_and_ends_with_128_and_the_number(number):
    before = signal.getsignal(number)
    with stop_requests(StopRequest()) as stop:
        assert not stop()
        for _ in range(2):  # a terminal that closes sends it more than once
            os.kill(os.getpid(), number)
        assert stop()
    with pytest.raises(Terminated) as error:
        stop.raise_if_asked("saved step 5")
    assert (error.value.args[0], error.value.line) == (128 + number, f"{LINES[number]}; saved step 5")
    assert signal.getsignal(number) is before


def test_a_second_interruption_does_not_wait(monkeypatch):
    with stop_requests(StopRequest()) as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", LINES)
def test_other_commands_end_at_once_and_are_not_disturbed_again(number):
    put_in_order = []

    def work():
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            put_in_order.append(True)

    with pytest.raises(Terminated) as error, terminating_signals():
        work()
    assert put_in_order
    assert error.value.saying("what was computed is kept").line == f"{LINES[number]}; what was computed is kept"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_what_was_ignored_stays_ignored(number):
    """As nohup starts a command."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with terminating_signals(), stop_requests(StopRequest()) as stop:
            os.kill(os.getpid(), number)
            assert not stop()
    finally:
        signal.signal(number, before)
