"""A prepared set of the size of GEOM-Drugs, written through gaga's streaming writer; prints time, peak memory and size.

Sizes are drawn from GEOM-Drugs' own (they ship with gaga). A molecule is made of the 1,000 drug-like ones of
`examples/mosesaq_xtb_1000.sdf.gz`, whole or side by side up to its size, with a few atoms of GEOM's rarer elements; its
conformers are jittered by 0.1 Å in each direction and turned at random. Nothing of it means anything to a chemist: it
is for times and memory.

    python benchmarks/synthetic_geom.py --out geom1m.h5
    python benchmarks/synthetic_geom.py --out geom100k.h5 --conformers 100000 --each 30
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaga import load_dataset
from gaga.chem.elements import GEOM_VOCABULARY
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.streamed import Block, PreparedWriter

TEMPLATES = Path(__file__).parents[1] / "examples" / "mosesaq_xtb_1000.sdf.gz"
JITTER = 0.1  # Å
GAP = 3.0  # Å between templates side by side
RARE = 3e-4  # share of atoms that become one of GEOM's elements at random
BLOCK = 20_000  # conformers
Template = tuple[NDArray[np.uint8], NDArray[np.float32]]


def sizes(n: int, each: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Number of atoms of each molecule of a set of n conformers."""
    table = json.loads(files("gaga").joinpath("shipped", "geom_sizes.json").read_text(encoding="utf-8"))
    weights = np.array(table["conformers"], dtype=np.float64)
    return rng.choice(table["n_atoms"], size=-(-n // each), p=weights / weights.sum())


def base_of(n_atoms: int, templates: Sequence[Template], rng: np.random.Generator) -> Template:
    """Elements and positions of a molecule of so many atoms."""
    numbers, positions, edge = [], [], 0.0
    while sum(map(len, numbers)) < n_atoms:
        z, x = templates[rng.integers(len(templates))]
        numbers.append(z)
        positions.append(x - x.mean(axis=0) + [edge - x[:, 0].min() + x[:, 0].mean(), 0, 0])
        edge += np.ptp(x[:, 0]) + GAP
    whole = np.concatenate(numbers)[:n_atoms].copy()
    rare = rng.random(n_atoms) < RARE
    whole[rare] = rng.choice(GEOM_VOCABULARY, size=rare.sum())
    return whole, np.concatenate(positions)[:n_atoms].astype(np.float32)


def conformers_of(positions: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """So many conformers of a molecule, [count, N, 3]."""
    turns = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0].astype(np.float32)
    noise = rng.standard_normal((count, *positions.shape), dtype=np.float32)
    return (positions - positions.mean(axis=0) + JITTER * noise) @ turns


def blocks(n: int, each: int, seed: int) -> Iterator[Block]:
    """n conformers, `each` of a molecule, but for the last."""
    rng = np.random.default_rng(seed)
    templates = list(load_dataset(TEMPLATES).molecules)
    made = 0
    drawn = sizes(n, each, rng)
    for first in range(0, len(drawn), max(1, BLOCK // each)):
        numbers, positions, counts, atoms = [], [], [], []
        for size in drawn[first : first + max(1, BLOCK // each)]:
            count = min(each, n - made - sum(counts))
            z, x = base_of(int(size), templates, rng)
            positions.append(conformers_of(x, count, rng).reshape(-1, 3))
            numbers.append(np.tile(z, count))
            counts.append(count)
            atoms.append(np.full(count, size))
        packed = PackedMolecules(np.concatenate(positions), np.concatenate(numbers), offsets_of(np.concatenate(atoms)))
        yield Block(molecules=packed, ids=np.arange(made, made + len(packed)), sizes=np.array(counts, dtype=np.int64))
        made += len(packed)


def main() -> None:
    """Write the set and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--conformers", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=30, help="conformers of a molecule")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    run = {"synthetic": arguments.conformers, "each": arguments.each, "seed": arguments.seed}
    with PreparedWriter(arguments.out, run) as writer:
        if writer.molecules:
            sys.exit(f"an earlier run was interrupted; remove what it left beside {arguments.out}")
        for block in blocks(arguments.conformers, arguments.each, arguments.seed):
            writer.append(block)
            sys.stderr.write(f"\r{writer.molecules:,} molecules, {time.perf_counter() - start:.0f} s")
        middle = time.perf_counter()
        written = writer.publish(name="synthetic_geom", origin="synthetic", vocabulary=GEOM_VOCABULARY)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"\n{written.conformers:,} conformers of {written.molecules:,} molecules, {written.atoms:,} atoms")
    print(f"made and packed in {middle - start:.0f} s, published in {end - middle:.0f} s, peak {peak / 1024:.0f} MB")
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:,.0f} MB, fingerprint {written.fingerprint[:16]}")
    opening = time.perf_counter()
    dataset = load_dataset(arguments.out)
    print(f"opened in {time.perf_counter() - opening:.2f} s")
    rng = np.random.default_rng(0)
    draws = [np.sort(rng.choice(len(dataset), min(64, len(dataset)), replace=False)) for _ in range(50)]
    taking = time.perf_counter()
    for draw in draws:
        dataset.molecules.take(draw)
    print(f"a random batch of 64 in {1000 * (time.perf_counter() - taking) / len(draws):.1f} ms")


if __name__ == "__main__":
    main()
