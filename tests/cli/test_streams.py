"""A stream that is closed, full, or loses its reader is no bug, and ends no work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gaga.cli import streams
from gaga.cli.render import Output

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def shell(folder, words, redirected, **variables):
    """`gaga` with a redirection: exit code, stdout, stderr."""
    command = f'"{sys.executable}" -m gaga {words} {redirected}'
    ran = subprocess.run(
        command, shell=True, cwd=folder, env=ENVIRONMENT | variables, capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_the_null_device(xyz, tmp_path, redirected):
    """The store, which would be given the number of a closed stream, is whole."""
    code, out, err = shell(tmp_path, "variance --dataset tiny.xyz", redirected)
    assert code == 0, err
    assert ("Stored as variance/variance_tiny" in out) == (">&-" not in redirected.replace("2>&-", ""))
    assert "bug" not in err
    code, out, _ = shell(tmp_path, "store show variance/variance_tiny", "")
    assert code == 0
    assert "digest" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["--version", "--help", "data info tiny.xyz", "store list --json"])
def test_a_full_disk_behind_stdout_is_one_line(xyz, tmp_path, words):
    code, out, err = shell(tmp_path, words, ">/dev/full")
    assert (code, out) == (1, "")
    assert err.startswith("gaga: ")
    assert "no space left" in err.lower()
    assert err.count("\n") == 1
    code, out, _ = shell(tmp_path, words, "2>/dev/full")
    assert code == 0, "notes that are lost are no failure"
    assert out


@pytest.mark.parametrize("words", ["--help", "store list --json", "data info tiny.xyz"])
def test_a_reader_that_leaves_ends_the_command_with_141(xyz, tmp_path, words):
    command = [sys.executable, "-m", "gaga", *words.split()]
    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("variables", [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"}, {"COLUMNS": "20"},
    {"TERM": "dumb", "NO_COLOR": "1"}, {"HOME": "/does/not/exist"}, {"HOME": ""}, {"TMPDIR": "/does/not/exist"},
])  # fmt: skip
def test_odd_environments_are_no_bug(xyz, tmp_path, variables):
    code, out, err = shell(tmp_path, "data info tiny.xyz", "", **variables)
    assert (code, err) == (0, "")
    assert "60" in out


class Broken:
    """A stream whose reader has left."""

    def write(self, text=""):
        raise BrokenPipeError

    flush = write


def test_notes_that_nothing_reads_end_no_work(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Broken())
    Output().note("saved")
    stream = streams.Tolerant(Broken())
    assert stream.write("lost") == 4
    stream.flush()


class Shown:
    def __init__(self, terminal):
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(("terminal", "term", "plain"), [
    (True, "xterm", False), (True, "dumb", True), (False, "xterm", True),
])  # fmt: skip
def test_what_takes_a_bar(monkeypatch, terminal, term, plain):
    monkeypatch.setenv("TERM", term)
    assert streams.is_plain(Shown(terminal)) == plain
