"""Let the disk fail under commands: a limit of file sizes, errors of the system, a full disk, a folder to read only.

After each failure: exit code 1, one clear line, everything as before or whole, nothing left behind but what the line
says is kept. Then the same command where there is room: it ends well, as one that never failed.
"""

import errno
import os
import random
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import crash_world as world
from crash_kills import POINTS, Failure, Run, require
from crash_world import Case

from gaga.core.errors import GagaError

_ROOM = 16  # MB of the small disk
_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
_FAILING = tuple(point for point in POINTS if point.function in ("fsync", "replace", "mkstemp") and not point.after)


def size_limit(run: Run, case: Case, rng: random.Random) -> bool:
    """No file may grow beyond a random size; the system sends SIGXFSZ or says EFBIG. Whether the command failed."""
    folder = world.copy(run.before_folder, run.folder)
    limit = int(10 ** rng.uniform(1.0, 5.3))
    return _fails_well(run, case, folder, f"no file above {limit} bytes", lambda: _limit(limit))


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def system_error(run: Run, case: Case, rng: random.Random) -> bool:
    """The n-th new file, flush or renaming fails. Whether the command failed."""
    folder = world.copy(run.before_folder, run.folder)
    point, n, number = rng.choice(_FAILING), rng.randint(1, 3), rng.choice(_ERRORS)

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    how = f"{os.strerror(number)} {point.name} (number {n})"
    return _fails_well(run, case, folder, how, lambda: point.arm(n, fail))


def full_disk(run: Run, case: Case, rng: random.Random) -> bool:
    """A disk of its own with so much room left. Whether the command failed."""
    with small_disk(run.folder.parent / "disk") as disk:
        folder = shutil.copytree(run.before_folder, disk / "world")
        room = int(10 ** rng.uniform(0.0, 5.5))
        _fill(disk / "ballast", room)
        return _fails_well(run, case, folder, f"a disk with {room} bytes left", lambda: None, disk / "ballast")


def _fill(ballast: Path, room: int) -> None:
    free = os.statvfs(ballast.parent)
    left = free.f_bavail * free.f_frsize
    with ballast.open("wb") as file:
        file.write(bytes(max(0, left - room)))


def read_only(run: Run, case: Case, rng: random.Random) -> bool:
    """A disk to read from only. Whether the command failed, which it must."""
    with small_disk(run.folder.parent / "disk") as disk:
        folder = shutil.copytree(run.before_folder, disk / "world")
        _mount("-o", "remount,ro", str(disk))
        code, words = world.told(folder, case.words, lambda: None)
        try:
            _check_told(code, words)
            require(world.files_of(folder) == run.files, "files have changed")
        except Failure as error:
            raise Failure(f"gaga {' '.join(case.words)}, in a folder to read only: {error}") from error
        require(code == 1, "it ended well")
        return True


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """A file system in memory; needs root.

    Raises:
        PermissionError: it may not be mounted here.
    """
    at.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={_ROOM}m", "gaga-crash", str(at))
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(done.stderr.strip())


def _fails_well(
    run: Run, case: Case, folder: Path, how: str, prepare: Callable[[], None], ballast: Path | None = None
) -> bool:
    code, words = world.told(folder, case.words, prepare)
    if ballast:
        ballast.unlink()
    try:
        if code:
            _check_told(code, words)
            run.check_as_before_or_after(case, folder)
            _check_left(run, case, folder, words)
        run.check_again(case, folder)
    except (Failure, GagaError, OSError, KeyError, ValueError) as error:
        raise Failure(f"gaga {' '.join(case.words)}, with {how}: {error}") from error
    return code != 0


def _check_told(code: int, words: str) -> None:
    """Exit code 1, and one line: no confession of a bug, and no name that nobody typed."""
    lines = [line for line in words.splitlines() if line.startswith("gaga: ")]
    require(code == 1 and len(lines) == 1, f"it ended with {code} and said {words!r}")
    require(words.endswith(f"{lines[0]}\n"), f"it said more: {words!r}")
    require(not re.search("Traceback|this is a bug|gaga-tmp", words), f"it said {words!r}")


def _check_left(run: Run, case: Case, folder: Path, words: str) -> None:
    """New files are whole ones of an unfinished training run, or what the line says is kept."""
    new = world.files_of(folder).keys() - run.files.keys()
    kept = {name for name in new if ".unfinished" in name and "--resume" in words} | {
        f"runs/new/{name}" for name in ("model.safetensors", "state.safetensors", "metrics.jsonl")
    }
    whole = {name for name in new if name in run.wholes[case.name].files}
    require(new <= kept | whole, f"it left {sorted(new - kept - whole)} and said {words!r}")


WAYS: dict[str, Callable[[Run, Case, random.Random], bool]] = {
    "a limit of file sizes": size_limit,
    "errors of the system": system_error,
    "a full disk": full_disk,
    "a folder to read only": read_only,
}
