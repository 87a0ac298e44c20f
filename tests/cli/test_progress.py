"""A bar on a terminal, a line a minute elsewhere."""

import io
import sys
import time

import pytest

from gaga.cli import progress as module
from gaga.cli.progress import progress_bar, start_clock
from gaga.core.progress import silent


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_with_count_and_note(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("noising") as progress:
        progress(3, 7, "loss 1.5")
    assert "noising" in terminal.getvalue()
    assert "3/7" in terminal.getvalue()
    assert "loss 1.5" in terminal.getvalue()


def test_quiet_is_quiet(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("noising", quiet=True) as progress:
        assert progress is silent
    assert sys.stderr.getvalue() == ""


@pytest.fixture
def minutes(monkeypatch):
    """A minute is 0.2 s, and the first line is due after 0.1."""
    monkeypatch.setattr(module, "_FIRST", 0.1)
    monkeypatch.setattr(module, "_EVERY", 0.2)
    start_clock()
    yield
    monkeypatch.undo()
    start_clock()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


@pytest.mark.parametrize(("stream", "term", "bar"), [
    (io.StringIO, "xterm", True), (Terminal, "dumb", True), (Terminal, "xterm", False),
])  # fmt: skip
def test_elsewhere_a_line_a_minute(monkeypatch, minutes, stream, term, bar):
    """Without a report too; done, share, rate, time left, note."""
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setenv("TERM", term)
    lines = lambda: sys.stderr.getvalue().splitlines()  # noqa: E731
    with progress_bar("noising", bar=bar) as progress:
        wait_for(lambda: len(lines()) == 1)
        progress(100, 1000, "loss 1.5")
        began = time.monotonic()
        time.sleep(0.01)
        progress(400, 1000, "loss 1.2")
        wait_for(lambda: len(lines()) == 2)
        passed = time.monotonic() - began
    first, second = lines()
    assert first == "noising: a second, nothing finished yet"
    assert second.startswith("noising: 400 of 1,000 (40%), ")
    assert second.endswith(", a second left, loss 1.2")
    rate = float(second.split(", ")[1].removesuffix(" a second"))
    assert rate >= 300 / passed * 0.99  # the line is written before `passed` is known
    time.sleep(0.3)
    assert len(lines()) == 2, "the work has ended"


def test_short_parts_of_long_work_share_the_minute_and_the_first_loss_comes_at_once(monkeypatch, minutes):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    module._clock.due = time.monotonic() + 60
    with progress_bar("training", first=True) as progress:
        progress(1, 20, "loss 1.5")
        progress(2, 20, "loss 1.4")
    assert sys.stderr.getvalue() == "training: 1 of 20 (5%), loss 1.5\n"
    start_clock()
    began = time.monotonic()
    for _ in range(12):
        with progress_bar("part"):
            time.sleep(0.05)
    assert 1 <= sys.stderr.getvalue().count("part: ") <= 1 + (time.monotonic() - began) / 0.2


@pytest.mark.parametrize(
    ("per_second", "text"), [(12.345, "12.3 a second"), (0.5, "30 a minute"), (2e-5, "0.072 an hour")]
)
def test_a_rate_in_the_unit_that_suits_it(per_second, text):
    assert module._rate(per_second) == text


class Gone(io.StringIO):
    """A terminal that was closed."""

    def isatty(self):
        return True

    def write(self, text):
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_ends_no_work(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("noising") as progress:
        progress(3, 7)
