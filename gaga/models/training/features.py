"""The clean columns that batches are made of: all of them on the device, or each batch's own, read before its step.

Both give the same numbers. A training set that is larger than the memory for it is streamed, from memory or a file.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Shaped
from torch import Tensor

from gaga.core.molecules import PackedMolecules
from gaga.data.features import FeatureSpace

HELD_BYTES = 1 << 29  # of columns in a host's memory
_DEVICE_SHARE = 8  # a CUDA device gives this part of its memory to columns
_READERS = 4  # threads that read batches of a file: most of their time is spent on the disk, or in gzip
_PIECE = 1_000  # molecules that are encoded at a time


class Features(ABC):
    """The clean columns of M molecules in float32.

    Attributes:
        n_atoms: number of atoms of each molecule, [M].
        context: what a conditional network receives of each molecule, [M, K], on the host; None if it takes nothing.
        device: where `columns` is called with what `fetch` gave.
        readers: how many threads read ahead; 1 if a thread would gain nothing.
    """

    n_atoms: Int64[np.ndarray, " M"]
    context: Float32[np.ndarray, "M K"] | None = None
    device: torch.device
    readers: int

    @staticmethod
    def of(
        molecules: PackedMolecules,
        space: FeatureSpace,
        device: torch.device | str,
        *,
        chosen: Int64[np.ndarray, " n"] | None = None,
        held_bytes: int | None = None,
    ) -> "Features":
        """The columns of the chosen molecules, numbered in the order that they are chosen in.

        Args:
            molecules: in memory or in a file.
            space: which columns.
            device: where batches go.
            chosen: which molecules; None for all.
            held_bytes: larger ones are streamed; None for half a GiB on a host, an eighth of a CUDA device's memory.
        """
        device = torch.device(device)
        chosen = np.arange(len(molecules)) if chosen is None else chosen
        atoms = int((molecules.offsets[chosen + 1] - molecules.offsets[chosen]).sum())
        if 4 * atoms * space.columns > (_room_on(device) if held_bytes is None else held_bytes):
            return StreamedFeatures(molecules, space, device, chosen)
        return InMemoryFeatures(molecules, space, device, chosen)

    def __len__(self) -> int:
        return len(self.n_atoms)

    @abstractmethod
    def fetch(self, members: Int64[np.ndarray, " B"]) -> Shaped[Tensor, "A *C"]:
        """Row numbers of these molecules' atoms if all columns are in memory, else the columns, on the host.

        Does not touch the device; may run in any thread.
        """

    @abstractmethod
    def columns(self, fetched: Shaped[Tensor, "A *C"]) -> Float[Tensor, "A C"]:
        """The columns, from what was fetched and is on the device now. A recorded step may do this."""


class InMemoryFeatures(Features):
    """All columns in one table on the device; a batch reads rows of it."""

    readers = 1

    def __init__(
        self,
        molecules: PackedMolecules,
        space: FeatureSpace,
        device: torch.device,
        chosen: Int64[np.ndarray, " n"],
    ) -> None:
        sizes = molecules.offsets[chosen + 1] - molecules.offsets[chosen]
        self.n_atoms, self.device = sizes, device
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        table = torch.empty(int(self.offsets[-1]), space.columns)
        order = np.argsort(chosen, kind="stable")  # neighbours in a file are read together
        for first in range(0, len(order), _PIECE):
            part = order[first : first + _PIECE]
            table[self.fetch(part)] = _encoded(molecules, space, chosen[part])
        self.values = table.to(device)

    def rows(self, members: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " A"]:
        """Where the atoms of these molecules are, in their order."""
        first, sizes = self.offsets[members], self.n_atoms[members]
        starts = np.cumsum(sizes) - sizes
        rows: Int64[np.ndarray, " A"] = np.arange(sizes.sum()) + np.repeat(first - starts, sizes)
        return rows

    def fetch(self, members: Int64[np.ndarray, " B"]) -> Int64[Tensor, " A"]:
        """The rows of the table."""
        return torch.from_numpy(self.rows(members))

    def columns(self, fetched: Int64[Tensor, " A"]) -> Float32[Tensor, "A C"]:
        """The table at these rows."""
        return self.values[fetched]


class StreamedFeatures(Features):
    """No columns at all: a batch carries its own."""

    readers = _READERS

    def __init__(
        self,
        molecules: PackedMolecules,
        space: FeatureSpace,
        device: torch.device,
        chosen: Int64[np.ndarray, " n"],
    ) -> None:
        self.n_atoms, self.device = molecules.offsets[chosen + 1] - molecules.offsets[chosen], device
        self._molecules, self._space, self._chosen = molecules, space, chosen

    def fetch(self, members: Int64[np.ndarray, " B"]) -> Float32[Tensor, "A C"]:
        """The columns themselves."""
        return _encoded(self._molecules, self._space, self._chosen[members])

    def columns(self, fetched: Float32[Tensor, "A C"]) -> Float32[Tensor, "A C"]:
        """What was fetched."""
        return fetched


def _encoded(
    molecules: PackedMolecules, space: FeatureSpace, indices: Int64[np.ndarray, " B"]
) -> Float32[Tensor, "A C"]:
    return torch.from_numpy(space.encode(molecules.take(indices))).float()


def _room_on(device: torch.device) -> int:
    """Bytes of columns that may be kept in memory."""
    if device.type != "cuda":
        return HELD_BYTES
    return max(HELD_BYTES, torch.cuda.get_device_properties(device).total_memory // _DEVICE_SHARE)
