"""Molecules whose positions stay in a file are those that are in memory."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import InvalidInput, Unavailable
from gaga.core.molecules import PackedMolecules, pack
from gaga.storage.filed import FiledMolecules, file_away

SIZES = (3, 1, 0, 29, 2, 0, 181)


@pytest.fixture
def packed():
    rng = np.random.default_rng(0)
    return pack([(rng.integers(1, 10, n), rng.normal(size=(n, 3))) for n in SIZES])


@pytest.fixture
def filed(packed):
    return file_away(packed)


def assert_same(found, expected):
    assert type(found) is PackedMolecules
    for name in ("positions", "atomic_numbers", "offsets"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


CHOSEN = [[], [0], [3, 4, 5], [6, 0, 0, 3], [-1, 2, -7], list(range(7)), [5, 4, 3, 2, 1, 0]]


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("indices", CHOSEN)
def test_any_molecules_are_those_in_memory(packed, filed, indices, loaded):
    if loaded:
        np.testing.assert_array_equal(filed.positions, packed.positions)
    assert_same(filed.take(indices), packed.take(indices))
    assert ("positions" in vars(filed)) == loaded


def test_one_by_one(packed, filed):
    for i in range(-7, 7):
        for ours, theirs in zip(filed[i], packed[i], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert len(list(filed)) == len(filed) == 7
    for i in (7, -8):
        with pytest.raises(IndexError):
            filed[i]
        with pytest.raises(IndexError):
            filed.take([i])
    assert "positions" not in vars(filed)


def test_pieces_are_all_positions(packed, filed, monkeypatch):
    monkeypatch.setattr("gaga.storage.filed._PIECE", 50)
    pieces = list(filed.position_pieces())
    assert [len(piece) for piece in pieces] == [50, 50, 50, 50, 16]
    np.testing.assert_array_equal(np.concatenate(pieces), packed.positions)


def test_threads_read_at_once(packed, filed):
    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(lambda i: filed.take([i % 7]), range(400))):
            assert_same(found, packed.take([i % 7]))


def test_a_file_that_is_replaced_does_not_change_them_and_one_that_is_cut_short_is_an_error(packed, tmp_path):
    path = tmp_path / "positions"
    path.write_bytes(b"head" + packed.positions.tobytes())
    filed = FiledMolecules(os.open(path, os.O_RDONLY), 4, packed.atomic_numbers, packed.offsets)
    other = tmp_path / "other"
    other.write_bytes(b"")
    descriptor = os.open(path, os.O_RDONLY)
    other.replace(path)
    assert_same(filed.take([6]), packed.take([6]))
    filed_of_it = FiledMolecules(descriptor, 4, packed.atomic_numbers, packed.offsets)
    os.truncate(f"/proc/self/fd/{descriptor}", 100) if Path("/proc/self/fd").exists() else pytest.skip("no /proc")
    with pytest.raises(InvalidInput, match="cut short while it was read"):
        filed_of_it.take([6])
    with pytest.raises(InvalidInput, match="ends before the positions do"):
        FiledMolecules(os.open(path, os.O_RDONLY), 4, packed.atomic_numbers, packed.offsets)


def test_the_file_is_closed_with_the_last_reference(packed):
    filed = file_away(packed)
    descriptor = vars(filed)["_descriptor"]
    os.fstat(descriptor)
    del filed
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_pickled_they_are_in_memory(packed, filed):
    assert_same(pickle.loads(pickle.dumps(filed)), packed)


def test_no_molecules():
    assert_same(file_away([]).take([]), pack([]))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(Unavailable, match="cannot write"):
        file_away([], tmp_path / "missing")
