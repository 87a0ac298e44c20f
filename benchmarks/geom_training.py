"""Training on a large prepared file: time to start, time of a step, the part of it that went to waiting, memory.

The network may be narrower than the preset's: its steps are quicker, and reading has less time. The memory of the data
is the peak of the process less the peak of one that takes as many steps on the first molecules of the same file.

    python benchmarks/geom_training.py geom.h5
    python benchmarks/geom_training.py geom.h5 --hidden 256 --steps 20
    python benchmarks/geom_training.py geom.h5 --preset large-geom --batch-edges 146000
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gaga import load_dataset
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.data.prepared import write_prepared
from gaga.models.training.recipe import Recipe, make_recipe
from gaga.models.training.trainer import Trainer
from gaga.stats.moments import estimate_moments

_FEW = 5_000  # molecules of the file that its memory is compared with


class Clock:
    """Seconds of one stage after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def stage(self, name: str) -> None:
        """A stage has ended."""
        now = time.monotonic()
        self.seconds[name], self._began = now - self._began, now


def measure(path: Path, recipe: Recipe, device: str) -> dict[str, float]:
    """Seconds of each stage and of a step, the part of the steps spent waiting, and this process's peak in MB."""
    clock = Clock()
    dataset = load_dataset(path)
    clock.stage("read")
    space = FeatureSpace(
        dataset.vocabulary, recipe.factors, include_charges=recipe.include_charges,
        centred_features=recipe.centred_features,
    )  # fmt: skip
    moments = estimate_moments(dataset.molecules.select(np.sort(dataset.splits["train"])), space)
    clock.stage("moments")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(dataset, recipe, moments, Path(folder), device=device)
        clock.stage("trainer")
        at_steps = peak_mb()
        trainer.run(should_stop=lambda: trainer.counters.step >= (recipe.steps or 0) - 1)  # before it draws molecules
    window = trainer.history.window
    return clock.seconds | {
        "step": window.seconds / trainer.counters.step,
        "waits": window.waited / window.seconds,
        "molecules": len(dataset),
        "streamed": float(trainer.train_set.readers > 1),
        "before_steps_mb": at_steps,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def first_of(path: Path, out: Path) -> int:
    """Write the file's first molecules as a file of their own; how many molecules the whole has."""
    dataset = load_dataset(path)
    kept = np.arange(min(_FEW, len(dataset)))
    splits = {name: members[members < len(kept)] for name, members in dataset.splits.items()}
    few = Dataset(
        name="few", molecules=dataset.molecules.take(kept), ids=dataset.ids[: len(kept)], splits=splits,
        vocabulary=dataset.vocabulary,
    )  # fmt: skip
    write_prepared(few, out)
    return len(dataset)


def apart(path: Path, words: list[str]) -> dict[str, float]:
    """`measure` in a process of its own."""
    ran = subprocess.run(
        [sys.executable, __file__, str(path), *words, "--alone"], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The preset, so many steps of it, with nothing measured on the way."""
    changes = {"hidden": options.hidden, "batch_size": options.batch_size, "batch_edges": options.batch_edges}
    never = options.steps + 2
    changes |= {"steps": options.steps + 1, "validate_every": never, "sample_every": 0, "save_every_s": 1e6}
    return make_recipe(options.preset, **changes)


def main() -> None:
    """The stages and the steps of the whole file, and its memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a prepared file")
    parser.add_argument("--preset", default="edm-geom")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--batch-edges", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.path, recipe_of(options), options.device)))
        return
    with tempfile.TemporaryDirectory() as folder:
        n = first_of(options.path, Path(folder) / "few.h5")
        few, whole = (apart(path, sys.argv[2:]) for path in (Path(folder) / "few.h5", options.path))
    how = "streamed" if whole["streamed"] else "in memory"
    print(f"{n:,} molecules, {how}; {options.steps} steps of {options.preset}, {options.hidden} features")
    print(f"start: read {whole['read']:.1f} s, moments {whole['moments']:.1f} s, trainer {whole['trainer']:.1f} s")
    print(f"step {1e3 * whole['step']:.0f} ms, of which {whole['waits']:.2%} waiting for data")
    print(f"peak {whole['peak_mb']:.0f} MB, {whole['before_steps_mb']:.0f} MB of it before the first step")
    print(
        f"the first {few['molecules']:,} alone: {few['peak_mb']:.0f} MB, {few['before_steps_mb']:.0f} MB of it before"
    )


if __name__ == "__main__":
    main()
