"""Random batches, keyed by (seed, epoch): the order of a run does not depend on where it was interrupted."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from gaga.base.molecules import PackedMolecules
from gaga.data.features import FeatureSpace
from gaga.models.layout import Capacity, Layout


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

    @cached_property
    def n_atoms(self) -> Int64[np.ndarray, " M"]:
        """Number of atoms of each molecule."""
        return np.diff(self.offsets)

    def rows(self, members: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " A"]:
        """Where the atoms of these molecules are, in their order."""
        first = self.offsets[members]
        sizes = self.offsets[members + 1] - first
        starts = np.cumsum(sizes) - sizes
        rows: Int64[np.ndarray, " A"] = np.arange(sizes.sum()) + np.repeat(first - starts, sizes)
        return rows


@dataclass(frozen=True, eq=False)
class Batch:
    """What a training step reads of a batch of M molecules; those that fill a capacity have weight 0.

    Attributes:
        rows: row of each atom in the columns of the data set.
        keys: number of each molecule in the data set, which its noise is keyed by.
        t: step of the diffusion of each.
        weights: what its objective counts in the loss.
        layout: sizes of the molecules.
    """

    rows: Int64[Tensor, " A"]
    keys: Int64[Tensor, " M"]
    t: Int64[Tensor, " M"]
    weights: Float32[Tensor, " M"]
    layout: Layout

    @classmethod
    def of(
        cls,
        columns: Columns,
        members: Int64[np.ndarray, " B"],
        t: Int64[np.ndarray, " B"],
        weights: Float32[np.ndarray, " B"],
        capacity: Capacity | None = None,
    ) -> "Batch":
        """These molecules of a data set, on the host, in a capacity where one is given."""
        sizes = columns.n_atoms[members]
        layout = Layout.of(sizes) if capacity is None else Layout.filled(sizes, capacity)
        atoms, molecules = len(layout.molecule), len(layout)
        return cls(
            rows=_extended(columns.rows(members), atoms),
            keys=_extended(members, molecules),
            t=_extended(t, molecules),
            weights=_extended(weights, molecules),
            layout=layout,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything on the device, by name."""
        return {"rows": self.rows, "keys": self.keys, "t": self.t, "weights": self.weights, **self.layout.tensors()}

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        if device == self.rows.device:
            return self

        def sent(value: Tensor) -> Tensor:
            return _departing(value, device).to(device, non_blocking=device.type == "cuda")

        layout = replace(self.layout, sizes=sent(self.layout.sizes), molecule=sent(self.layout.molecule))
        return Batch(sent(self.rows), sent(self.keys), sent(self.t), sent(self.weights), layout)

    def copy_(self, other: "Batch") -> None:
        """Take over another batch of the same capacity in place, without waiting for the device."""
        theirs = other.tensors()
        for name, mine in self.tensors().items():
            mine.copy_(_departing(theirs[name], mine.device), non_blocking=mine.is_cuda)


def _departing(value: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host where a copy to the device may leave from without being waited for."""
    return value.pin_memory() if device.type == "cuda" else value


def _extended(values: np.ndarray, length: int) -> Tensor:
    """The values, and zeros behind them."""
    filler = np.zeros(length - len(values), dtype=values.dtype)
    return torch.from_numpy(np.concatenate([values, filler]))


def batches_of_epoch(
    n_atoms: Int64[np.ndarray, " M"], batch_size: int, seed: int, epoch: int
) -> list[Int64[np.ndarray, " B"]]:
    """Every molecule once: a random permutation cut into batches, each sorted by size (ties stay random).

    A batch is a random subset, as stochastic gradients need it; the order within changes no sum, and like sizes beside
    each other waste least.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(n_atoms))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [batch[np.argsort(n_atoms[batch], kind="stable")] for batch in batches]


def batches_from(
    n_atoms: Int64[np.ndarray, " M"], batch_size: int, seed: int, step: int
) -> Iterator[tuple[int, Int64[np.ndarray, " B"]]]:
    """(step, batch) from this step of a run on, without end."""
    per_epoch = -(-len(n_atoms) // batch_size)
    epoch, skip = divmod(step, per_epoch)
    while True:
        for members in batches_of_epoch(n_atoms, batch_size, seed, epoch)[skip:]:
            yield step, members
            step += 1
        epoch, skip = epoch + 1, 0
