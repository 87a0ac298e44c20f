"""A batch to time a network on: sizes of the real data, columns of the data's spread."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gaga.benchmark.shapes import Shape

_POSITIONS, _TYPES = 1.4, 0.1  # standard deviations of QM9's columns on the zero-mean subspace


@dataclass(frozen=True, eq=False)
class Batch:
    """Molecules with noise and steps of their own, on the host in float64: every kernel gets the same.

    Attributes:
        n_atoms: sizes, [M].
        x: clean columns before centring, [A, C]. eps: noise, [A, C].
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

    @property
    def edges(self) -> int:
        """Ordered pairs of different atoms of one molecule."""
        return int((self.n_atoms * (self.n_atoms - 1)).sum())
