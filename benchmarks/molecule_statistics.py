"""Level and power of the statistics that see molecules (`gaga.stats.effects`), and their effects on a data set.

    python benchmarks/molecule_statistics.py level                   # Gaussians: 5 % of the tests reject
    python benchmarks/molecule_statistics.py alternatives            # which statistic catches what
    python benchmarks/molecule_statistics.py power                   # QM9's molecules of 18 atoms, by step
    python benchmarks/molecule_statistics.py effects                 # all of QM9, by number of atoms
    python benchmarks/molecule_statistics.py effects --dataset examples/mosesaq_xtb_1000.sdf.gz \
        --timesteps 400,550,650,700,800,850,900,950

Level and power are shares of independent samples whose p-value is 0.05 or less, with Wilson's 95 % interval. A null of
99 draws has an error of its own, 2 % in the level, so that twenty samples share one and the next twenty another.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.core.statistics import wilson_interval
from gaga.data import load_dataset
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats.effects import Measuring, molecule_effects, p_values
from gaga.stats.groups import deal
from gaga.stats.states import DataStates
from gaga.stats.tolerance import tolerance_table
from gaga.storage.partial import NO_PARTIALS

SCHEDULE = make_schedule()
CARBON_AND_HYDROGEN = FeatureSpace((1, 6))
ALTERNATIVES = ("scale mixture", "ellipsoids", "hard cores", "coupling")
PER_NULL = 20


def drawn(alternative: str, m: int, n: int, seed: int) -> PackedMolecules:
    """m molecules of n atoms that differ from Gaussians in one respect, in none for another word."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, n, 3))
    types = np.full((m, n), 6)
    if alternative == "scale mixture":
        x *= np.sqrt(rng.gamma(2.0, 0.5, size=(m, 1, 1)))
    elif alternative == "ellipsoids":
        x *= np.exp(0.5 * rng.normal(size=(m, 1, 3)))
        x /= np.sqrt(np.square(x).mean(axis=(1, 2), keepdims=True))
    elif alternative == "hard cores":
        for _ in range(40):  # atoms nearer than 0.6 are drawn anew
            distances = np.linalg.norm(x[:, :, None] - x[:, None], axis=3) + 9 * np.eye(n)
            near = np.tril(distances < 0.6).any(axis=2)
            x[near] = rng.normal(size=(near.sum(), 3))
    elif alternative == "coupling":  # hydrogens are rather outside
        radius = np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=2) + rng.normal(size=(m, n))
        types = np.where(radius > np.median(radius, axis=1, keepdims=True), 1, 6)
    numbers = types.reshape(-1).astype(np.uint8)
    return PackedMolecules(x.reshape(-1, 3).astype(np.float32), numbers, offsets_of([n] * m))


def mixed(m: int, seed: int) -> PackedMolecules:
    """Gaussians of 5 to 12 atoms, the variance of each size its own."""
    rng = np.random.default_rng(seed)
    sizes = rng.permutation(np.arange(m) % 8 + 5)
    x = rng.normal(size=(sizes.sum(), 3)) * np.sqrt(np.repeat(sizes, sizes))[:, None]
    return PackedMolecules(x.astype(np.float32), np.full(len(x), 6, np.uint8), offsets_of(sizes))


def measuring(molecules: PackedMolecules, space: FeatureSpace, seed: int) -> Measuring:
    """What measures these molecules."""
    states = DataStates(molecules, space, SCHEDULE, np.ones(space.columns, dtype=bool), seed)
    return Measuring(states, deal(len(molecules), 2, np.random.default_rng(seed)), 0.95, 1, lambda more: None)


def p_of(
    samples: Iterator[PackedMolecules], space: FeatureSpace, steps: tuple[int, ...]
) -> Float64[np.ndarray, "R S Q"]:
    """p-values of each of R samples of equal sizes at each step."""
    found, null = [], np.zeros(0)
    for seed, molecules in enumerate(samples):
        each = measuring(molecules, space, seed)
        if seed % PER_NULL == 0:
            null = measuring(molecules, space, 1_000_000 + seed).null(NO_PARTIALS)["pooled"]
        found.append(p_values(np.stack([each.at(t)["effect"] for t in steps]), null))
    return np.stack(found)


def rates(p: Float64[np.ndarray, "R Q"]) -> str:
    """The share that rejects at 5 %, with its interval, of each statistic."""
    rejected = (p <= 0.05).sum(axis=0)
    cells = []
    for count in rejected.tolist():
        low, high = wilson_interval(count, len(p))
        cells.append(f"{count / len(p):.3f} ({low:.3f}-{high:.3f})")
    return " | ".join(cells)


