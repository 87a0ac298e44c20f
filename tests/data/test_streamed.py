"""A prepared file written block by block is the one that is written at once, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import time
import zlib

import h5py
import numpy as np
import pytest

from gaga.core.errors import Conflict, InvalidInput
from gaga.core.molecules import pack
from gaga.data import load_dataset, streamed
from gaga.data.dataset import Dataset, fingerprint_of
from gaga.data.loading import verify
from gaga.data.prepared import read_prepared, write_prepared
from gaga.data.splits import content_split
from gaga.data.streamed import Block, PreparedWriter, unfinished
from gaga.storage.locks import locked
from gaga.storage.on_disk import Checksums, MoleculesOnDisk
from gaga.storage.partial import PartialFile

SIZES = np.array([3, 1, 2, 4, 1, 1, 5, 3])  # conformers of each molecule
FIRST = np.concatenate([[0], np.cumsum(SIZES)])


@pytest.fixture(scope="module")
def molecules():
    rng = np.random.default_rng(0)
    sizes = np.repeat(rng.integers(1, 400, len(SIZES)), SIZES)
    return pack([(rng.integers(1, 9, n), rng.normal(size=(n, 3))) for n in sizes])


def blocks(molecules, cuts=(2, 3, 7), sizes=SIZES):
    """The molecules in blocks, cut before these."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    for low, high in zip((0, *cuts), (*cuts, len(sizes)), strict=True):
        here = np.arange(ends[low], ends[high])
        yield Block(
            molecules=molecules.take(here), ids=here + 100, sizes=sizes[low:high],
            smiles=tuple(f"C{i}" for i in range(low, high)), skipped={"no atoms": 1}, notes={"seen": 2},
            place={"at": high},
        )  # fmt: skip


def write(path, some, run=None, **words):
    with PreparedWriter(path, run or {"a": 1}) as writer:
        for block in some:
            writer.append(block)
        return writer.publish(name="x", origin="y", vocabulary=None, **words)


def test_what_is_written_comes_back(molecules, tmp_path):
    written = write(tmp_path / "x.h5", blocks(molecules))
    data = load_dataset(tmp_path / "x.h5")
    assert isinstance(data.molecules, MoleculesOnDisk)
    np.testing.assert_array_equal(data.positions, molecules.positions)
    np.testing.assert_array_equal(data.atomic_numbers, molecules.atomic_numbers)
    np.testing.assert_array_equal(data.offsets, molecules.offsets)
    np.testing.assert_array_equal(data.groups, np.repeat(np.arange(8), SIZES))
    np.testing.assert_array_equal(data.ids, np.arange(20) + 100)
    assert list(data.smiles) == [f"C{i}" for i in data.groups]
    assert data.vocabulary == tuple(range(1, 9))
    assert (written.conformers, written.molecules, written.atoms) == (20, 8, len(molecules.positions))
    assert dict(data.skipped) == dict(written.skipped) == {"no atoms": 4}
    assert dict(written.notes) == {"seen": 8}
    splits = content_split(molecules, groups=data.groups)
    for name, members in splits.items():
        np.testing.assert_array_equal(data.splits[name], members)
    expected = fingerprint_of([molecules.positions], [molecules.atomic_numbers], molecules.offsets, splits, data.groups)
    assert written.fingerprint == data.fingerprint == expected
    assert [file.name for file in tmp_path.iterdir()] == ["x.h5"]


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 4, 5, 6, 7), (4,), (0, 0, 4, 8)])
def test_blocks_do_not_matter(cuts, molecules, tmp_path):
    first, other = write(tmp_path / "a.h5", blocks(molecules)), write(tmp_path / "b.h5", blocks(molecules, cuts))
    assert first.fingerprint == other.fingerprint
    assert list(load_dataset(tmp_path / "b.h5").smiles) == list(load_dataset(tmp_path / "a.h5").smiles)


