"""Kill commands at random moments and see whether anything that was there before is lost, changed or half written.

Each kill: a fresh copy of a small world (a store of results, their outputs), one command in a process of its own,
SIGKILL after a random time or at a chosen point of the writing (Point). Then: the store opens; every entry that the
command is not about is as it was, to the last attribute, and the others are as before or as after; so is every file.
Then the same command once more, with --resume where something was left to go on with: it ends well, with the results
of one that was never killed, and no file is left that it does not leave too.

The moment is chosen by the seed and the number of the kill.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crash_world as world
from crash_world import ANY_WRITER, STORE, Case

from gaga.core.errors import GagaError
from gaga.storage import hdf5, locks

_CHOSEN = 0.5  # share of kills at a chosen point
_PATIENCE = 60.0  # seconds that the command after a kill may take: far less than a lock is waited for


@dataclass(frozen=True)
class Point:
    """A moment of the writing: the n-th call of a function, before or after it did its work."""

    name: str
    owner: Any
    function: str
    after: bool
    most: int

    def arm(self, n: int, act: Callable[[], None]) -> None:
        """Let something happen there."""
        original: Callable[..., Any] = getattr(self.owner, self.function)
        calls = [0]

        def act_in_time(*words: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] == n and not self.after:
                act()
            answer = original(*words, **named)
            if calls[0] == n and self.after:
                act()
            return answer

        setattr(self.owner, self.function, act_in_time)


def die() -> None:
    """As `kill -9` lets it."""
    os.kill(os.getpid(), signal.SIGKILL)


POINTS = (
    Point("between a new file and its flush", os, "fsync", after=False, most=2),
    Point("between a new file and its publication", Path, "replace", after=False, most=2),
    Point("right after a publication", Path, "replace", after=True, most=2),
    Point("with a lock in hand", locks, "_sign", after=True, most=1),
    Point("at a lock's release", locks, "_release", after=False, most=1),
    Point("amid the writing of HDF5", hdf5._PatientFile, "write", after=True, most=60),
    Point("at a new temporary file", tempfile, "mkstemp", after=True, most=2),
)


@dataclass(frozen=True)
class Whole:
    """What a command leaves that nobody kills, and the seconds it takes."""

    files: dict[str, str]
    entries: dict[str, tuple[str, str]]
    seconds: float


class Failure(Exception):
    """A promise that was not kept."""


def require(condition: bool, what: str) -> None:
    """Stop where a promise was not kept."""
    if not condition:
        raise Failure(what)


class Run:
    """Kills in worlds below a folder."""

    def __init__(self, folder: Path, cases: tuple[Case, ...]) -> None:
        self.before_folder, self.folder, self.cases = folder / "before", folder / "world", cases
        world.build(self.before_folder, cases)
        self.files = world.files_of(self.before_folder)
        self.entries = world.entries_of(self.before_folder / STORE)
        self.wholes = {case.name: self._whole(case) for case in cases}

    def _whole(self, case: Case) -> Whole:
        folder = world.copy(self.before_folder, self.folder)
        code, seconds = world.timed(folder, case.words)
        require(code == 0, f"{case.name} ends with {code} where nobody kills it; see {folder}.log")
        return Whole(world.files_of(folder), world.entries_of(folder / STORE), seconds)

    def kill(self, case: Case, rng: random.Random) -> tuple[str, int]:
        """One kill with all that is looked at after it: the moment, and how the command ended."""
        folder = world.copy(self.before_folder, self.folder)
        moment, code = self._killed(case, folder, rng)
        try:
            self.check_as_before_or_after(case, folder)
            self.check_again(case, folder)
        except (Failure, GagaError, OSError, KeyError, ValueError) as error:
            raise Failure(f"gaga {' '.join(case.words)}, killed {moment}: {error}") from error
        return moment.partition(" (")[0], code

    def _killed(self, case: Case, folder: Path, rng: random.Random) -> tuple[str, int]:
        """The moment in words, and how the command ended."""
        if rng.random() < _CHOSEN:
            point = rng.choice(POINTS)
            n = rng.randint(1, point.most)
            return f"{point.name} (number {n})", world.ended(
                world.forked(folder, case.words, lambda: point.arm(n, die))
            )
        seconds = rng.uniform(0.0, self.wholes[case.name].seconds)
        process = world.forked(folder, case.words)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        return f"after a random time ({seconds:.3f} s)", world.ended(process)

    def check_as_before_or_after(self, case: Case, folder: Path) -> None:
        whole, entries, files = self.wholes[case.name], world.entries_of(folder / STORE), world.files_of(folder)
        for key in self.entries.keys() | whole.entries.keys() | entries.keys():
            before, after, now = (them.get(key) for them in (self.entries, whole.entries, entries))
            as_after = before != after and now is not None and after is not None and now[1] == after[1]
            require(now in (before, after) or as_after, f"{key} is neither as before nor as after")
        for name in (self.files.keys() | whole.files.keys()) - _unfinished(case):
            possible_files = (self.files.get(name), whole.files.get(name))
            require(files.get(name) in possible_files, f"the file {name} is neither as before nor as after")

    def check_again(self, case: Case, folder: Path) -> None:
        resumes = case.resumes and any(folder.glob(".*.unfinished*")) | (folder / "runs/new/state.safetensors").exists()
        words = (*case.words, "--resume") if resumes else case.words
        code, seconds = world.timed(folder, words)
        require(code == 0 or (case.gone and code == 1), f"the command after it ended with {code}; see {folder}.log")
        require(seconds < _PATIENCE, f"the command after it took {seconds:.0f} s")
        whole, entries = self.wholes[case.name], world.entries_of(folder / STORE)
        require(entries.keys() == whole.entries.keys(), f"entries {sorted(entries.keys() ^ whole.entries.keys())}")
        for key, found in entries.items():
            require(found[1] == whole.entries[key][1], f"{key} differs from one that was never killed")
        left = self._odd(case, folder)
        if left and all(world.is_left_behind(Path(name)) for name in left):
            self._write_anew(case, folder)
            left = self._odd(case, folder)
        require(not left, f"files that a run that was never killed does not leave, or not so: {left}")

    def _odd(self, case: Case, folder: Path) -> list[str]:
        """Files that are not as one that was never killed leaves them."""
        now, whole = world.files_of(folder), self.wholes[case.name].files
        return sorted(name for name in now.keys() | whole.keys() if now.get(name) != whole.get(name))

    def _write_anew(self, case: Case, folder: Path) -> None:
        """What found all done and wrote nothing may leave what lay there; the next that writes there may not."""
        for words in (ANY_WRITER, *([(*case.words, *case.anew)] if case.anew else [])):
            code = world.ended(world.forked(folder, words))
            require(code == 0, f"gaga {' '.join(words)} ended with {code}; see {folder}.log")


def _unfinished(case: Case) -> set[str]:
    """Files of a training run, whole at every moment (files_of reads them) but those of an earlier step; a run that
    starts over has no former states at first."""
    name = case.words[case.words.index("--name") + 1] if case.words[0] == "train" else ""
    states = ("state.safetensors", "state.1.safetensors", "state.2.safetensors")
    files = ("model.safetensors", "best.safetensors", *states, "metrics.jsonl")
    return {f"runs/{name}/{file}" for file in files}
