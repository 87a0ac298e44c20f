"""A bar on a terminal, nothing elsewhere."""

import io
import sys

from gaga.base.progress import silent
from gaga.cli.progress import progress_bar


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


def test_elsewhere_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("noising") as progress:
        assert progress is silent
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("noising", quiet=True) as progress:
        assert progress is silent
    assert sys.stderr.getvalue() == ""