def test_one_conformer_each_is_the_data_set_that_is_written_at_once(molecules, tmp_path):
    ones = np.ones(20, dtype=np.int64)
    written = write(tmp_path / "a.h5", blocks(molecules, (5, 11), ones))
    plain = Dataset(
        name="x", molecules=molecules, ids=np.arange(20), splits=content_split(molecules), vocabulary=tuple(range(1, 9))
    )
    assert written.fingerprint == plain.fingerprint
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["version"] == 3
        assert "groups" not in file
    write_prepared(load_dataset(tmp_path / "a.h5"), tmp_path / "again.h5")
    again = load_dataset(tmp_path / "again.h5")
    assert again.fingerprint == plain.fingerprint
    assert isinstance(again.molecules, MoleculesOnDisk)
    assert list(again.smiles) == [f"C{i}" for i in range(20)]


def test_groups_survive_being_written_again_and_being_cut(molecules, tmp_path):
    write(tmp_path / "a.h5", blocks(molecules))
    data = load_dataset(tmp_path / "a.h5")
    write_prepared(data, tmp_path / "b.h5")
    assert load_dataset(tmp_path / "b.h5").fingerprint == data.fingerprint
    part = data.subset("train")
    write_prepared(part, tmp_path / "c.h5")
    back = load_dataset(tmp_path / "c.h5")
    np.testing.assert_array_equal(back.groups, part.groups)
    assert list(back.smiles) == list(part.smiles) == [data.smiles[i - 100] for i in part.ids]


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_an_unfinished_file_goes_on_behind_its_last_block(kept, molecules, tmp_path):
    path, expected = tmp_path / "x.h5", write(tmp_path / "other.h5", blocks(molecules))
    with PreparedWriter(path, {"a": 1}) as writer:
        for block in list(blocks(molecules))[:kept]:
            writer.append(block)
    assert not path.exists()
    with PreparedWriter(path, {"a": 1}) as writer:
        assert writer.place == {"at": (2, 3, 7)[kept - 1]}
        for block in list(blocks(molecules))[kept:]:
            writer.append(block)
        assert writer.publish(name="x", origin="y", vocabulary=None).fingerprint == expected.fingerprint
    assert not unfinished(path).exists()


def test_any_torn_tail_is_dropped(molecules, tmp_path):
    path, whole = tmp_path / "x.h5", list(blocks(molecules))
    expected = write(tmp_path / "other.h5", blocks(molecules))
    with PreparedWriter(path, {"a": 1}) as writer:
        for block in whole[:3]:
            writer.append(block)
    content = unfinished(path).read_bytes()
    for length in range(len(content) - 1, 0, -1777):
        unfinished(path).write_bytes(content[:length])
        with PreparedWriter(path, {"a": 1}) as writer:
            done = {None: 0, 2: 1, 3: 2, 7: 3}[writer.place.get("at")]
            assert done < 3
            for block in whole[done:]:
                writer.append(block)
            assert writer.publish(name="x", origin="y", vocabulary=None).fingerprint == expected.fingerprint


def test_another_run_is_refused(molecules, tmp_path):
    with PreparedWriter(tmp_path / "x.h5", {"a": 1}) as writer:
        writer.append(next(blocks(molecules)))
    with pytest.raises(Conflict, match="another a"):
        PreparedWriter(tmp_path / "x.h5", {"a": 2})
    with pytest.raises(Conflict, match="another split_seed"):
        PreparedWriter(tmp_path / "x.h5", {"a": 1}, split_seed=3)


