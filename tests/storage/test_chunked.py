"""Molecules whose positions are compressed in chunks of a file are those that are in memory."""

import os
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, pack
from gaga.storage.chunked import CHUNK, ChunkedMolecules, Chunks, Encoder, decode, encode, encoded, new_array, places_of

LARGEST = 1e5


@pytest.fixture(scope="module")
def packed():
    """Molecules of 1 to 181 atoms, one of none, over several chunks; the last chunk is not full."""
    rng = np.random.default_rng(0)
    sizes = [3, 1, 0, 29, *rng.integers(1, 182, 60), 2 * CHUNK + 5, 7]
    return pack([(rng.integers(1, 10, n), rng.normal(size=(n, 3))) for n in sizes])


@pytest.fixture
def path(packed, tmp_path):
    path = tmp_path / "molecules.h5"
    with h5py.File(path, "w") as file:
        write = new_array(file, "positions", len(packed.positions))
        for chunk in encoded(np.array_split(packed.positions, 17)):
            write(chunk)
    return path


def opened(path, packed):
    with h5py.File(path) as file:
        places, n_rows = places_of(file["positions"]), len(file["positions"])
    chunks = Chunks(os.open(path, os.O_RDONLY), places, n_rows, largest=LARGEST, name="it")
    return ChunkedMolecules(chunks, packed.atomic_numbers, packed.offsets)


@pytest.fixture
def molecules(path, packed):
    return opened(path, packed)


def assert_same(found, expected):
    assert type(found) is PackedMolecules
    for name in ("positions", "atomic_numbers", "offsets"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n", [0, 1, CHUNK - 1, CHUNK])
def test_a_chunk_is_its_rows_and_zeros(n):
    rows = np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32)
    found = decode(encode(rows))
    np.testing.assert_array_equal(found[:n], rows)
    assert found.shape == (CHUNK, 3)
    assert not found[n:].any()


def test_hdf5_reads_the_chunks_with_its_own_filters(path, packed):
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["positions"][()], packed.positions)
        assert file["positions"].compression == "gzip"
        assert file["positions"].shuffle


def test_pieces_of_any_size_make_the_same_chunks(packed):
    one, many = Encoder(), Encoder()
    expected = one.add(packed.positions) + one.last()
    found = [chunk for row in np.array_split(packed.positions, 50) for chunk in many.add(row)]
    assert found + many.last() == expected


CHOSEN = [[], [0], [3, 4, 5], [64, 0, 0, 3], [-1, 2, -7], list(range(66)), list(range(65, -1, -1))]


@pytest.mark.parametrize("indices", CHOSEN)
def test_any_molecules_are_those_in_memory(molecules, packed, indices):
    assert_same(molecules.take(indices), packed.take(indices))
    assert "positions" not in vars(molecules)


@pytest.mark.parametrize("indices", CHOSEN)
def test_a_selection_stays_in_the_file(molecules, packed, indices):
    chosen = np.array(indices, dtype=np.int64)
    part = molecules.select(chosen)
    assert isinstance(part, ChunkedMolecules)
    assert_same(part.take(np.arange(len(part))), packed.take(indices))
    again = np.arange(len(part))[::-2]
    assert_same(part.select(again).take(np.arange(len(again))), packed.take(chosen[again]))
    np.testing.assert_array_equal(part.positions, packed.take(indices).positions)


def test_one_by_one_and_in_pieces(molecules, packed):
    for i in (0, 2, 5, 64, -1):
        np.testing.assert_array_equal(molecules[i][1], packed[i][1])
    for ours, theirs in zip(molecules, packed, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    assert [len(piece) for piece in molecules.pieces(25)] == [25, 25, 16]
    np.testing.assert_array_equal(np.concatenate(list(molecules.position_pieces())), packed.positions)
    np.testing.assert_array_equal(molecules.positions, packed.positions)
    for i in (66, -67):
        with pytest.raises(IndexError):
            molecules[i]
        with pytest.raises(IndexError):
            molecules.take([i])


def test_threads_read_at_once_through_a_small_cache(molecules, packed, monkeypatch):
    monkeypatch.setattr("gaga.storage.chunked._CACHED", 2)
    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(lambda i: molecules.take([i % 66]), range(400))):
            assert_same(found, packed.take([i % 66]))


def test_a_file_that_is_replaced_does_not_change_them(molecules, path, packed, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"")
    other.replace(path)
    assert_same(molecules.take([64]), packed.take([64]))


def test_pickled_they_are_in_memory(molecules, packed):
    assert_same(pickle.loads(pickle.dumps(molecules)), packed)


@pytest.mark.parametrize("byte", range(0, 9000, 500))
def test_any_changed_byte_of_a_chunk_is_noticed_where_it_is_read(path, packed, byte):
    with h5py.File(path) as file:
        place, size = places_of(file["positions"])[1]
    content = bytearray(path.read_bytes())
    content[int(place) + byte % int(size)] ^= 1
    path.write_bytes(content)
    molecules = opened(path, packed)
    assert_same(molecules.take([0]), packed.take([0]))
    with pytest.raises(InvalidInput, match="it is damaged"):
        molecules.take(np.arange(len(molecules)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -2 * LARGEST])
def test_what_is_no_position_is_noticed(packed, tmp_path, value):
    positions = packed.positions.copy()
    positions[5, 1] = value
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write = new_array(file, "positions", len(positions))
        for chunk in encoded([positions]):
            write(chunk)
    with pytest.raises(InvalidInput, match="not finite, or too far away"):
        opened(tmp_path / "x.h5", packed).take([3])


@pytest.mark.parametrize("content", [b"", b"no zlib", encode(np.zeros((1, 3), np.float32))[:-1]])
def test_what_is_no_chunk_is_refused(content):
    with pytest.raises(ValueError):
        decode(content)


def test_a_bomb_of_a_chunk_is_not_unpacked():
    with pytest.raises(ValueError, match="another size"):
        decode(zlib.compress(bytes(1 << 26)))


def test_a_missing_chunk_and_another_layout_are_noticed(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write = new_array(file, "short", 3 * CHUNK)
        write(encode(np.zeros((CHUNK, 3), np.float32)))
        with pytest.raises(ValueError, match="lacks some of its chunks"):
            places_of(file["short"])
        for name, options in {
            "plain": {"data": np.zeros((9, 3), np.float32)},
            "gzip": {"data": np.zeros((CHUNK, 3), np.float32), "chunks": (CHUNK, 3), "compression": "gzip"},
            "double": {"data": np.zeros((CHUNK, 3)), "chunks": (CHUNK, 3), "compression": "gzip", "shuffle": True},
        }.items():
            assert places_of(file.create_dataset(name, **options)) is None


def test_lengths_that_differ_are_refused(path, packed):
    with pytest.raises(InvalidInput, match="differ in length"):
        opened(path, packed.take(np.arange(10)))
