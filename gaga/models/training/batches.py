"""Random batches, keyed by (seed, epoch): the order of a run does not depend on interruptions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.models.network.layout import Capacity, Layout


@dataclass(frozen=True, eq=False)
class Batch:
    """What a training step reads of a batch of M molecules; those that fill a capacity have weight 0.

    Attributes:
        atoms: what leads to the columns of each atom, as `Features.fetch` gave it: rows of a table, or the columns.
        keys: number of each molecule in the data set, which its noise is keyed by.
        t: step of the diffusion of each.
        weights: what its objective counts in the loss.
        layout: sizes of the molecules.
        context: what the network receives of each besides; None if it takes nothing.
    """

    atoms: Shaped[Tensor, "A *C"]
    keys: Int64[Tensor, " M"]
    t: Int64[Tensor, " M"]
    weights: Float32[Tensor, " M"]
    layout: Layout
    context: Float32[Tensor, "M K"] | None = None

    @classmethod
    def of(
        cls,
        atoms: Shaped[Tensor, "a *C"],
        n_atoms: Int64[np.ndarray, " B"],
        keys: Int64[np.ndarray, " B"],
        t: Int64[np.ndarray, " B"],
        weights: Float32[np.ndarray, " B"],
        capacity: Capacity | None = None,
        context: Float32[np.ndarray, "B K"] | None = None,
    ) -> "Batch":
        """Molecules of these sizes, on the host, in a capacity if one is given."""
        layout = Layout.of(n_atoms) if capacity is None else Layout.filled(n_atoms, capacity)
        molecules = len(layout)
        return cls(
            atoms=_extended(atoms, len(layout.molecule)),
            keys=_extended(torch.from_numpy(keys), molecules),
            t=_extended(torch.from_numpy(t), molecules),
            weights=_extended(torch.from_numpy(weights), molecules),
            layout=layout,
            context=None if context is None else _extended(torch.from_numpy(context), molecules),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything on the device, by name."""
        own = {"atoms": self.atoms, "keys": self.keys, "t": self.t, "weights": self.weights}
        if self.context is not None:
            own["context"] = self.context
        return own | self.layout.tensors()

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        if device == self.atoms.device:
            return self

        def sent(value: Tensor) -> Tensor:
            return _pinned(value, device).to(device, non_blocking=device.type == "cuda")

        layout = replace(self.layout, sizes=sent(self.layout.sizes), molecule=sent(self.layout.molecule))
        context = None if self.context is None else sent(self.context)
        return Batch(sent(self.atoms), sent(self.keys), sent(self.t), sent(self.weights), layout, context)

    def copy_(self, other: "Batch") -> None:
        """Copy another batch of the same capacity into the tensors, without waiting for the device."""
        source = other.tensors()
        for name, target in self.tensors().items():
            target.copy_(_pinned(source[name], target.device), non_blocking=target.is_cuda)


def _pinned(value: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host, in memory that is copied to a CUDA device without waiting."""
    return value.pin_memory() if device.type == "cuda" else value


def _extended(values: Shaped[Tensor, "n *rest"], length: int) -> Shaped[Tensor, "{length} *rest"]:
    """The values, and zeros behind them."""
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])


@dataclass(frozen=True, eq=False)
class Epochs:
    """How M molecules become batches: every molecule once an epoch, in a random order that (seed, epoch) decides.

    A batch is a random subset, as stochastic gradients need it. It has `batch_size` molecules. If `edges` is given, it
    has as many as the room for edges allows instead: a molecule of N atoms takes N^2 edges, and a batch takes molecules
    while the epoch's running total stays within `edges` for each batch so far. Room that a batch leaves goes to the
    next, so that batches take `edges` on average, none as much as `edges` plus the largest N^2, and all epochs have the
    same number of batches. Within a batch molecules are sorted by size (ties stay random): that changes no sum, and
    neighbours of similar size waste least.
    """

    n_atoms: Int64[np.ndarray, " M"]
    batch_size: int
    seed: int
    edges: int | None = None

    def __post_init__(self) -> None:
        largest = int(self.n_atoms.max(initial=0))
        if self.edges is not None and self.edges < largest**2:
            raise InvalidInput(
                f"a batch has no room for the largest molecule, whose {largest} atoms take {largest**2} edges",
                received=f"batch_edges {self.edges}",
                remedy="give batches more edges, or leave large molecules out of the data set",
            )

    @cached_property
    def length(self) -> int:
        """Batches of an epoch."""
        if self.edges is None:
            return -(-len(self.n_atoms) // self.batch_size)
        return -(-int((self.n_atoms**2).sum()) // self.edges)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Int64[np.ndarray, " B"]]:
        """The batches of an epoch from the one of this number on."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.n_atoms))
        cuts = self._cuts(order)
        for k in range(first, self.length):
            batch = order[cuts[k] : cuts[k + 1]]
            yield batch[np.argsort(self.n_atoms[batch], kind="stable")]

    def from_step(self, step: int) -> Iterator[tuple[int, Int64[np.ndarray, " B"]]]:
        """(step, batch) from this step of a run on, without end."""
        epoch, first = divmod(step, self.length)
        while True:
            for members in self.batches(epoch, first):
                yield step, members
                step += 1
            epoch, first = epoch + 1, 0

    def _cuts(self, order: Int64[np.ndarray, " M"]) -> Int64[np.ndarray, " length_plus_1"]:
        """Index in the order at which each batch begins, and at which the last one ends."""
        if self.edges is None:
            return np.append(np.arange(self.length) * self.batch_size, len(order))
        upto = np.cumsum(self.n_atoms[order] ** 2)
        return np.searchsorted(upto, np.arange(self.length + 1) * self.edges, side="right")
