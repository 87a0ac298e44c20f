"""A run of `gaga sample` that is killed again and again, held against one that nobody touched.

Each time the process is sent a signal at a random number of molecules further on; then the same command with --resume
goes on. In the end the output must have every molecule once, in the order of the seeds' numbers, and be byte for byte
that of the other run, as must the result in the store. The signals are SIGKILL, SIGTERM and SIGINT in turn with
`--signals all`.

    python benchmarks/kill_sampling.py 10000 --kills 10
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gaga import Store
from gaga.chem.io import Record, read_molecules

CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
DRAW = (
    "--checkpoint",
    "qm9_small",
    "--method",
    "ddpm",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--store",
    "s.h5",
    "--out",
    "mols.sdf",
)


def command(options: argparse.Namespace, *words: str) -> list[str]:
    """The words that draw all molecules."""
    how = ("--stride", str(options.stride), "--batch-size", str(options.batch_size))
    return [sys.executable, "-m", "gaga", "sample", "--n", str(options.n), *DRAW, *how, *words]


def run_through(options: argparse.Namespace, folder: Path, *words: str) -> None:
    """Draw to the end."""
    subprocess.run(command(options, *words), cwd=folder, check=True, stdout=subprocess.DEVNULL)


def kill_once(options: argparse.Namespace, folder: Path, number: signal.Signals, size: int, *words: str) -> bool:
    """Send the signal when the unfinished molecules take so many bytes; whether the run was still going."""
    spool = folder / ".mols.sdf.unfinished"
    process = subprocess.Popen(
        command(options, *words), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (spool.exists() and spool.stat().st_size >= size):
        time.sleep(0.002)
    process.send_signal(number)
    code = process.wait()
    if code not in (0, CODES[number]):
        raise SystemExit(f"killed by {number.name}, it ended with {code}")
    return code != 0


def kill_all(options: argparse.Namespace, folder: Path, size: int) -> int:
    """Kill the run so many times on its way to this size; how many times that came in time."""
    spool, chosen = folder / ".mols.sdf.unfinished", random.Random(options.seed)
    numbers = list(CODES) if options.signals == "all" else [signal.SIGKILL]
    kills = 0
    while kills < options.kills:
        there = spool.stat().st_size if spool.exists() else 0
        further = (size - there) / (options.kills - kills + 1) * chosen.uniform(0.2, 1.4)
        words = ("--resume",) if spool.exists() else ()
        if not kill_once(options, folder, numbers[kills % len(numbers)], there + int(further), *words):
            break
        kills += 1
        print(f"kill {kills}: {spool.stat().st_size if spool.exists() else 0:,} bytes were there", flush=True)
    return kills


def check(n: int, killed: Path, whole: Path) -> list[str]:
    """What is wrong with the output of the run that was killed; nothing, if all is well."""
    wrong = []
    molecules = [record for record in read_molecules(killed / "mols.sdf") if isinstance(record, Record)]
    if [int(str(m.properties["gaga_index"])) for m in molecules] != list(range(n)):
        wrong.append("the molecules are not all there in their order")
    if len({m.positions.tobytes() for m in molecules}) != n:
        wrong.append("molecules are there twice")
    if (killed / "mols.sdf").read_bytes() != (whole / "mols.sdf").read_bytes():
        wrong.append("the file differs from that of a run that nobody touched")
    ours, theirs = (Store(folder / "s.h5", shipped=False).arrays("sample", "mols") for folder in (killed, whole))
    if ours.keys() != theirs.keys() or not all(
        np.array_equal(ours[k], theirs[k], equal_nan=_is_float(ours[k])) for k in ours
    ):
        wrong.append("the result in the store differs from that of a run that nobody touched")
    if {path.name for path in killed.iterdir()} != {path.name for path in whole.iterdir()}:
        wrong.append(f"files were left behind: {sorted(path.name for path in killed.iterdir())}")
    return wrong


def _is_float(value: object) -> bool:
    return np.asarray(value).dtype.kind == "f"


def main() -> int:
    """Draw, kill, compare; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, help="molecules")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--signals", choices=("kill", "all"), default="kill")
    parser.add_argument("--stride", type=int, default=50, help="of the sampler's steps")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs, and theirs, ignore
    with tempfile.TemporaryDirectory() as name:
        killed, whole = Path(name) / "killed", Path(name) / "whole"
        killed.mkdir()
        whole.mkdir()
        began = time.monotonic()
        run_through(options, whole)
        untouched = time.monotonic() - began
        kills = kill_all(options, killed, (whole / "mols.sdf").stat().st_size)
        run_through(options, killed, "--resume")
        wrong = check(options.n, killed, whole)
        seconds = time.monotonic() - began - untouched
    print(
        f"{options.n:,} molecules, {kills} kills, {len(wrong)} failures; {seconds:.0f} s, {untouched:.0f} s untouched"
    )
    for line in wrong:
        print(line)
    return 1 if wrong or kills < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
