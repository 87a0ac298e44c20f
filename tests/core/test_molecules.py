"""Packed molecules hold what lists of molecules hold."""

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, of_one_element, offsets_of, pack

SIZES = (3, 1, 0, 29, 2)


@pytest.fixture
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.integers(1, 10, n), rng.normal(size=(n, 3))) for n in SIZES]


def test_pack_and_getitem_are_inverse(pairs) -> None:
    packed = pack(pairs)
    assert len(packed) == len(SIZES)
    assert packed.n_atoms.tolist() == list(SIZES)
    for (z, x), (packed_z, packed_x) in zip(pairs, packed, strict=True):
        assert packed_z.dtype == np.uint8
        assert packed_x.dtype == np.float32
        np.testing.assert_array_equal(packed_z, z)
        np.testing.assert_array_equal(packed_x, x.astype(np.float32))


def test_negative_indices_count_from_the_end(pairs) -> None:
    packed = pack(pairs)
    np.testing.assert_array_equal(packed[-1][1], packed[len(SIZES) - 1][1])
    np.testing.assert_array_equal(packed[-len(SIZES)][1], packed[0][1])
    for i in (len(SIZES), -len(SIZES) - 1):
        with pytest.raises(IndexError):
            packed[i]


@pytest.mark.parametrize("indices", [[4, 0, 0, 3], [], [2], np.array([1, -1]), range(5)])
def test_take_is_indexing(pairs, indices) -> None:
    packed = pack(pairs)
    taken = packed.take(indices)
    assert len(taken) == len(indices)
    for i, (z, x) in zip(indices, taken, strict=True):
        np.testing.assert_array_equal(z, packed[i][0])
        np.testing.assert_array_equal(x, packed[i][1])


def test_nothing_packs_to_nothing() -> None:
    packed = pack([])
    assert (len(packed), len(packed.positions), packed.offsets.tolist()) == (0, 0, [0])


def test_offsets() -> None:
    assert offsets_of([2, 0, 3]).tolist() == [0, 2, 2, 5]
    assert offsets_of([2]).dtype == np.int64


@pytest.mark.parametrize("offsets", [[], [0], [1, 3], [0, 2], [0, 4], [0, 2, 1, 3]])
def test_wrong_offsets_are_refused(offsets: list[int]) -> None:
    with pytest.raises(InvalidInput, match="offsets"):
        PackedMolecules(np.zeros((3, 3), np.float32), np.ones(3, np.uint8), np.array(offsets, np.int64))


def test_molecules_of_one_element_are_counted_by_size_and_element():
    numbers = [[1, 1], [16] * 8, [], [1, 8, 1], [53, 53], [1, 1], [6], []]
    found = of_one_element(pack((z, np.zeros((len(z), 3))) for z in numbers))
    assert found.tolist() == [[1, 6, 1], [2, 1, 2], [2, 53, 1], [8, 16, 1]]
    assert of_one_element(pack([])).shape == of_one_element(pack([([1, 6], np.zeros((2, 3)))])).shape == (0, 3)
