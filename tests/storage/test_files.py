"""A file is the old one or the new one, whatever happens to the writer."""

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gaga.core.errors import Conflict, NotFound, Unavailable
from gaga.storage.files import atomic_write, refuse_to_overwrite, require_writable
from gaga.storage.flock import NoLocks
from gaga.storage.locks import locked

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and links")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_publishes_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "mols.sdf.gz"
    with atomic_write(path) as partial:
        assert partial.parent == tmp_path
        assert partial.name.endswith(".sdf.gz")
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(tmp_path) == ["mols.sdf.gz"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_and_fail() -> None:
        with atomic_write(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_os_error_is_unavailable(tmp_path: Path) -> None:
    def write_on_a_full_disk() -> None:
        with atomic_write(tmp_path / "a.txt"):
            raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="No space left on device"):
        write_on_a_full_disk()
    assert names(tmp_path) == []


@posix
def test_permissions_are_those_of_a_new_file_or_of_the_old_one(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    with atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("1")
    assert (tmp_path / "a.txt").stat().st_mode == plain.stat().st_mode
    (tmp_path / "a.txt").chmod(0o600)
    with atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("2")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "disk" / "real.txt")
    with atomic_write(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "new"


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no file"), atomic_write(tmp_path):
        pass
    with pytest.raises(Unavailable, match="no file"), atomic_write(Path(os.devnull)):
        pass
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("function", [atomic_write, locked])
def test_the_folder_must_exist(tmp_path: Path, function) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "no" / "a.txt", tmp_path / "file" / "a.txt"):
        with pytest.raises(NotFound, match="no such folder"), function(path):
            pass
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that not even root writes to")
@pytest.mark.parametrize("function", [atomic_write, locked])
def test_an_unwritable_folder_fails_at_once(function) -> None:
    start = time.monotonic()
    with pytest.raises(Unavailable, match="cannot write"), function(Path("/proc/a.txt")):
        pass
    assert time.monotonic() - start < 10


_DIE_HALFWAY = """
import os, signal, sys
from pathlib import Path
from gaga.storage.files import atomic_write
with atomic_write(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _DIE_HALFWAY, str(tmp_path / "b.sdf.gz")], check=False)
    assert len(names(tmp_path)) == 1
    (tmp_path / ".mine.tmp").write_text("")
    with atomic_write(tmp_path / "c.txt") as living:
        living.write_text("living")
        with atomic_write(tmp_path / "d.txt") as partial:
            partial.write_text("d")
    assert (tmp_path / "c.txt").read_text() == "living"
    assert names(tmp_path) == [".mine.tmp", "c.txt", "d.txt"]


@posix
def test_where_the_dead_cannot_be_told_from_the_living_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-c", _DIE_HALFWAY, str(tmp_path / "a.txt")], check=False)
    left = names(tmp_path)

    def no_locks(descriptor: int) -> bool:
        raise NoLocks(errno.ENOLCK, "no locks")

    monkeypatch.setattr("gaga.storage.files.take_if_free", no_locks)
    with atomic_write(tmp_path / "b.txt") as partial:
        partial.write_text("b")
    assert names(tmp_path) == [*left, "b.txt"]


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / f"{'a.' * 120}sdf"
    with atomic_write(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_an_error_of_the_block_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_write(tmp_path / "a.sdf") as partial:
            raise Unavailable(f"cannot write {partial}: File too large", remedy="free some space")

    with pytest.raises(Unavailable) as error:
        fail()
    assert error.value.line == f"cannot write {tmp_path / 'a.sdf'}: File too large. Free some space."


def test_a_reader_who_left_is_no_matter_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), atomic_write(tmp_path / "a.txt"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert names(tmp_path) == []


def test_what_could_not_be_written_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_writable(tmp_path / "new.h5")
    with pytest.raises(NotFound, match="no such folder"):
        require_writable(tmp_path / "no" / "new.h5")
    with pytest.raises(Unavailable, match="no file"):
        require_writable(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(Unavailable, match="no permission"):
        require_writable(tmp_path / "new.h5")


def test_overwriting_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "mols.sdf"
    refuse_to_overwrite(path, overwrite=False)
    path.write_text("")
    refuse_to_overwrite(path, overwrite=True)
    with pytest.raises(Conflict, match="`overwrite=True`"):
        refuse_to_overwrite(path, overwrite=False)
