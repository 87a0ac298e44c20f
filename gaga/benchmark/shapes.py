"""What is timed: networks and numbers of atoms of QM9 and of GEOM-Drugs, as the papers train and sample them."""

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gaga.benchmark.config import BenchmarkConfig
from gaga.data.features import FeatureSpace
from gaga.models.api import SMALL_CHECKPOINT, load_model
from gaga.models.network.parameters import EGNNConfig

_POSITIONS, _TYPES = 1.4, 0.1  # standard deviations of QM9's columns on the zero-mean subspace


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One network and the data set whose sizes it is applied to.

    Attributes:
        name: of the data set.
        vocabulary: atomic numbers, one column of types each.
        n_layers, hidden: of the network.
        steps: of a sampling run, the published T*.
        cpu_batches, cuda_batches: molecules of a batch, by device.
    """

    name: str
    vocabulary: tuple[int, ...]
    n_layers: int
    steps: int
    hidden: int = 256
    cpu_batches: tuple[int, ...]
    cuda_batches: tuple[int, ...]

    @property
    def in_words(self) -> str:
        """The network, for the record."""
        return f"{self.name}: {self.hidden} features, {self.n_layers} layers, {len(self.vocabulary)} types"

    @property
    def space(self) -> FeatureSpace:
        """The columns: positions and types, centred."""
        return FeatureSpace(self.vocabulary)

    @property
    def network(self) -> EGNNConfig:
        """EDM's network of this width and depth."""
        return EGNNConfig(features=len(self.vocabulary), hidden=self.hidden, n_layers=self.n_layers)

    @property
    def counts(self) -> Int64[np.ndarray, " N_max_plus_1"]:
        """Molecules of the training data by number of atoms."""
        return histogram(self.name)

    @property
    def widest(self) -> int:
        """Atoms of the data's largest molecule, which the published sampler pads all others to."""
        return len(self.counts) - 1


# Hoogeboom et al. 2022, appendix E: 9 layers for QM9, 4 for GEOM-Drugs, 256 wide. T* of Qu et al. 2026.
SHAPES: dict[str, Shape] = {
    "qm9": Shape(
        name="qm9", vocabulary=(1, 6, 7, 8, 9), n_layers=9, steps=550,
        cpu_batches=(64,), cuda_batches=(256, 1024, 2048),
    ),
    "geom": Shape(
        name="geom", vocabulary=(1, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 33, 35, 53, 80, 83), n_layers=4, steps=650,
        cpu_batches=(8,), cuda_batches=(256, 1024),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """A shape and what is done with it.

    `train`: noising, network, loss, its gradient, and a step of AdamW. `forward`: one evaluation of the network by a
    sampler. `sampling`: the whole sampler.
    """

    shape: Shape
    work: str

    @property
    def name(self) -> str:
        """Such as qm9-train."""
        return f"{self.shape.name}-{self.work}"

    def batches(self, config: BenchmarkConfig, device: torch.device) -> tuple[int, ...]:
        """Molecules of each batch; the sampler makes its own batches, and is measured on the most molecules only."""
        usual = self.shape.cuda_batches if device.type == "cuda" else self.shape.cpu_batches
        return config.batch_sizes or (usual[-1:] if self.work == "sampling" else usual)


def cases_of(config: BenchmarkConfig) -> tuple[Case, ...]:
    """The cases that are measured, with the network that is asked for."""
    found = []
    for dataset, _, work in (name.partition("-") for name in config.cases):
        shape = SHAPES[dataset]
        shape = replace(shape, hidden=config.hidden or shape.hidden, n_layers=config.n_layers or shape.n_layers)
        found.append(Case(shape=shape, work=work))
    return tuple(found)


@cache
def histogram(dataset: str) -> Int64[np.ndarray, " N_max_plus_1"]:
    """Molecules of a data set's training split by number of atoms, from what ships with the package."""
    if dataset == "geom":
        table = json.loads(files("gaga").joinpath("shipped", "geom_sizes.json").read_text(encoding="utf-8"))
        counts = np.zeros(max(table["n_atoms"]) + 1, dtype=np.int64)
        counts[table["n_atoms"]] = table["conformers"]
        return counts
    return load_model(SMALL_CHECKPOINT).known_moments().counts


def even_sizes(counts: Int64[np.ndarray, " N_max_plus_1"], n: int, seed: int) -> Int64[np.ndarray, " n"]:
    """Numbers of atoms of `n` molecules in random order, one drawn from each of n equal parts of the histogram.

    Each is distributed as in the data, and even a small batch has nearly the data's mean work.
    """
    rng = np.random.default_rng(seed)
    u = (rng.permutation(n) + rng.random(n)) / n
    return np.searchsorted(np.cumsum(counts) / counts.sum(), u, side="right").astype(np.int64)


@dataclass(frozen=True, eq=False)
class Batch:
    """Molecules with their own noise and steps, on the host in float64: every kernel gets the same.

    Attributes:
        n_atoms: sizes, [M].
        x: clean columns before centring, [A, C], of the data's spread. eps: noise, [A, C].
        t: a step of each molecule, [M].
    """

    n_atoms: Int64[np.ndarray, " M"]
    x: Float[Tensor, "A C"]
    eps: Float[Tensor, "A C"]
    t: Int64[Tensor, " M"]

    @classmethod
    def of(cls, shape: Shape, n_atoms: Int64[np.ndarray, " M"], seed: int) -> "Batch":
        """Random columns for molecules of these sizes."""
        generator = torch.Generator().manual_seed(seed)
        atoms, columns = int(n_atoms.sum()), shape.space.columns
        scale = torch.tensor([_POSITIONS] * 3 + [_TYPES] * (columns - 3), dtype=torch.float64)
        x, eps = (torch.randn(atoms, columns, generator=generator, dtype=torch.float64) for _ in range(2))
        t = torch.randint(0, shape.steps + 1, (len(n_atoms),), generator=generator)
        return cls(n_atoms, scale * x, eps, t)

    def first(self, n_molecules: int) -> "Batch":
        """The first molecules alone."""
        atoms = int(self.n_atoms[:n_molecules].sum())
        return Batch(self.n_atoms[:n_molecules], self.x[:atoms], self.eps[:atoms], self.t[:n_molecules])
