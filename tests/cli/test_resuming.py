"""Long commands are interrupted for real, with signals, and taken up again: bit for bit, told in one line."""

import signal
import sys

import numpy as np
import pytest

from gaga import Store
from gaga.runs.unfinished import partial_path
from tests.cli.conftest import METHANE, WATER
from tests.cli.processes import interrupted
from tests.cli.processes import run as gaga

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

GAUSSIANITY = ("--timesteps", "100:1000:100", "--n-null", "50", "--n-resamples", "5", "--threads", "1", "--device",
               "cpu")  # fmt: skip
KEPT = "what was computed is kept, and the same command with --resume continues"
UNFINISHED = ".*.unfinished"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
BATCH = {signal.SIGHUP: 129, signal.SIGUSR1: 138}  # a terminal that closes, a batch system before its limit


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
    """Fifteen hundred molecules, waters and methanes, each stretched a little differently."""
    path = tmp_path_factory.mktemp("molecules") / "many.xyz"
    frames = []
    for i in range(1500):
        atoms = WATER if i % 2 else METHANE  # no two in a row, which were conformers
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


@pytest.mark.parametrize(
    ("command", "number"),
    [("gaussianity", signal.SIGTERM), ("evaluate", signal.SIGKILL),
     *(pytest.param(command, number, marks=pytest.mark.slow) for command, number in [
         ("gaussianity", signal.SIGINT), ("gaussianity", signal.SIGKILL), ("gaussianity", signal.SIGUSR1),
         ("evaluate", signal.SIGINT), ("evaluate", signal.SIGTERM), ("evaluate", signal.SIGHUP)])],
)  # fmt: skip
def test_an_interrupted_run_goes_on_to_the_same_bits(command, number, molecules, whole, tmp_path):
    """Interrupted as soon as something is kept, then after a little more, then taken up."""
    words, resume = commands(molecules)[command], ()
    for more in (3_000, 1):  # the first line alone is shorter
        before = sum(path.stat().st_size for path in tmp_path.glob(UNFINISHED))
        ran = interrupted(tmp_path, number, grown(tmp_path, before + more), *words, *resume)
        code, told = ran.returncode, ran.stderr
        assert code == (CODES | BATCH)[number], told
        assert told.count("\n") == (number != signal.SIGKILL) + bool(resume), told
        assert number == signal.SIGKILL or KEPT in told
        resume = ("--resume",)
    resumed = gaga(tmp_path, *words, *resume)
    assert resumed.returncode == 0, resumed.stderr
    assert "which was interrupted" in resumed.stderr
    assert_bitwise(results(tmp_path, {"evaluate": "evaluation"}.get(command, command)), whole[command])
    assert {path.name for path in tmp_path.iterdir()} <= {"gaga.h5", "gaga.h5.lock"}


@pytest.mark.slow
def test_an_interrupted_run_is_neither_lost_nor_mixed(molecules, whole, tmp_path):
    """Without a word it is kept; with another configuration it is refused; --replace starts over."""
    words = commands(molecules)["gaussianity"]
    path = partial_path(tmp_path / "gaga.h5", "gaussianity", "identity_to_gaussian_many")
    ran = interrupted(tmp_path, signal.SIGTERM, grown(tmp_path, 20_000), *words)
    assert (ran.returncode, KEPT in ran.stderr) == (143, True), ran.stderr
    content = path.read_bytes()
    for extra, says in (
        ((), "an earlier run of gaussianity/identity_to_gaussian_many is unfinished"),
        (("--alpha", "0.1"), "continue with --resume, or start over with --replace"),
        (("--resume", "--alpha", "0.1"), "was started with another alpha. Resume with"),
        (("--resume", "--seed", "1"), "was started with another seed"),
    ):
        refused = gaga(tmp_path, *words, *extra)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert says in refused.stderr.replace("Continue with", "continue with")
        assert path.read_bytes() == content
    started = b'"alpha": 0.1'
    anew = lambda: path.exists() and started in path.read_bytes() and grown(tmp_path, 2_000)()  # noqa: E731
    ran = interrupted(tmp_path, signal.SIGTERM, anew, *words, "--replace", "--alpha", "0.1")
    assert (ran.returncode, KEPT in ran.stderr) == (143, True), ran.stderr
    assert gaga(tmp_path, *words, "--replace").returncode == 0
    assert_bitwise(results(tmp_path, "gaussianity"), whole["gaussianity"])
    assert not path.exists()


def test_a_run_that_nothing_interrupted_may_be_resumed_too(molecules, whole, tmp_path):
    words = (*commands(molecules)["evaluate"], "--resume")
    assert gaga(tmp_path, *words).returncode == 0
    again = gaga(tmp_path, *words)
    assert "Found evaluation/" in again.stdout
    assert_bitwise(results(tmp_path, "evaluation"), whole["evaluate"])


@pytest.mark.slow
def test_a_run_that_was_killed_after_its_result_was_stored_is_found(molecules, tmp_path):
    """A journal that nobody needs any more goes."""
    words = commands(molecules)["evaluate"]
    assert interrupted(tmp_path, signal.SIGKILL, lambda: any(tmp_path.glob(UNFINISHED)), *words).returncode == -9
    (path,) = tmp_path.glob(UNFINISHED)
    content = path.read_bytes()
    assert gaga(tmp_path, *words, "--resume").returncode == 0
    path.write_bytes(content)
    assert "Found evaluation/" in gaga(tmp_path, *words).stdout
    assert not path.exists()


@pytest.fixture(scope="module")
def prepared(molecules, tmp_path_factory):
    """The file of a preparation that nobody interrupted."""
    folder = tmp_path_factory.mktemp("prepared")
    assert gaga(folder, "data", "prepare", molecules, "--out", "whole.h5").returncode == 0
    return (folder / "whole.h5").read_bytes()


POINTS = (
    ("gaga.data.own", "pack"),
    ("gaga.data.own", "content_split"),
    ("gaga.data.prepared", "write_positions"),
    ("gaga.data.prepared", "write_attributes"),
    ("gaga.data.prepared", "_write_annotations"),
    ("os", "fsync"),
)


@pytest.mark.parametrize(
    ("number", "module", "name"),
    [*((number, *point) for number in CODES for point in POINTS), *((number, *POINTS[2]) for number in BATCH)],
)
def test_preparing_starts_over_and_leaves_nothing_half_written(number, module, name, molecules, prepared, tmp_path):
    """Struck while it reads, while it writes, and between that and the publication."""
    words = ["data", "prepare", str(molecules), "--out", "many.h5"]
    ran = gaga(tmp_path, *words, struck=(module, name, int(number)))
    assert ran.returncode == (CODES | BATCH)[number], ran.stderr
    if number != signal.SIGKILL:
        assert ran.stderr.count("\n") == 1
        assert ran.stderr.endswith("ed; nothing was written, and the same command starts over\n")
    assert not (tmp_path / "many.h5").exists()
    again = gaga(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "many.h5").read_bytes() == prepared
