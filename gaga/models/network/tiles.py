"""Rows of a packed batch in tiles of 64, and the edges of a tile by cyclic shift: the layout of the fused kernels.

Row i of a molecule of n atoms that starts at row a meets its neighbours in the order of the shift s = 1 .. n - 1:
j = a + (i - a + s) mod n. Each edge appears once, the diagonal never, and the sum over neighbours of a row is a sum
over s of the same row: no reduction crosses rows. The edges (i, s) of a tile are kept as one block [64, F] for each s,
one after another; the reverse of the edge (i, s) is (j, n - s). Work is cut into items of a few shifts of one tile.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

TILE = 64  # rows
SHIFTS = 6  # of an item: enough items to fill a device at small batches, few enough partial sums


@dataclass(frozen=True)
class TileCapacity:
    """Room for the tiles of a batch: rows (whole tiles), blocks of 64 edges, items of work."""

    rows: int
    blocks: int
    items: int

    @classmethod
    def around(cls, n_atoms: Int64[np.ndarray, " M"], margin: float = 0.03) -> "TileCapacity":
        """Room for this batch and `margin` more."""
        plan = _Plan.of(n_atoms)
        grow = 1.0 + margin
        rows = -(-int(plan.rows * grow) // TILE) * TILE
        return cls(rows, int(np.ceil(plan.blocks * grow)) + 1, int(np.ceil(len(plan.item_tile) * grow)) + 1)

    def holds(self, n_atoms: Int64[np.ndarray, " M"]) -> bool:
        """Whether the tiles of a batch fit."""
        plan = _Plan.of(n_atoms)
        return plan.rows <= self.rows and plan.blocks <= self.blocks and len(plan.item_tile) <= self.items


@dataclass(frozen=True, eq=False)
class Tiles:
    """A batch in tiles, on a device. K tiles, I items, R = 64 K rows.

    Attributes:
        start: first row of each row's molecule, [64 K]. size: its number of atoms, [64 K]; 1 for filler.
        shifts: largest shift in each tile, [K].
        first_block: block of the tile's first shift, [K]; edge (i, s) is row i mod 64 of block first_block + s - 1.
        first_item: the tile's first item, and the number of items behind the last tile, [K + 1].
        item_tile, item_shift: tile of each item, -1 if there is no work, and its first shift less one, [I].
        block_tile: tile of each block, -1 if there is none, [blocks].
    """

    start: Int32[Tensor, " R"]
    size: Int32[Tensor, " R"]
    shifts: Int32[Tensor, " K"]
    first_block: Int32[Tensor, " K"]
    first_item: Int32[Tensor, " K_plus_1"]
    item_tile: Int32[Tensor, " I"]
    item_shift: Int32[Tensor, " I"]
    block_tile: Int32[Tensor, " blocks"]

    @classmethod
    def of(
        cls, n_atoms: Int64[np.ndarray, " M"], device: torch.device | str, capacity: TileCapacity | None = None
    ) -> "Tiles":
        """The tiles of molecules of these sizes, in their order; neighbours of similar size waste least."""
        plan = _Plan.of(n_atoms, capacity.rows if capacity else None)
        items, blocks = max(len(plan.item_tile), 1), max(plan.blocks, 1)  # a launch of nothing is an error
        if capacity:
            items, blocks = capacity.items, capacity.blocks
        arrays = {
            "start": plan.start,
            "size": plan.size,
            "shifts": plan.shifts,
            "first_block": plan.first_block,
            "first_item": plan.first_item,
            "item_tile": _extended(plan.item_tile, items, -1),
            "item_shift": _extended(plan.item_shift, items, 0),
            "block_tile": _extended(np.repeat(np.arange(len(plan.shifts)), plan.shifts), blocks, -1),
        }
        on_device = {name: torch.from_numpy(a.astype(np.int32)).to(device) for name, a in arrays.items()}
        return cls(**on_device)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def rows(self) -> int:
        """Rows of all tiles."""
        return len(self.start)

    @property
    def blocks(self) -> int:
        """Number of blocks of 64 edges, or the room for them."""
        return len(self.block_tile)

    @property
    def slots(self) -> int:
        """Number of edge slots, filled or not."""
        return self.blocks * TILE


@dataclass(frozen=True, eq=False)
class _Plan:
    """The tiles on the host."""

    rows: int
    blocks: int
    start: np.ndarray
    size: np.ndarray
    shifts: np.ndarray
    first_block: np.ndarray
    first_item: np.ndarray
    item_tile: np.ndarray
    item_shift: np.ndarray

    @classmethod
    def of(cls, n_atoms: Int64[np.ndarray, " M"], rows: int | None = None) -> "_Plan":
        atoms = int(n_atoms.sum())
        rows = atoms if rows is None else rows
        tiles = -(-rows // TILE)
        start, size = np.arange(tiles * TILE), np.ones(tiles * TILE, dtype=np.int64)
        start[:atoms] = np.repeat(np.cumsum(n_atoms) - n_atoms, n_atoms)
        size[:atoms] = np.repeat(n_atoms, n_atoms)
        shifts = size.reshape(tiles, TILE).max(axis=1) - 1
        items = -(-shifts // SHIFTS)
        first_item = np.concatenate([[0], np.cumsum(items)])
        item_tile = np.repeat(np.arange(tiles), items)
        item_shift = (np.arange(len(item_tile)) - first_item[item_tile]) * SHIFTS
        first_block = np.cumsum(shifts) - shifts
        return cls(rows, int(shifts.sum()), start, size, shifts, first_block, first_item, item_tile, item_shift)


def _extended(values: np.ndarray, length: int, filler: int) -> np.ndarray:
    return np.concatenate([values, np.full(length - len(values), filler, dtype=values.dtype)])
