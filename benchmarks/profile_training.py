"""Where a training step on a CUDA device goes: time of whole steps as `gaga train` takes them, and their kernels.

    python benchmarks/profile_training.py qm9.h5 --batch-size 256 1024

Steps run as in training, recorded and replayed, fed by the thread that makes batches. `wall` is what a step takes then;
`device` what the same recorded steps take one behind the other on a batch that is there already. Kernels are summed by
name, microseconds a step, the largest first.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from gaga import load_dataset
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.models.training.recipe import make_recipe
from gaga.models.training.step import Prefetch
from gaga.models.training.trainer import Trainer
from gaga.noise import Moments
from gaga.stats.moments import estimate_moments

_WARM, _TIMED, _PROFILED = 12, 60, 4


def measure(dataset: Dataset, moments: Moments, options: argparse.Namespace, batch_size: int) -> None:
    """Print times and kernels of steps with so many molecules."""
    recipe = make_recipe(options.preset, batch_size=batch_size, precision=options.precision, sample_every=0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(dataset, recipe, moments, Path(folder), device="cuda", kernel=options.kernel)
        stepper, feed = trainer.stepper, Prefetch(trainer.stepper, 0)
        began = 0.0
        for number, (step, _, batch) in enumerate(feed):
            if number == _WARM:
                torch.cuda.synchronize()
                began = time.monotonic()
            stepper(batch, step, 1e-5, 0.99)
            if number == _WARM + _TIMED - 1:
                break
        torch.cuda.synchronize()
        wall = (time.monotonic() - began) / _TIMED
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(_TIMED):
            stepper._replay()
        end.record()
        torch.cuda.synchronize()
        device = start.elapsed_time(end) / _TIMED
        feed.close()
        print(
            f"\n## {options.preset}, {batch_size} molecules, {trainer.network.kernel}, {options.precision}: "
            f"wall {wall * 1e3:.2f} ms, device {device:.2f} ms, {batch_size / wall:,.0f} molecules/s"
        )
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            for _ in range(_PROFILED):
                stepper._replay()
            torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in found.events():
        spent[event.name] += event.device_time
        calls[event.name] += 1
    print(f"{sum(calls.values()) // _PROFILED} kernels a step, {sum(spent.values()) / _PROFILED / 1e3:.2f} ms of them")
    for name, microseconds in spent.most_common(options.top):
        n = calls[name] / _PROFILED
        print(f"{microseconds / _PROFILED:8.0f} us  {n:6.0f} x {microseconds / _PROFILED / n:7.1f}  {name[:110]}")


def main() -> None:
    """Each batch size in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a prepared file")
    parser.add_argument("--preset", default="large")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--kernel", default="triton")
    parser.add_argument("--top", type=int, default=25)
    options = parser.parse_args()
    dataset, recipe = load_dataset(options.path), make_recipe(options.preset)
    space = FeatureSpace(
        dataset.vocabulary, recipe.factors, include_charges=recipe.include_charges,
        centred_features=recipe.centred_features,
    )  # fmt: skip
    moments = estimate_moments(dataset.molecules.select(np.sort(dataset.splits["train"])), space)
    for batch_size in options.batch_size:
        measure(dataset, moments, options, batch_size)


if __name__ == "__main__":
    main()