@pytest.mark.parametrize("kept", [1, 3, 4])
def test_an_unfinished_file_of_an_earlier_version_is_continued(kept, molecules, tmp_path):
    """It has compressed chunks of positions, of 1,024 rows each, and with each block what fills none."""
    whole = list(blocks(molecules))
    expected = write(tmp_path / "other.h5", whole)
    path = tmp_path / "x.h5"
    with PreparedWriter(path, {"a": 1}) as writer:
        for block in whole[:kept]:
            writer.append(block)
        rest = [writer._journal.get(f"rest {k}") for k in range(kept)]
    unfinished(path).unlink()
    with PartialFile(unfinished(path), {"a": 1, "split_seed": 0}, remedy="") as earlier:
        tail = np.zeros((0, 3), np.float32)
        for k, block in enumerate(whole[:kept]):
            tail = np.concatenate([tail, block.molecules.positions])
            full = [tail[i : i + 1024] for i in range(0, len(tail) - len(tail) % 1024, 1024)]
            chunks = [zlib.compress(rows.view(np.uint8).reshape(-1, 4).T.tobytes(), 4) for rows in full]
            tail = tail[1024 * len(chunks) :]
            content = np.frombuffer(b"".join(chunks), np.uint8)
            earlier.put(f"chunks {k}", {"content": content, "sizes": np.array([*map(len, chunks)], np.int64)})
            earlier.put(f"rest {k}", {**rest[k], "tail": tail})
        earlier.put(f"chunks {kept}", {"content": np.zeros(5, np.uint8), "sizes": np.array([5])})  # killed after it
    with PreparedWriter(path, {"a": 1}) as writer:
        for block in whole[kept:]:
            writer.append(block)
        assert writer.publish(name="x", origin="y", vocabulary=None).fingerprint == expected.fingerprint
    np.testing.assert_array_equal(load_dataset(path).positions, molecules.positions)


def test_a_run_that_another_process_is_at_is_not_given_up(molecules, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "locked", lambda path, timeout: locked(path, timeout=0.1))
    with PreparedWriter(tmp_path / "x.h5", {"a": 1}) as writer:
        for block in blocks(molecules):
            writer.append(block)
        with pytest.raises(Conflict, match="another gaga process"):
            PreparedWriter(tmp_path / "x.h5", {"a": 1}, resume=False, start_over=True)
        assert writer.publish(name="x", origin="y", vocabulary=None).molecules == len(SIZES)


def test_a_given_split_is_of_molecules(molecules, tmp_path):
    write(
        tmp_path / "x.h5",
        blocks(molecules),
        splits={"train": np.array([3, 0]), "valid": np.array([7]), "test": np.array([1])},
    )
    data = load_dataset(tmp_path / "x.h5")
    assert data.splits["train"].tolist() == [6, 7, 8, 9, 0, 1, 2]
    assert data.splits["valid"].tolist() == [17, 18, 19]


def test_no_molecule_and_blocks_that_cannot_be_are_refused(molecules, tmp_path):
    with pytest.raises(InvalidInput, match="no usable molecule"):
        write(tmp_path / "x.h5", [])
    block = next(blocks(molecules))
    for wrong in ({"sizes": np.array([1])}, {"ids": np.arange(2)}, {"sizes": np.array([4, 0])}):
        with pytest.raises(InvalidInput, match="not those of its molecules"):
            write(tmp_path / "x.h5", [Block(**{**vars(block), **wrong})])


