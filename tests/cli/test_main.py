"""One line and the right exit code for whatever goes wrong; a start that imports nothing heavy."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from gaga.cli import commands
from gaga.cli.main import Terminated, explain, main
from gaga.core.errors import NotFound

HEAVY = ("torch", "rdkit", "scipy", "numpy", "h5py", "matplotlib")


@pytest.fixture
def failing(monkeypatch):
    """Let the command `doctor` raise an error, whatever its words."""

    def fail_with(error):
        app = commands.new_app()

        @app.command()
        def doctor() -> None:
            raise error

        monkeypatch.setattr(commands, "load", lambda name: typer.main.get_command(app))

    return fail_with


def test_help_imports_nothing_heavy_and_is_quick():
    script = "import sys; from gaga.cli.main import main; main(['--help']); print('\\n', *sys.modules)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # 0.15 s where it was written; the bound leaves room for a machine at work.
    assert time.perf_counter() - start < 1.0
    text, modules = done.stdout.rsplit("\n", 2)[0], done.stdout.split("\n")[-2].split()
    assert not {m.partition(".")[0] for m in modules} & set(HEAVY)
    assert not [
        m for m in modules if m.startswith("gaga.") and not m.startswith(("gaga.cli", "gaga.core", "gaga.storage"))
    ]
    for name, entry in commands.COMMANDS.items():
        assert name in text
        assert entry.help.split()[0] in text


def test_no_words_ask_for_help(gaga):
    assert gaga() == gaga("--help")
    assert "Examples:" in gaga().out


def test_version(gaga):
    assert gaga("--version").out.startswith("gaga 0.")


@pytest.mark.parametrize("words", [("varance",), ("data", "lst"), ("--nonsense",), ("variance", "--nonsense")])
def test_wrong_words_exit_with_2_in_two_lines(gaga, words):
    ran = gaga(*words)
    assert (ran.code, ran.out) == (2, "")
    message, hint = ran.err.splitlines()
    assert message.startswith("gaga: ")
    assert hint.startswith("Try 'gaga")
    assert hint.endswith("--help'.")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["gaussianity", "--dataset", "m.xyz", "--k-positions"], "--k-positions"),
        (["sample", "--n"], "--n"),
        (["evaluate", "m.xyz", "--threads"], "--threads"),
    ],
)
def test_numbers_beyond_64_bits_are_wrong_usage(gaga, words, option):
    ran = gaga(*words, "99999999999999999999")
    assert ran.code == 2
    assert f"invalid value for {option}: 99999999999999999999 is beyond 64 bits" in ran.err


def test_nearest_command_is_suggested(gaga):
    assert "did you mean variance" in gaga("varance").err
    assert "did you mean list" in gaga("store", "lst").err
    assert "choose from" in gaga("xyzzy").err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NotFound("no such file", received="x.sdf"), 1, "no such file (received x.sdf)."),
        (KeyboardInterrupt(), 130, "interrupted; whatever was stored before is as it was"),
        (
            KeyboardInterrupt("gaga train --resume continues"),
            130,
            "interrupted; gaga train --resume continues",
        ),
        (Terminated(143), 143, "terminated; whatever was stored before is as it was"),
        (MemoryError(), 1, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "no space left on the disk: /x/y"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "no permission for /x"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), 1, "the system refused /x: no such file"),
        (commands.usage_error("that cannot be"), 2, "that cannot be\nTry 'gaga doctor --help'."),
    ],
)
def test_errors_become_a_line(gaga, failing, error, code, line):
    failing(error)
    ran = gaga("doctor")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith(f"gaga: {line}")
    assert len(ran.err.splitlines()) == 1 + (code == 2)


def test_torch_out_of_memory_is_no_bug():
    class OutOfMemoryError(RuntimeError):
        """As torch calls it."""

    assert explain(OutOfMemoryError("CUDA out of memory\nTried to allocate"))[1].startswith("the device is out of")


def test_a_bug_is_called_one_and_shows_its_place_on_demand(gaga, failing, monkeypatch):
    failing(ZeroDivisionError("division\nby zero"))
    ran = gaga("doctor")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "this is a bug in gaga" in ran.err
    assert "ZeroDivisionError: division by zero" in ran.err
    monkeypatch.setenv("GAGA_DEBUG", "1")
    assert "Traceback" in gaga("doctor").err


def test_a_reader_that_leaves_is_no_error():
    command = [sys.executable, "-m", "gaga.cli.main", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_sigterm_unwinds_and_exits_with_143(failing, capsys, monkeypatch):
    unwound = []
    app = commands.new_app()

    @app.command()
    def doctor() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            unwound.append(True)

    monkeypatch.setattr(commands, "load", lambda name: typer.main.get_command(app))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["doctor"]) == 143
    assert unwound == [True]
    assert capsys.readouterr().err.startswith("gaga: terminated")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["a\x1b[31mb.sdf", "a\nb.sdf", "a\r\u202eb.xyz", "[/bold].sdf"])
def test_a_hostile_file_name_is_one_harmless_line(gaga, name):
    ran = gaga("evaluate", name)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert not set("\x1b\r\u202e") & set(ran.err)


@pytest.mark.parametrize("name", ["../../x", "..", "/tmp/x"])
def test_a_name_that_leads_elsewhere_writes_nothing(gaga, xyz, name):
    before = sorted(xyz.parent.parent.iterdir())
    for command in (["variance"], ["train", "--max-t", "550", "--steps", "1"]):
        assert gaga(*command, "--dataset", xyz, "--name", name).code == 1
    assert sorted(path.name for path in xyz.parent.iterdir()) == [xyz.name]
    assert sorted(xyz.parent.parent.iterdir()) == before
