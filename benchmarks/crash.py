"""Break commands on purpose, many times, and see whether anything is lost: kills, failing disks, writers at once.

    python benchmarks/crash.py --kills 1000 --failures 400 --rounds 50
    python benchmarks/crash.py --kills 1 --from 137         kill number 137 of the first again, and its world is kept

Prints counts, by command and by moment. Ends with 1 at the first promise that was not kept, and says how to repeat it.
What a kill is followed by: crash_kills.py; a failure of the disk: crash_disks.py; writers: crash_writers.py. The world
that they break, and the commands: crash_world.py.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from crash_disks import WAYS
from crash_kills import Failure, Run
from crash_world import CASES, Case
from crash_writers import different_names, one_name

_WRITERS = 8


def main() -> int:
    """Parse, break, tell."""
    options = _parser().parse_args()
    cases = tuple(case for case in CASES if not options.command or case.name in options.command)
    folder = Path(tempfile.mkdtemp(prefix="gaga-crash-", dir=options.folder))
    try:
        if options.kills or options.failures:
            run = Run(folder, cases)
            _kill(run, options)
            _fail(run, options)
        if options.rounds:
            _write_at_once(folder / "writers", options.rounds)
    except Failure as error:
        print(f"FAILED, in {folder}: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Break commands on purpose; see whether anything is lost.")
    parser.add_argument("--kills", type=int, default=0, help="commands that are killed before they end")
    parser.add_argument("--failures", type=int, default=0, help="commands that the disk fails")
    parser.add_argument("--rounds", type=int, default=0, help=f"rounds of {_WRITERS} writers at once, of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first kill or failure")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop kills, and failures, after that")
    parser.add_argument("--folder", type=Path, help="where worlds are made; a temporary folder by default")
    parser.add_argument("--command", action="append", choices=[case.name for case in CASES], help="of these alone")
    return parser


def _attempts(options: argparse.Namespace, what: str) -> Iterator[tuple[int, Case, random.Random]]:
    """The number of each attempt, its command, its random numbers; without end, or until the time is up."""
    last = time.monotonic() + 60.0 * options.minutes
    for number in count(options.first):
        case = CASES[number % len(CASES)]
        if time.monotonic() > last:
            return
        if not options.command or case.name in options.command:
            yield number, case, random.Random(f"{options.seed}:{what}:{number}")


def _kill(run: Run, options: argparse.Namespace) -> None:
    """So many kills; a command that had ended before its kill does not count."""
    began, kills, moments, late = time.monotonic(), Counter[str](), Counter[str](), 0
    for number, case, rng in _attempts(options, "kill"):
        if kills.total() >= options.kills:
            break
        try:
            moment, code = run.kill(case, rng)
        except Failure as error:
            raise _repeatable(error, f"--kills 1 --from {number}", case, options) from error
        if code == -signal.SIGKILL:
            kills[case.name] += 1
            moments[moment] += 1
        else:
            late += 1
    _print("kills, by command", kills)
    _print("kills, by moment", moments)
    if options.kills:
        seconds = time.monotonic() - began
        print(f"{kills.total():,} kills in {seconds:.0f} s ({late} more had ended before theirs): nothing lost.\n")


def _fail(run: Run, options: argparse.Namespace) -> None:
    """So many commands on disks that fail them; a command that needed no more than there was does not count."""
    failures, ways, unfailed, missing = Counter[str](), list(WAYS), 0, set[str]()
    for number, case, rng in _attempts(options, "failure"):
        if failures.total() >= options.failures or len(missing) == len(ways):
            break
        way = ways[number // len(CASES) % len(ways)]
        if way in missing:
            continue
        try:
            failed = WAYS[way](run, case, rng)
        except PermissionError as error:
            print(f"Skipped: {way}, which may not be made here ({error}).")
            missing.add(way)
            continue
        except Failure as error:
            raise _repeatable(error, f"--failures 1 --from {number}", case, options) from error
        failures[way] += failed
        unfailed += not failed
    _print("failures, by way", failures)
    if options.failures:
        print(f"{failures.total():,} failures of the disk ({unfailed} more that did no harm): nothing lost.\n")


def _write_at_once(folder: Path, rounds: int) -> None:
    folder.mkdir()
    began = time.monotonic()
    there = different_names(folder, _WRITERS, rounds)
    print(f"{_WRITERS} writers, {rounds} rounds, {there} results: all there, all equal.")
    for replace in (False, True):
        told = one_name(folder, _WRITERS, rounds, replace=replace)
        counts = ", ".join(f"{number} {what}" for what, number in sorted(told.items()))
        print(
            f"{_WRITERS} writers of one name, {rounds} rounds{', replacing' if replace else ''}: {counts}; none mixed."
        )
    print(f"In {time.monotonic() - began:.0f} s.")


def _repeatable(error: Failure, words: str, case: Case, options: argparse.Namespace) -> Failure:
    return Failure(f"{error}\nRepeat it: python {sys.argv[0]} --seed {options.seed} {words} --command {case.name!r}")


def _print(title: str, counts: Counter[str]) -> None:
    if counts:
        print(f"\n{title}")
        for name, number in sorted(counts.items()):
            print(f"{number:>6}  {name}")


if __name__ == "__main__":
    sys.exit(main())