CHILD = """
import sys, time
from pathlib import Path
from tests.data.test_streamed import blocks, pack, PreparedWriter, np
molecules = pack([(np.full(50, 6), np.random.default_rng(i).normal(size=(50, 3))) for i in range(400)])
with PreparedWriter(Path(sys.argv[1]), {}) as writer:
    print("begun", flush=True)
    done = int(writer.place.get("at", 0))
    for block in list(blocks(molecules, tuple(range(10, 400, 10)), np.ones(400, dtype=np.int64)))[done // 10:]:
        writer.append(block)
        time.sleep(0.01)
    print(writer.publish(name="x", origin="y", vocabulary=None).fingerprint)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(tmp_path):
    def start(name):
        return subprocess.Popen([sys.executable, "-c", CHILD, tmp_path / name], stdout=subprocess.PIPE, text=True)

    expected = start("whole.h5").communicate()[0].split()[-1]
    for wait in (0.05, 0.1, 0.15):
        child = start("killed.h5")
        assert child.stdout.readline() == "begun\n"
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert not (tmp_path / "killed.h5").exists()
        assert unfinished(tmp_path / "killed.h5").exists()
    assert start("killed.h5").communicate()[0].split()[-1] == expected
    assert read_prepared(tmp_path / "killed.h5").fingerprint == expected


def test_a_large_file_is_believed_and_verified_when_asked(molecules, tmp_path, monkeypatch):
    write(tmp_path / "x.h5", blocks(molecules))
    monkeypatch.setattr("gaga.data.prepared.CHECKED_AT_OPENING", 100)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["positions"][0, 0] += 1
    data = load_dataset(tmp_path / "x.h5")
    assert len(data.molecules[len(data) - 1][0])  # in another block
    for read in (lambda: data.molecules[0], lambda: verify(data)):
        with pytest.raises(InvalidInput, match=r"x\.h5 cannot be read .*: its positions differ from their checksums"):
            read()
    _renew_checksums(tmp_path / "x.h5")
    data = load_dataset(tmp_path / "x.h5")
    assert data.subset(1.0).fingerprint != data.fingerprint
    with pytest.raises(InvalidInput, match="differs from its fingerprint"):
        verify(data)
    monkeypatch.undo()
    with pytest.raises(InvalidInput, match="fingerprint"):
        load_dataset(tmp_path / "x.h5")


def _renew_checksums(path):
    with h5py.File(path, "r+") as file:
        checksums = Checksums()
        checksums.add(file["positions"][()])
        file["checksums"][...] = checksums.all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -2e5])
def test_what_is_no_position_is_noticed_if_it_is_read(value, molecules, tmp_path, monkeypatch):
    write(tmp_path / "x.h5", blocks(molecules))
    monkeypatch.setattr("gaga.data.prepared.CHECKED_AT_OPENING", 100)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["positions"][0, 1] = value
    _renew_checksums(tmp_path / "x.h5")
    with pytest.raises(InvalidInput, match="not finite, or too far away"):
        load_dataset(tmp_path / "x.h5").molecules.take([0])


@pytest.mark.parametrize("large", [False, True])
def test_compressed_positions_of_versions_1_and_2_are_read(large, molecules, tmp_path, monkeypatch):
    path = tmp_path / "x.h5"
    written = write(path, blocks(molecules))
    with h5py.File(path, "r+") as file:
        del file["positions"], file["checksums"]
        file.create_dataset(
            "positions", data=molecules.positions, chunks=(1024, 3), compression=4, shuffle=True, maxshape=(10**5, 3)
        )
        file.attrs["version"] = 2
    if large:
        monkeypatch.setattr("gaga.data.prepared.CHECKED_AT_OPENING", 100)
    data = load_dataset(path)
    assert isinstance(data.molecules, MoleculesOnDisk) == large
    np.testing.assert_array_equal(data.molecules.take([7, 3, 4]).positions, molecules.take([7, 3, 4]).positions)
    verify(data)
    assert data.fingerprint == written.fingerprint
    with h5py.File(path, locking=False) as file:
        chunk = file["positions"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="cannot be read as a prepared data set"):
        load_dataset(path).molecules.take([0])


def _first_group(file):
    file["groups"][0] = 1


def _jump(file):
    file["groups"][-1] = 12


def _negative(file):
    file["groups"][5] = -1


def _cut(file):
    file["splits/train"][0], file["splits/test"][0] = file["splits/test"][0], file["splits/train"][0]


def _short(file):
    values = file["groups"][:-1]
    del file["groups"]
    file["groups"] = values


def _twice(file):
    file.attrs["vocabulary"] = np.array([*range(1, 9), 3])


@pytest.mark.parametrize("lie", [_first_group, _jump, _negative, _cut, _short, _twice])
def test_forged_groups_and_vocabularies_are_refused(lie, molecules, tmp_path, monkeypatch):
    path = tmp_path / "x.h5"
    write(path, blocks(molecules))
    with h5py.File(path, "r+") as file:
        lie(file)
    monkeypatch.setattr("gaga.data.prepared.CHECKED_AT_OPENING", 100)  # where no fingerprint would find it
    with pytest.raises(InvalidInput, match=r"cannot be read as a prepared|one group for each"):
        read_prepared(path)
