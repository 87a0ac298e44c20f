"""Peak memory of `gaga variance`, `gaussianity` and `evaluate` by the number of molecules, each in its own process.

The molecules are QM9's first ones, in a prepared file for the statistics and in an SDF file for the evaluation. Peaks
are what the operating system says of the largest of the command's processes (`ru_maxrss`), in MB of 2^20 bytes.

    python benchmarks/memory.py 10000 130000
    python benchmarks/memory.py 10000 130000 --commands variance evaluate
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gaga import load_dataset
from gaga.chem.io import Record, open_writer
from gaga.data.dataset import Dataset
from gaga.data.prepared import write_prepared

COMMANDS = {
    "variance": ("variance", "--dataset", "first.h5"),
    "gaussianity": ("gaussianity", "--dataset", "first.h5", "--device", "cpu", "--n-null", "1000"),
    "evaluate": ("evaluate", "first.sdf"),
    "evaluate strict": ("evaluate", "first.sdf", "--protocol", "strict"),
}
# The smallest of interpreters that starts the command, waits, and says what its largest process took, in kB.
_MEASURE = """
import os, sys
pid = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def first_of(dataset: Dataset, n: int) -> Dataset:
    """The first n molecules."""
    kept = np.arange(n)
    return Dataset(
        name="first",
        molecules=dataset.molecules.take(kept),
        ids=dataset.ids[:n],
        splits={name: members[members < n] for name, members in dataset.splits.items()},
        vocabulary=dataset.vocabulary,
    )


def write_files(n: int, folder: Path, sdf: bool) -> None:
    """The files that the commands read."""
    dataset = first_of(load_dataset("qm9"), n)
    write_prepared(dataset, folder / "first.h5")
    if sdf:
        with open_writer(folder / "first.sdf") as writer:
            for numbers, positions in dataset.molecules:
                writer.write(Record(numbers, positions))


def peak_mb(words: tuple[str, ...], folder: Path, threads: int) -> tuple[float, float]:
    """Peak memory in MB, and seconds."""
    command = [sys.executable, "-m", "gaga", *words, "--threads", str(threads), "--store", "s.h5"]
    began = time.monotonic()
    ran = subprocess.run([sys.executable, "-S", "-c", _MEASURE, *command], cwd=folder, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return int(ran.stdout.splitlines()[-1]) / 1024, time.monotonic() - began


def main() -> None:
    """One line for each command and number of molecules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, nargs="+", help="molecules")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timesteps", default="50:1000:50", help="of gaussianity")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found: dict[str, list[float]] = {}
    for n in options.n:
        with tempfile.TemporaryDirectory() as name:
            write_files(n, Path(name), sdf=any(command.startswith("evaluate") for command in options.commands))
            for command in options.commands:
                words = COMMANDS[command]
                if command == "gaussianity":
                    words = (*words, "--timesteps", options.timesteps)
                peak, seconds = peak_mb(words, Path(name), options.threads)
                found.setdefault(command, []).append(peak)
                print(f"{command:<16} {n:>9,} molecules  {peak:6.0f} MB  {seconds:6.0f} s", flush=True)
    for command, peaks in found.items():
        print(f"{command:<16} grows by {peaks[-1] - peaks[0]:.0f} MB from {options.n[0]:,} to {options.n[-1]:,}")


if __name__ == "__main__":
    main()
