"""Molecules whose positions stay in a file are those that are in memory."""

import os
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import InvalidInput, Unavailable
from gaga.core.molecules import PackedMolecules, pack
from gaga.storage.on_disk import BLOCK, Checksums, MoleculesOnDisk, PlainRows, spill_to_disk

SIZES = (3, 1, 0, 29, 2, 0, 181, 2 * BLOCK + 5, 7)


@pytest.fixture
def packed():
    rng = np.random.default_rng(0)
    return pack([(rng.integers(1, 10, n), rng.normal(size=(n, 3))) for n in SIZES])


@pytest.fixture(params=["nameless", "with checksums"])
def molecules(request, packed, tmp_path):
    return spill_to_disk(packed) if request.param == "nameless" else opened(tmp_path / "positions", packed)


def opened(path, packed):
    """The positions in a file of that name, which is written if it is not there, with their checksums."""
    checksums = Checksums()
    for piece in np.array_split(packed.positions, 5):
        checksums.add(piece)
    if not path.exists():
        path.write_bytes(b"head" + packed.positions.tobytes())
    read = PlainRows(os.open(path, os.O_RDONLY), 4, len(packed.positions), checksums.all())
    return MoleculesOnDisk(read, packed.atomic_numbers, packed.offsets)


def assert_same(found, expected):
    assert type(found) is PackedMolecules
    for name in ("positions", "atomic_numbers", "offsets"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_checksums_do_not_depend_on_pieces(packed):
    content = packed.positions.tobytes()
    expected = [zlib.crc32(content[k : k + 12 * BLOCK]) for k in range(0, len(content), 12 * BLOCK)]
    for n in (1, 2, 50):
        checksums = Checksums()
        for piece in np.array_split(packed.positions, n):
            checksums.add(piece)
        assert checksums.all().tolist() == expected


CHOSEN = [[], [0], [3, 4, 5], [6, 0, 0, 3], [-1, 2, -7], list(range(9)), list(range(8, -1, -1)), [7], [8, 7]]


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("indices", CHOSEN)
def test_any_molecules_are_those_in_memory(packed, molecules, indices, loaded):
    if loaded:
        np.testing.assert_array_equal(molecules.positions, packed.positions)
    assert_same(molecules.take(indices), packed.take(indices))
    assert ("positions" in vars(molecules)) == loaded


@pytest.mark.parametrize("indices", CHOSEN)
def test_a_large_selection_stays_in_the_file(molecules, packed, indices, monkeypatch):
    chosen = np.array(indices, dtype=np.int64)
    assert_same(molecules.select(chosen), packed.take(indices))
    monkeypatch.setattr("gaga.storage.on_disk._IN_MEMORY", -1)
    monkeypatch.setattr("gaga.storage.on_disk._MOLECULES", 2)
    part = molecules.select(chosen)
    assert isinstance(part, MoleculesOnDisk)
    assert_same(part.take(np.arange(len(part))), packed.take(indices))
    again = np.arange(len(part))[::-2]
    assert_same(part.select(again).take(np.arange(len(again))), packed.take(chosen[again]))
    np.testing.assert_array_equal(part.positions, packed.take(indices).positions)


def test_one_by_one(packed, molecules):
    for i in range(-9, 9):
        for ours, theirs in zip(molecules[i], packed[i], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert len(list(molecules)) == len(molecules) == 9
    for i in (9, -10):
        with pytest.raises(IndexError):
            molecules[i]
        with pytest.raises(IndexError):
            molecules.take([i])
    assert "positions" not in vars(molecules)


def test_pieces_are_all_positions(packed, molecules, monkeypatch):
    monkeypatch.setattr("gaga.storage.on_disk._PIECE", 200)
    pieces = list(molecules.position_pieces())
    assert [len(piece) for piece in pieces] == [200, 200, 200, 140]
    np.testing.assert_array_equal(np.concatenate(pieces), packed.positions)


def test_threads_read_at_once(packed, molecules):
    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(lambda i: molecules.take([i % 9]), range(400))):
            assert_same(found, packed.take([i % 9]))


@pytest.mark.parametrize("byte", [4, 3000, 12 * BLOCK + 3, 12 * BLOCK + 4, 8000, -1])
def test_a_changed_byte_is_noticed_if_it_is_read(packed, tmp_path, byte):
    opened(tmp_path / "positions", packed)
    content = bytearray((tmp_path / "positions").read_bytes())
    content[byte] ^= 1
    (tmp_path / "positions").write_bytes(content)
    damaged = opened(tmp_path / "positions", packed)
    block = (byte % len(content) - 4) // (12 * BLOCK)
    for i in range(9):
        first, last = packed.offsets[i], packed.offsets[i + 1]
        if first < last and first // BLOCK <= block <= (last - 1) // BLOCK:
            with pytest.raises(ValueError, match="differ from their checksums"):
                damaged.take([i])
        else:
            assert_same(damaged.take([i]), packed.take([i]))
    with pytest.raises(ValueError, match="differ from their checksums"):
        _ = damaged.positions


def test_a_file_that_is_replaced_does_not_change_them_and_one_that_is_cut_short_is_an_error(packed, tmp_path):
    path = tmp_path / "positions"
    molecules = opened(path, packed)
    other = tmp_path / "other"
    other.write_bytes(b"")
    descriptor = os.open(path, os.O_RDONLY)
    other.replace(path)
    assert_same(molecules.take([6]), packed.take([6]))
    read = PlainRows(descriptor, 4, len(packed.positions))
    os.truncate(f"/proc/self/fd/{descriptor}", 100) if Path("/proc/self/fd").exists() else pytest.skip("no /proc")
    with pytest.raises(InvalidInput, match="cut short while it was read"):
        read(30, 60)
    with pytest.raises(InvalidInput, match="ends before the positions do"):
        opened(path, packed)


def test_the_file_is_closed_with_the_last_reference(packed):
    molecules = spill_to_disk(packed)
    descriptor = vars(molecules)["_read"]._descriptor
    os.fstat(descriptor)
    del molecules
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_pickled_they_are_in_memory(packed, molecules):
    assert_same(pickle.loads(pickle.dumps(molecules)), packed)


def test_no_molecules():
    assert_same(spill_to_disk([]).take([]), pack([]))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(Unavailable, match="cannot write"):
        spill_to_disk([], tmp_path / "missing")
