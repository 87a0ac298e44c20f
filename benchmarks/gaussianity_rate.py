"""Rate of the published per-molecule test: QM9 molecules a second, 11 steps, all blocks, all pairs, noising included.

python benchmarks/gaussianity_rate.py [molecules] [threads]
"""

import sys
import time

import numpy as np

from gaga.data import load_dataset
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats.gaussianity import GaussianityConfig, _test_plan
from gaga.stats.groups import deal
from gaga.stats.moments import estimate_moments
from gaga.stats.reference import run_test
from gaga.stats.states import DataStates

STEPS = tuple(range(50, 1001, 95))


def main() -> None:
    """Print the rate, best and median of five."""
    n, threads = (int(word) for word in [*sys.argv[1:], *("4000", "2")[len(sys.argv) - 1 :]])
    molecules = load_dataset("qm9").molecules.take(np.random.default_rng(0).permutation(130831)[:n])
    space, schedule = FeatureSpace((1, 6, 7, 8, 9)), make_schedule()
    moments = estimate_moments(molecules, space)
    plan = _test_plan(molecules, space, schedule, GaussianityConfig(timesteps=STEPS))
    resampling = deal(n, 10, np.random.default_rng(0))
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        states = DataStates(molecules, space, schedule, moments.centred, 0)
        run_test(states, plan, resampling, lambda more: None, threads)
        rates.append(n / (time.perf_counter() - start))
    print(f"{len(STEPS)} steps, {threads} threads: {max(rates):.0f} molecules/s at best, median {np.median(rates):.0f}")


if __name__ == "__main__":
    main()
