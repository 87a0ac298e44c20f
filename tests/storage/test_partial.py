import json
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import Conflict, InvalidInput, Unavailable
from gaga.storage.partial import NO_PARTIALS, PartialFile

RUN = {"alpha": 0.05, "steps": (1, 2), "data": "abc"}
PIECES = {
    "a": {"n": np.array(3), "flags": np.array([True, False]), "sums": np.arange(6.0).reshape(2, 3)},
    "stage/b": {"none": np.zeros((0, 2), np.float32), "bits": np.arange(200, dtype=np.uint8)},
    "c": {"x": np.array([np.nan, np.inf, -0.0])},
}


def open_journal(path, run=RUN):
    return PartialFile(path, run, remedy="start over with `replace=True`")


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(found[name], values)


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".gaga.h5.unfinished"


def written(path):
    """The bytes of a journal of all pieces, and where each record ends."""
    ends = []
    with open_journal(path) as journal:
        for name, piece in PIECES.items():
            journal.put(name, piece)
            ends.append(path.stat().st_size)
    return path.read_bytes(), ends


def test_pieces_come_back_after_a_cut_at_any_byte(path):
    data, ends = written(path)
    for cut in range(data.index(b"\n") + 1, len(data) + 1):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        with open_journal(path) as journal:
            assert len(journal) == whole
            for i, (name, piece) in enumerate(PIECES.items()):
                assert (name in journal) == (i < whole)
                if i < whole:
                    assert_same(journal.get(name), piece)
                else:
                    assert journal.get(name) is None
                    journal.put(name, piece)
        assert path.read_bytes() == data


def test_a_flipped_bit_anywhere_is_noticed_and_ends_the_journal(path):
    data, ends = written(path)
    starts = [data.index(b"\n") + 1, *ends]
    for place in range(starts[0], len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        with open_journal(path) as journal:
            assert len(journal) == sum(start <= place for start in starts) - 1


def test_zeros_behind_the_records_are_no_records(path):
    data, _ = written(path)
    path.write_bytes(data + bytes(4096))
    with open_journal(path) as journal:
        assert len(journal) == len(PIECES)
        journal.put("d", PIECES["a"])
    assert path.read_bytes()[: len(data)] == data
    with open_journal(path) as journal:
        assert_same(journal.get("d"), PIECES["a"])


def test_a_run_that_finished_nothing_leaves_nothing(path):
    with open_journal(path) as journal:
        assert (len(journal), journal.get("a")) == (0, None)
    assert not path.exists()


def test_a_file_that_was_hardly_begun_is_begun_again(path):
    for begun in (b"", json.dumps(RUN).encode()[:9]):
        path.write_bytes(begun)
        with open_journal(path) as journal:
            assert len(journal) == 0
            journal.put("a", PIECES["a"])
        with open_journal(path) as journal:
            assert_same(journal.get("a"), PIECES["a"])
        path.unlink()


def test_another_runs_journal_is_refused_and_kept(path):
    data, _ = written(path)
    with pytest.raises(Conflict, match="started with another alpha, steps") as error:
        open_journal(path, {**RUN, "alpha": 0.1, "steps": (1,)})
    assert "`replace=True`" in error.value.line
    assert path.read_bytes() == data
    path.write_bytes(b"hello\n")
    with pytest.raises(InvalidInput, match="not an unfinished run"):
        open_journal(path)
    assert path.read_bytes() == b"hello\n"


def test_stages_have_names_of_their_own(path):
    with open_journal(path) as journal:
        for stage in ("x", "y"):
            journal.subset(stage).put("0", {"stage": np.array(ord(stage))})
        assert [int(journal.subset(s).get("0")["stage"]) for s in "xy"] == [ord("x"), ord("y")]
        assert "0" in journal.subset("x")
        assert "0" not in journal
        assert journal.subset("z").get("0") is None


def test_what_keeps_none_has_none():
    stage = NO_PARTIALS.subset("x")
    stage.put("0", PIECES["a"])
    assert stage.get("0") is None
    assert "0" not in stage


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line():
    with (
        open_journal(Path("/dev/full")) as journal,
        pytest.raises(Unavailable, match=r"cannot write /dev/full: No space"),
    ):
        journal.put("a", PIECES["a"])
