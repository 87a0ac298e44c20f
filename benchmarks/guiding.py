"""The figures of docs/STEER.md on properties: a gradient towards a radius of gyration, and the start given a property.

    python benchmarks/guiding.py gradient --n 100 --target 2.0 3.2
    python benchmarks/guiding.py start --property alpha --molecules 200000

`gradient`: radii of gyration of molecules guided by the scorer of the page, validity by the strict protocol of `gaga
evaluate` with 95 % intervals by bootstrap over molecules. `start`: the variance of positions at T* by tenths of a
property within sizes, of the data and of the start, without a network. QM9 is read from the default cache.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gaga import Guide, load_dataset, load_model
from gaga.chem.annotate import annotate
from gaga.core.molecules import PackedMolecules
from gaga.core.rng import normals
from gaga.core.statistics import share_interval
from gaga.data.features import FeatureSpace, molecule_means
from gaga.data.targets import scale_of, targets_of
from gaga.models.conditioning import ConditionedGaussian, Conditioning
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.stream import sample_stream
from gaga.noise import ReferenceGaussian, make_schedule
from gaga.stats.moments import estimate_moments

_STEP = 550


def main(words: Sequence[str] | None = None) -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("gradient", "start"))
    parser.add_argument("--checkpoint", default="qm9_small")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--target", type=float, nargs="+", default=[2.0, 3.2])
    parser.add_argument("--scale", type=float, nargs="+", default=[1.0])
    parser.add_argument("--width", type=float, default=0.1)
    parser.add_argument("--property", default="alpha")
    parser.add_argument("--molecules", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    for line in {"gradient": gradient, "start": start}[asked.study](asked):
        print(line, flush=True)


def radii(positions: Tensor, sizes: Tensor) -> Tensor:
    """Radius of gyration of each molecule, of the same unit as the positions, which are centred."""
    molecule = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    squares = positions.square().sum(dim=1)
    return (squares.new_zeros(len(sizes)).index_add(0, molecule, squares) / sizes).sqrt()


def gradient(asked: argparse.Namespace) -> Iterator[str]:
    """Radius of gyration and validity, unguided and guided."""
    model = load_model(asked.checkpoint)
    yield "| towards, Å | scale | n | radius of gyration, Å | within 0.2 Å of it | valid | unique of valid |"
    yield "|---|---|---|---|---|---|---|"
    for target in (None, *asked.target):
        for scale in (0.0,) if target is None else asked.scale:

            def score(positions: Tensor, types: Tensor, sizes: Tensor, wanted: float | None = target) -> Tensor:
                return -0.5 * ((radii(positions, sizes) - (wanted or 0.0)) / asked.width) ** 2

            guide = None if target is None else Guide(score, scale=scale)
            drawn = list(sample_stream(model, range(asked.n), SampleConfig(), seed=asked.seed, guide=guide))
            found = np.array([np.sqrt((m.positions.astype(float) ** 2).sum() / len(m.positions)) for m in drawn])
            names = [smiles_of(m.atomic_numbers, m.positions) for m in drawn]
            valid, near = sum(map(bool, names)), 0 if target is None else int((abs(found - target) < 0.2).sum())
            yield (f"| {target or 'unguided'} | {scale or '–'} | {asked.n} | {found.mean():.2f} ± {found.std():.2f} "
                   f"| {'–' if target is None else share(near, asked.n)} | {share(valid, asked.n)} "
                   f"| {len(set(names) - {''})} of {valid} |")  # fmt: skip


def start(asked: argparse.Namespace) -> Iterator[str]:
    """Variance of positions at step 550 by tenths of a property within sizes: of the data, and of two starts."""
    data = load_dataset("qm9")
    space, train = FeatureSpace(data.vocabulary), np.sort(data.splits["train"])[: asked.molecules]
    targets = targets_of(data, [asked.property])
    scale = scale_of(targets, data.splits["valid"])
    conditioning = Conditioning.of(data.molecules, train, targets, scale=scale, space=space, dropout=0.1)
    some = data.molecules.select(train)
    plain = ReferenceGaussian("size", estimate_moments(some, space))
    alpha2 = float(make_schedule().alpha2[_STEP])
    noise = normals(asked.seed, np.arange(len(some)), some.n_atoms, space.columns, 0)
    context = conditioning.context(targets.values[train])
    clean = alpha2 * widths(some.positions.astype(np.float64), some) + 1 - alpha2
    starts = [widths(by.transform(noise, some.n_atoms, alpha2, context)[:, :3], some)
              for by in (ConditionedGaussian(plain, conditioning), plain)]  # fmt: skip
    tenth = tenths(targets.values[train, 0], some.n_atoms)
    yield f"| tenth of {asked.property} | n | data at {_STEP} | start given {asked.property} | start by size alone |"
    yield "|---|---|---|---|---|"
    for k in range(10):
        here = tenth == k
        weights = 3 * (some.n_atoms[here] - 1)
        found = [np.average(values[here], weights=weights) for values in (clean, *starts)]
        yield f"| {k + 1} | {here.sum():,} | " + " | ".join(f"{value:.3f}" for value in found) + " |"


def widths(x: np.ndarray, molecules: PackedMolecules) -> np.ndarray:
    """Variance of positions of each molecule per degree of freedom, [M]."""
    x = x - np.repeat(molecule_means(x, molecules.offsets), molecules.n_atoms, axis=0)
    total = np.add.reduceat((x**2).sum(axis=1), molecules.offsets[:-1])
    return np.asarray(total / (3 * np.maximum(molecules.n_atoms - 1, 1)))


def tenths(values: np.ndarray, n_atoms: np.ndarray) -> np.ndarray:
    """Which tenth of the molecules of its size each one is in, [M]."""
    found = np.zeros(len(values), dtype=np.int64)
    for n in np.unique(n_atoms):
        here = np.flatnonzero(n_atoms == n)
        found[here[np.argsort(values[here])]] = 10 * np.arange(len(here)) // len(here)
    return found


def smiles_of(numbers: np.ndarray, positions: np.ndarray) -> str:
    """SMILES of a valid molecule, else empty."""
    return annotate(numbers, positions, name="", properties={}).smiles


def share(count: int, n: int) -> str:
    """A share in per cent with its interval."""
    found = share_interval(count, n, rng=np.random.default_rng(0))
    return f"{100 * found.estimate:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


if __name__ == "__main__":
    main()
