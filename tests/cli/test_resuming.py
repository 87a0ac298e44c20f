"""Long commands are interrupted for real, with signals, and taken up again: bit for bit, told in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gaga import Store
from gaga.cli.resuming import journal_path
from gaga.cli.results import Key
from tests.cli.conftest import METHANE, WATER

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

GAUSSIANITY = ("--timesteps", "100:1000:100", "--n-null", "50", "--n-resamples", "5", "--threads", "1", "--device",
               "cpu")  # fmt: skip
KEPT = "what was computed is kept, and the same command with --resume goes on"
UNFINISHED = ".*.unfinished"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def gaga(folder, *words):
    """A whole `gaga` of its own."""
    command = [sys.executable, "-m", "gaga", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def interrupted(folder, number, ready, *words):
    """`gaga`, sent this signal as soon as it is `ready`: its exit code and stderr."""
    command = [sys.executable, "-m", "gaga", *map(str, words)]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        return process.wait(), process.stderr.read()


def grown(folder, size):
    """Whether what is unfinished there has this size."""
    return lambda: sum(path.stat().st_size for path in folder.glob(UNFINISHED)) >= size


def results(folder, kind):
    store = Store(folder / "gaga.h5", shipped=False)
    (entry,) = [entry for entry in store.entries() if entry.kind == kind]
    return store.arrays(kind, entry.name)


def assert_bitwise(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture(scope="module")
def molecules(tmp_path_factory):
    """A thousand molecules, waters and methanes, each stretched a little differently."""
    path = tmp_path_factory.mktemp("molecules") / "many.xyz"
    frames = []
    for i in range(1000):
        atoms = WATER if i % 3 else METHANE
        lines = [f"{s} " + " ".join(f"{x * (1 + 1e-4 * i):.6f}" for x in place) for s, place in atoms]
        frames.append("\n".join([str(len(atoms)), f"molecule {i}", *lines]))
    path.write_text("\n".join(frames) + "\n")
    return path


@pytest.fixture(scope="module")
def whole(molecules, tmp_path_factory):
    """The results of runs that nobody interrupted, and the size that each journal has in the end."""
    folder, found = tmp_path_factory.mktemp("whole"), {}
    for command, words in commands(molecules).items():
        ran = gaga(folder, *words)
        assert ran.returncode == 0, ran.stderr
        found[command] = results(folder, {"evaluate": "evaluation"}.get(command, command))
    assert {path.name for path in folder.iterdir()} <= {"gaga.h5", "gaga.h5.lock"}
    return found


def commands(molecules):
    return {
        "gaussianity": ("gaussianity", "--dataset", molecules, *GAUSSIANITY),
        "evaluate": ("evaluate", molecules, "--protocol", "strict", "--threads", "1"),
    }


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(("command", "kind"), [("gaussianity", "gaussianity"), ("evaluate", "evaluation")])
def test_an_interrupted_run_goes_on_to_the_same_bits(command, kind, number, molecules, whole, tmp_path):
    """Interrupted as soon as something is kept, then after a little more, then taken up."""
    words, resume = commands(molecules)[command], ()
    for more in (1_000, 15_000):
        before = sum(path.stat().st_size for path in tmp_path.glob(UNFINISHED))
        code, told = interrupted(tmp_path, number, grown(tmp_path, before + more), *words, *resume)
        assert code == CODES[number], told
        assert told.count("\n") == (number != signal.SIGKILL) + bool(resume), told
        assert number == signal.SIGKILL or KEPT in told
        resume = ("--resume",)
    resumed = gaga(tmp_path, *words, *resume)
    assert resumed.returncode == 0, resumed.stderr
    assert "which was interrupted" in resumed.stderr
    assert_bitwise(results(tmp_path, kind), whole[command])
    assert {path.name for path in tmp_path.iterdir()} <= {"gaga.h5", "gaga.h5.lock"}


def test_an_interrupted_run_is_neither_lost_nor_mixed(molecules, whole, tmp_path):
    """Without a word it is kept; with another configuration it is refused; --replace starts over."""
    words = commands(molecules)["gaussianity"]
    path = journal_path(
        tmp_path / "gaga.h5", Key(kind="gaussianity", name="identity_to_gaussian_many", config={}, inputs={})
    )
    code, told = interrupted(tmp_path, signal.SIGTERM, grown(tmp_path, 20_000), *words)
    assert (code, KEPT in told) == (143, True), told
    content = path.read_bytes()
    for extra, says in (
        ((), "an earlier run of gaussianity/identity_to_gaussian_many was interrupted"),
        (("--alpha", "0.1"), "go on with --resume, or start over with --replace"),
        (("--resume", "--alpha", "0.1"), "was started with another alpha. Resume with"),
        (("--resume", "--seed", "1"), "was started with another seed"),
    ):
        refused = gaga(tmp_path, *words, *extra)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert says in refused.stderr.replace("Go on", "go on")
        assert path.read_bytes() == content
    started = b'"alpha": 0.1'
    anew = lambda: path.exists() and started in path.read_bytes() and grown(tmp_path, 2_000)()  # noqa: E731
    code, told = interrupted(tmp_path, signal.SIGTERM, anew, *words, "--replace", "--alpha", "0.1")
    assert (code, KEPT in told) == (143, True), told
    assert gaga(tmp_path, *words, "--replace").returncode == 0
    assert_bitwise(results(tmp_path, "gaussianity"), whole["gaussianity"])
    assert not path.exists()


def test_a_run_that_nothing_interrupted_may_be_resumed_too(molecules, whole, tmp_path):
    words = (*commands(molecules)["evaluate"], "--resume")
    assert gaga(tmp_path, *words).returncode == 0
    again = gaga(tmp_path, *words)
    assert "Found evaluation/" in again.stdout
    assert_bitwise(results(tmp_path, "evaluation"), whole["evaluate"])


def test_a_run_that_was_killed_after_its_result_was_stored_is_found(molecules, tmp_path):
    """A journal that nobody needs any more goes."""
    words = commands(molecules)["evaluate"]
    code, _ = interrupted(tmp_path, signal.SIGKILL, lambda: any(tmp_path.glob(UNFINISHED)), *words)
    assert code == -9
    (path,) = tmp_path.glob(UNFINISHED)
    content = path.read_bytes()
    assert gaga(tmp_path, *words, "--resume").returncode == 0
    path.write_bytes(content)
    assert "Found evaluation/" in gaga(tmp_path, *words).stdout
    assert not path.exists()


@pytest.mark.parametrize(
    "name", ["as it is", "Å", "💊" * 40, "x" * 255, "con", "a:b*c?", "%2F", ".."]
)
def test_any_name_of_a_result_has_a_journal_of_its_own(name, tmp_path):
    paths = {
        journal_path(tmp_path / "gaga.h5", Key(kind="evaluation", name=text, config={}, inputs={}))
        for text in (name, name + "2")
    }
    assert len(paths) == 2
    for path in paths:
        assert path.parent == tmp_path
        path.write_bytes(b"")


@pytest.mark.parametrize("number", CODES)
def test_preparing_starts_over_and_leaves_nothing_half_written(number, molecules, tmp_path):
    words = ("data", "prepare", molecules, "--out", "many.h5")
    assert gaga(tmp_path, *words[:-1], "whole.h5").returncode == 0
    for delay in (0.05, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        started = time.monotonic()
        code, told = interrupted(tmp_path, number, lambda s=started, d=delay: time.monotonic() > s + d, *words)
        if code == 0:  # it was faster
            break
        assert code == CODES[number] or delay < 0.5, told  # before, the interpreter itself is starting
        out = tmp_path / "many.h5"
        assert not out.exists() or out.read_bytes() == (tmp_path / "whole.h5").read_bytes()
        out.unlink(missing_ok=True)
    ran = gaga(tmp_path, *words, "--overwrite")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "many.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
