"""One writer at a time; the dead hold nothing, and whoever waits says for whom."""

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gaga.core.errors import Conflict, Unavailable
from gaga.storage import locks
from gaga.storage.files import atomic_write
from gaga.storage.flock import NoLocks
from gaga.storage.locks import locked

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX links and locks")

_HOLD = """
import sys, time
from pathlib import Path
from gaga.storage.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@posix
def test_a_lock_is_exclusive_and_freed_by_death(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match="another gaga process"), locked(path, timeout=0.2):
            pass
        holder.kill()
        holder.wait()
    assert (tmp_path / "s.h5.lock").exists()
    with locked(path, timeout=0):
        pass
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_link_shares_the_lock_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with (
        locked(tmp_path / "real"),
        pytest.raises(Conflict, match="another gaga process"),
        locked(tmp_path / "link", timeout=0.2),
    ):
        pass


def test_it_says_who_holds_the_lock_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/gaga/__main__.py", "variance", "--name", "with space"])
    with (
        locked(tmp_path / "s.h5"),
        caplog.at_level(logging.WARNING),
        pytest.raises(Conflict, match="gaga variance"),
        locked(tmp_path / "s.h5", timeout=1.5),
    ):
        pass
    (line,) = caplog.messages
    assert line.startswith(f"Waiting for gaga variance --name 'with space' (process {os.getpid()} on ")
    assert line.endswith(f" UTC), which is writing {tmp_path / 's.h5'}.")
    assert "\n" not in line


def test_a_lock_without_a_word_is_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_sign", lambda descriptor: None)
    with (
        locked(tmp_path / "s.h5"),
        pytest.raises(Conflict, match="not said who"),
        locked(tmp_path / "s.h5", timeout=0),
    ):
        pass


def test_a_long_command_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/gaga", "sample", "x" * 1000, "a\nb"])
    assert locks._command().startswith("gaga sample xxx")
    assert len(locks._command()) == 120


@posix
def test_a_file_that_its_holder_removed_is_no_lock(tmp_path: Path) -> None:
    """Whoever opened the lock's file before its holder removed it has to open the new one."""
    name = tmp_path / "s.h5.lock"
    with locked(tmp_path / "s.h5"):
        old = os.open(name, os.O_RDWR)
    with locked(tmp_path / "s.h5"):
        assert json.loads(name.read_text())["process"] == os.getpid()
        assert locks.take_if_free(old)
        assert not locks.is_at(old, str(name))
    os.close(old)


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int) -> bool:
        raise NoLocks(errno.ENOLCK, "no locks")

    monkeypatch.setattr(locks, "take_if_free", no_locks)
    with pytest.raises(Unavailable, match=r"has no locks.*GAGA_LOCKS=off"), locked(tmp_path / "s.h5"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("GAGA_LOCKS", "off", "GAGA_LOCKS=off"), ("HDF5_USE_FILE_LOCKING", "FALSE", "HDF5_USE_FILE_LOCKING=FALSE")],
)
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_setting_goes_on_without_locks_and_one_line_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable, value, said, number
) -> None:
    def no_locks(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number))

    locks._warn_once.cache_clear()
    monkeypatch.setattr("gaga.storage.flock.lock_descriptor", no_locks)
    monkeypatch.setenv(variable, value)
    for _ in range(2):
        with locked(tmp_path / "s.h5"), locked(tmp_path / "t.h5"), atomic_write(tmp_path / "s.h5") as partial:
            partial.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]
    assert [record.getMessage() for record in caplog.records] == [
        f"Files are not locked ({said}): do not run two gaga commands on the same files at once."
    ]


def test_hdf5_s_setting_alone_leaves_locks_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is set for all users of many clusters; GAGA_LOCKS=off takes nothing, even from a holder."""
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    with locked(tmp_path / "s.h5"), pytest.raises(Conflict), locked(tmp_path / "s.h5", timeout=0.0):
        pass
    with locked(tmp_path / "s.h5"):
        monkeypatch.setenv("GAGA_LOCKS", "off")
        with locked(tmp_path / "s.h5", timeout=0.0):
            pass
        assert (tmp_path / "s.h5.lock").exists()


_COUNT = """
import sys
from pathlib import Path
from gaga.storage.locks import locked
counter = Path(sys.argv[1])
for _ in range(200):
    with locked(counter):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_many_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    counting = [subprocess.Popen([sys.executable, "-c", _COUNT, str(counter)]) for _ in range(4)]
    assert [process.wait() for process in counting] == [0] * 4
    assert counter.read_text() == "800"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]
