"""How far the same seeds' molecules lie apart when they are drawn in batches of other sizes, or by other threads.

    python benchmarks/same_molecules.py 1000

Draws with `qm9_small`, by the defaults of `gaga sample` on a CPU, and compares the ways, atom by atom.
"""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from gaga.chem.io import Record, read_molecules

WAYS = {
    "batches as the device likes, 1 thread": ("--threads", "1"),
    "batches of 1, 1 thread": ("--threads", "1", "--batch-size", "1"),
    "batches of 7, 1 thread": ("--threads", "1", "--batch-size", "7"),
    "batches of 64, 2 threads": ("--threads", "2", "--batch-size", "64"),
}


def drawn(folder: Path, name: str, n: int, seed: int, words: tuple[str, ...]) -> list[Record]:
    """n molecules by one way."""
    out = folder / f"{name}.xyz"
    command = [
        "sample",
        "--checkpoint",
        "qm9_small",
        "--n",
        str(n),
        "--seed",
        str(seed),
        "--device",
        "cpu",
        "--out",
        str(out),
    ]
    store = ["--store", str(folder / "s.h5")]
    # a thread count is for this process, whatever the caller's
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    with contextlib.chdir(folder):
        subprocess.run(
            [sys.executable, "-m", "gaga", *command, *store, *words],
            check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return [molecule for molecule in read_molecules(out) if isinstance(molecule, Record)]


def main() -> None:
    """Draw, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            way: drawn(Path(folder), str(i), options.n, options.seed, words)
            for i, (way, words) in enumerate(WAYS.items())
        }
    print(f"{options.n} molecules, seed {options.seed}")
    for (one, first), (other, second) in itertools.combinations(runs.items(), 2):
        pairs = list(zip(first, second, strict=True))
        same = [(a, b) for a, b in pairs if np.array_equal(a.atomic_numbers, b.atomic_numbers)]
        apart = np.array([np.abs(a.positions - b.positions).max() for a, b in same])
        print(
            f"{one} / {other}: {len(pairs) - len(same)} of other elements; largest distance of a coordinate "
            f"{apart.max():.1e} Å, of 99 % of molecules {np.quantile(apart, 0.99):.1e}, median {np.median(apart):.1e}"
        )


if __name__ == "__main__":
    main()
