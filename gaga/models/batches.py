"""Batches of like sizes, keyed by (seed, epoch): the order of a run does not depend on where it was interrupted."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gaga.base.molecules import PackedMolecules
from gaga.data.features import FeatureSpace
from gaga.models.layout import Layout

_POOL = 32  # batches whose molecules are sorted by size together


@dataclass(frozen=True, eq=False)
class Columns:
    """The clean columns of a data set, on the device, ready to be gathered into batches."""

    values: Float[Tensor, "A C"]
    offsets: Int64[np.ndarray, " M_plus_1"]

    @classmethod
    def of(cls, molecules: PackedMolecules, space: FeatureSpace, device: torch.device | str) -> "Columns":
        """The columns of these molecules in float32."""
        return cls(torch.from_numpy(space.encode(molecules)).float().to(device), molecules.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, members: Int64[np.ndarray, " B"]) -> tuple[Float[Tensor, "A C"], Layout]:
        """Columns and layout of these molecules."""
        sizes = np.diff(self.offsets)[members]
        starts = np.cumsum(sizes) - sizes
        atoms = np.arange(sizes.sum()) + np.repeat(self.offsets[members] - starts, sizes)
        return self.values[torch.from_numpy(atoms).to(self.values.device)], Layout.of(sizes, self.values.device)


def batches_of_epoch(
    n_atoms: Int64[np.ndarray, " M"], batch_size: int, seed: int, epoch: int, *, like_sizes: bool = True
) -> list[Int64[np.ndarray, " B"]]:
    """Every molecule once, in batches of like sizes in random order.

    A random permutation is cut into pools; within a pool molecules are sorted by size (ties stay random) and cut
    into batches; the batches are shuffled. Nothing is padded, and batches hold few distinct sizes. Without
    `like_sizes` batches are random, as published: a loss that is divided by a batch's largest size depends on it.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(n_atoms))
    batches = []
    for first in range(0, len(order), _POOL * batch_size):
        pool = order[first : first + _POOL * batch_size]
        if like_sizes:
            pool = pool[np.argsort(n_atoms[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def batches_from(
    n_atoms: Int64[np.ndarray, " M"], batch_size: int, seed: int, step: int, *, like_sizes: bool = True
) -> Iterator[tuple[int, Int64[np.ndarray, " B"]]]:
    """(epoch, batch) from this step of a run on, without end."""
    per_epoch = -(-len(n_atoms) // batch_size)
    epoch, skip = divmod(step, per_epoch)
    while True:
        for members in batches_of_epoch(n_atoms, batch_size, seed, epoch, like_sizes=like_sizes)[skip:]:
            yield epoch, members
        epoch, skip = epoch + 1, 0
