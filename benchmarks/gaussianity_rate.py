"""Rate of the statistics of `gaga gaussianity`: QM9 molecules a second, 11 steps, noising included.

The published per-molecule test of all blocks and pairs, and D_t to all reference Gaussians, one beside the other.

python benchmarks/gaussianity_rate.py [molecules] [threads] [--device cpu|torch-cpu|cuda]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from gaga.data import load_dataset
from gaga.data.features import FeatureSpace
from gaga.noise import REFERENCE_KINDS, ReferenceGaussian, make_schedule
from gaga.stats.config import GaussianityConfig
from gaga.stats.curves import DistancePlan
from gaga.stats.engine import engine_on
from gaga.stats.gaussianity import _test_plan
from gaga.stats.groups import deal
from gaga.stats.moments import estimate_moments
from gaga.stats.states import DataStates

STEPS = tuple(range(50, 1001, 95))
REPEATS = 5


def main() -> None:
    """Print both rates, best and median of five."""
    asked = arguments()
    data = load_dataset(asked.dataset)
    n = min(asked.molecules, len(data.molecules))
    molecules = data.molecules.take(np.random.default_rng(0).permutation(len(data.molecules))[:n])
    space, schedule = FeatureSpace(data.vocabulary), make_schedule()
    moments = estimate_moments(molecules, space)
    plan = _test_plan(molecules, space, schedule, GaussianityConfig(timesteps=STEPS))
    resampling = deal(n, 200, np.random.default_rng(0))
    distances = DistancePlan(
        schedule=schedule,
        timesteps=plan.timesteps,
        blocks=plan.blocks,
        references=tuple(ReferenceGaussian(kind, moments) for kind in REFERENCE_KINDS),
        resampling=resampling,
        level=0.95,
    )
    states = DataStates(molecules, space, schedule, moments.centred, 0)
    device = {"cpu": None, "torch-cpu": "cpu"}.get(asked.device, asked.device)
    engine = engine_on(device, asked.threads)
    where = f"{asked.threads} threads" if device is None else named(device, asked.threads)
    print(f"{n} molecules of {data.name}, {len(STEPS)} steps, {where}")
    report("per-molecule test", n, lambda: engine.run_test(states, plan, resampling, lambda more: None))
    report("D_t, six references", n, lambda: engine.distance_curves(states, distances, lambda more: None))


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecules", type=int, nargs="?", default=4000)
    parser.add_argument("threads", type=int, nargs="?", default=2, help="of numpy, or of torch on the CPU")
    parser.add_argument("--device", default="cpu", help="cpu: numpy; torch-cpu: the code for devices; cuda")
    parser.add_argument("--dataset", default="qm9", help="qm9, or a prepared file")
    return parser.parse_args()


def named(device: str, threads: int) -> str:
    """The device as torch calls it; torch is held to so many threads."""
    import torch

    torch.set_num_threads(threads)
    return f"torch {torch.__version__} on {torch.cuda.get_device_name(device) if device != 'cpu' else 'the CPU'}"


def report(what: str, n: int, work: Callable[[], object]) -> None:
    """Time the work after a first run, which leaves memory and tables to later ones."""
    work()
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        rates.append(n / (time.perf_counter() - start))
    print(f"{what}: {max(rates):.0f} molecules/s at best, median {np.median(rates):.0f}{peak()}")


def peak() -> str:
    """The most that torch has had on a CUDA device."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    return f", peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"


if __name__ == "__main__":
    main()
