import numpy as np
import pytest
import torch

from gaga.models.network.tiles import SHIFTS, TILE, TileCapacity, Tiles

SIZES = [np.array([1, 2, 9, 9, 29, 31, 33]), np.array([181]), np.array([1]), np.array([5] * 40), np.array([70, 2, 1])]


def edges_of(tiles: Tiles) -> list[tuple[int, int, int]]:
    """(row, neighbour, slot) of every edge, item by item."""
    found = []
    start, size = tiles.start.numpy(), tiles.size.numpy()
    for tile, first in zip(tiles.item_tile.tolist(), tiles.item_shift.tolist(), strict=True):
        if tile < 0:
            continue
        for s in range(first + 1, min(first + SHIFTS, int(tiles.shifts[tile])) + 1):
            for r in range(TILE):
                i = tile * TILE + r
                if i < len(size) and s < size[i]:
                    j = start[i] + (i - start[i] + s) % size[i]
                    found.append((i, int(j), (int(tiles.first_block[tile]) + s - 1) * TILE + r))
    return found


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("filled", [False, True])
def test_every_edge_once_in_a_slot_of_its_own(sizes, filled):
    capacity = TileCapacity.around(sizes, 0.5) if filled else None
    tiles = Tiles.of(sizes, "cpu", capacity)
    edges = edges_of(tiles)
    first = np.cumsum(sizes) - sizes
    wanted = {(a + i, a + j) for a, n in zip(first, sizes, strict=True) for i in range(n) for j in range(n) if i != j}
    assert {(i, j) for i, j, _ in edges} == wanted
    assert len(edges) == len(wanted)
    slots = {slot for _, _, slot in edges}
    assert len(slots) == len(edges)
    assert not slots or max(slots) < tiles.slots


def test_the_reverse_of_an_edge_has_the_rest_of_the_shift():
    tiles = Tiles.of(np.array([7]), "cpu")
    slot = {(i, j): s for i, j, s in edges_of(tiles)}
    for (i, j), here in slot.items():
        s = here // TILE + 1
        assert slot[j, i] == (7 - s - 1) * TILE + j


def test_sorted_sizes_waste_few_slots():
    sizes = np.sort(np.clip(np.random.default_rng(0).normal(18, 3, 256).round().astype(int), 3, 29))
    tiles = Tiles.of(sizes, "cpu")
    assert int((sizes * (sizes - 1)).sum()) / tiles.slots > 0.95


def test_capacity_holds_its_batch_and_knows_what_is_too_large():
    sizes = np.full(100, 18)
    capacity = TileCapacity.around(sizes)
    assert capacity.holds(sizes)
    assert not capacity.holds(np.full(110, 18))
    assert not capacity.holds(np.full(72, 25))
    tiles = Tiles.of(sizes, "cpu", capacity)
    assert len(tiles.start) == capacity.rows
    assert len(tiles.item_tile) == capacity.items
    filler = tiles.size[1800:]
    assert torch.equal(filler, torch.ones_like(filler))
