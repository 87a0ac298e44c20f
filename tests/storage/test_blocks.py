import tempfile

import numpy as np
import pytest

from gaga.core.errors import Unavailable
from gaga.storage.blocks import TEXT, Column, Held, as_bytes


@pytest.mark.parametrize(
    ("values", "row"),
    [
        (np.random.default_rng(0).normal(size=(70_000, 3)).astype(np.float32), (3,)),
        (np.arange(100_000, dtype=np.int64), ()),
        (np.arange(10) % 3 == 0, ()),
        (np.array(["", "a", "snow ☃", "x" * 300] * 3000), ()),
        (np.zeros((0, 2)), (2,)),
    ],
)
def test_what_went_in_comes_out_in_pieces_as_often_as_asked_for(tmp_path, values, row):
    with Column(tmp_path, TEXT if values.dtype.kind == "U" else values.dtype, row) as column:
        for piece in np.array_split(values, 7):
            column.append(piece)
            sum(len(part) for part in column)
        assert column.shape == values.shape
        for _ in range(2):
            pieces = list(column)
            assert [len(p) for p in pieces[:-1]] == [column.rows] * (len(pieces) - 1)
            assert all(p.dtype == values.dtype or p.dtype.kind == "U" for p in pieces)
            np.testing.assert_array_equal(np.concatenate(pieces) if pieces else values, values)
    assert list(tmp_path.iterdir()) == []


def test_other_types_are_refused(tmp_path):
    with Column(tmp_path, np.int64) as column, pytest.raises(TypeError):
        column.append(np.array([0.5]))


def test_elements_as_the_format_has_them():
    assert as_bytes(np.array([1, 258], dtype=">u2")) == b"\x01\x00\x02\x01"
    assert as_bytes(np.array(["é"])) == (2).to_bytes(8, "little") + "é".encode()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(Unavailable, match="cannot write"):
        Column(tmp_path, np.int64)


def test_texts_come_in_pieces_and_are_what_an_array_of_them_is():
    texts = tuple("Å" * (i % 7) + str(i) for i in range(10_000))
    pieces = list(Held(texts))
    assert [len(piece) for piece in pieces] == [4096, 4096, 1808]
    np.testing.assert_array_equal(np.concatenate(pieces), np.array(texts))
    assert b"".join(map(as_bytes, pieces)) == as_bytes(np.array(texts))


@pytest.mark.parametrize("shape", [(0,), (3,), (300_000,), (5000, 3, 7), (2, 400_000), (4, 0)])
def test_the_pieces_of_an_array_are_the_array(shape):
    array = np.random.default_rng(0).normal(size=shape)
    pieces = list(Held(array))
    assert b"".join(map(as_bytes, pieces)) == as_bytes(array)
    assert all(piece.nbytes <= 1 << 18 or len(piece) == 1 for piece in pieces)
