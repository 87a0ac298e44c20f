"""Are drawn molecules as wide and as ringed as the data's? What stability and validity do not see.

Radius of gyration (of all atoms, unweighted) relative to the mean of the data's molecules of the same number of atoms,
its median; smallest rings a molecule (SSSR, bonds - atoms + 1: cubane has five) and RDKit's symmetrised rings (with
those that are as small as one of these: cubane has six), their means over molecules that have a structure; and shares
of elements. With 95 % intervals by bootstrap over molecules.

    gaga sample --n 500 --seed 1 --out block.sdf
    gaga sample --n 500 --seed 1 --start published --t-start 450 --out published450.sdf
    python benchmarks/shape.py block.sdf published450.sdf
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gaga import load_dataset
from gaga.chem.bonds import perceive
from gaga.chem.elements import symbol_of
from gaga.chem.io import Record, read_molecules
from gaga.core.molecules import PackedMolecules, pack

_JUDGED = 2_000  # of the data's test split, for their rings


def radii(molecules: PackedMolecules) -> Float[np.ndarray, " M"]:
    """Radius of gyration of each molecule in Å."""
    centred = (positions - positions.mean(axis=0) for _, positions in molecules)
    return np.array([np.sqrt((x.astype(np.float64) ** 2).sum(axis=1).mean()) for x in centred])


def rings(molecules: PackedMolecules) -> Float[np.ndarray, "M 2"]:
    """Smallest and symmetrised rings of each molecule, [M, 2]; NaN of those without a structure."""
    from rdkit import Chem

    found = (perceive(*molecule) for molecule in molecules)
    counts = [
        (np.nan, np.nan) if it is None else (len(Chem.GetSSSR(it)), len(Chem.GetSymmSSSR(it)))  # type: ignore[call-arg]
        for it in found
    ]
    return np.array(counts, dtype=float).reshape(-1, 2)


def interval(values: Float[np.ndarray, " M"], middle: Callable[..., Any]) -> str:
    """Mean or median and its interval, of those that are numbers."""
    values = values[np.isfinite(values)]
    draws = middle(np.random.default_rng(0).choice(values, (1000, len(values))), axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{middle(values):.3f} ({low:.3f} – {high:.3f})"


def row(name: str, molecules: PackedMolecules, expected: Float[np.ndarray, " sizes"]) -> str:
    """A row of the table."""
    known = np.array([n < len(expected) and np.isfinite(expected[n]) for n in molecules.n_atoms])
    relative = radii(molecules)[known] / expected[molecules.n_atoms[known]]
    heavy = molecules.atomic_numbers[molecules.atomic_numbers > 1]
    shares = ", ".join(f"{symbol_of(int(z))} {np.mean(heavy == z):.1%}" for z in np.unique(heavy))
    width, counted = interval(relative, np.median), rings(molecules).T
    smallest, symmetrised = (interval(counts, np.mean) for counts in counted)
    return f"| {name} | {len(molecules)} | {width} | {smallest} | {symmetrised} | {shares} |"


def main(words: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--dataset", default="qm9")
    asked = parser.parse_args(words)
    data = load_dataset(asked.dataset)
    sizes, all_radii = data.molecules.n_atoms, radii(data.molecules)
    with np.errstate(invalid="ignore"):
        expected = np.bincount(sizes, all_radii) / np.bincount(sizes)
    columns = ("", "molecules", "radius of gyration, relative to the data's", "smallest rings", "symmetrised rings")
    print(f"| {' | '.join(columns)} | heavy atoms |")
    print("|---|---|---|---|---|---|")
    test = data.molecules.take(data.splits["test"][:_JUDGED])
    print(row(f"{data.name}, test", test, expected), flush=True)
    for path in asked.files:
        records = [r for r in read_molecules(path) if isinstance(r, Record)]
        print(row(path.stem, pack((r.atomic_numbers, r.positions) for r in records), expected), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