def level(asked: argparse.Namespace) -> None:
    """Gaussians of one element at a step at which they are not pure noise."""
    for n in (5, 9, 18, 29):
        for m in (50, 1000):
            samples = (drawn("none", m, n, seed) for seed in range(asked.samples))
            print(f"| {n} | {m} | {rates(p_of(samples, CARBON_AND_HYDROGEN, (400,))[:, 0])} |", flush=True)
    samples = (mixed(200, seed) for seed in range(asked.samples))
    print(f"| 5 to 12 | 200 | {rates(p_of(samples, CARBON_AND_HYDROGEN, (400,))[:, 0])} |", flush=True)
    # More than the null draws, which is scaled then.
    samples = (drawn("none", 4000, 12, seed) for seed in range(asked.samples))
    print(f"| 12 | 4000 | {rates(p_of(samples, CARBON_AND_HYDROGEN, (400,))[:, 0])} |", flush=True)


def alternatives(asked: argparse.Namespace) -> None:
    """200 molecules of 12 atoms."""
    for alternative in ALTERNATIVES:
        samples = (drawn(alternative, 200, 12, seed) for seed in range(asked.samples))
        print(f"| {alternative} | {rates(p_of(samples, CARBON_AND_HYDROGEN, (50,))[:, 0])} |", flush=True)


def power(asked: argparse.Namespace) -> None:
    """Random molecules of 18 atoms from QM9."""
    data = load_dataset("qm9")
    these = np.flatnonzero(data.molecules.n_atoms == 18)
    space, rng = FeatureSpace(data.vocabulary), np.random.default_rng(0)
    for m, steps in ((100, (300, 500, 550, 600, 700, 800)), (1000, (500, 600, 650, 700, 750, 800, 850))):
        samples = (data.molecules.take(rng.choice(these, m, replace=False)) for _ in range(asked.samples))
        p = p_of(samples, space, steps)
        for s, t in enumerate(steps):
            print(f"| {m} | {t} | {rates(p[:, s])} |", flush=True)


def effects(asked: argparse.Namespace) -> None:
    """Effects with intervals over all sizes, the largest gyration share by size, and T* by tolerance."""
    data = load_dataset(asked.dataset)
    steps = tuple(int(t) for t in asked.timesteps.split(","))
    wall, cpu = time.perf_counter(), time.process_time()
    space = FeatureSpace(data.vocabulary)
    found = molecule_effects(data.molecules, space, SCHEDULE, steps, seed=0, threads=asked.threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{found.n_molecules:,} molecules, {len(steps)} steps: {wall:.0f} s, {cpu:.0f} s of CPU time")
    print("| t | " + " | ".join(found.statistics) + " |")
    for s, t in enumerate(steps):
        rows = zip(found.effect[s], found.high[s], found.p[s], strict=True)
        cells = [f"{effect:.4f} ± {high - effect:.4f} (p {p:.2f})" for effect, high, p in rows]
        print(f"| {t} | " + " | ".join(cells) + " |")
    print("| null | " + " | ".join(f"{limit:.4f}" for limit in found.null_limit) + " |")
    for z, n in enumerate(found.sizes):
        for q, name in enumerate(found.statistics):
            ends = zip(found.effect_by_size[:, z, q], found.high_by_size[:, z, q], strict=True)
            row = " | ".join(f"{effect:.3f} ± {high - effect:.3f}" for effect, high in ends)
            limit = found.null_limit_by_size[z, q]
            print(f"| N = {n}, {found.counts[z]} molecules | {name} | {row} | null {limit:.3f} |")
    table = tolerance_table(found, np.array(steps))
    for e, t in enumerate(table.tstar):
        print(f"tolerance {table.tolerances[e, 0]:g}: T* = {t}, decided by {table.decided_by[e]}")


def main() -> None:
    """Print rows of Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = {"level": level, "alternatives": alternatives, "power": power, "effects": effects}
    parser.add_argument("work", choices=works)
    parser.add_argument("--samples", type=int, default=400, help="of level, alternatives and power")
    parser.add_argument("--dataset", default="qm9")
    parser.add_argument("--timesteps", default=",".join(map(str, range(50, 1001, 50))))
    parser.add_argument("--threads", type=int, default=2, help="of effects")
    asked = parser.parse_args()
    works[asked.work](asked)


if __name__ == "__main__":
    main()
