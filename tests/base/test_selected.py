"""Selected molecules are those that `take` copies."""

import pickle

import numpy as np
import pytest

from gaga.base.filed import file_away
from gaga.base.molecules import PackedMolecules, pack
from gaga.base.selected import SelectedMolecules

CHOSEN = np.array([5, 0, 3, 3, 6])


@pytest.fixture(params=["memory", "file"])
def whole(request):
    rng = np.random.default_rng(0)
    packed = pack([(rng.integers(1, 10, n), rng.normal(size=(n, 3))) for n in (3, 1, 4, 29, 2, 7, 181)])
    return packed if request.param == "memory" else file_away(packed)


def assert_same(found, expected):
    for name in ("positions", "atomic_numbers", "offsets", "n_atoms"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_they_are_those_that_take_copies(whole):
    selected, expected = SelectedMolecules(whole, CHOSEN), whole.take(CHOSEN)
    assert len(selected) == 5
    for indices in ([], [0], [-1, 2], [4, 0, 0]):
        assert_same(selected.take(indices), expected.take(indices))
    for i in (0, 3, -1):
        for ours, theirs in zip(selected[i], expected[i], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert len(list(selected)) == 5
    assert not {"positions", "atomic_numbers"} & vars(selected).keys(), "nothing was copied"
    assert_same(selected, expected)
    assert type(pickle.loads(pickle.dumps(selected))) is PackedMolecules


def test_pieces_are_all_positions(whole, monkeypatch):
    monkeypatch.setattr("gaga.base.selected._PIECE", 2)
    selected = SelectedMolecules(whole, CHOSEN)
    pieces = list(selected.position_pieces())
    assert [len(piece) for piece in pieces] == [10, 58, 181]
    np.testing.assert_array_equal(np.concatenate(pieces), whole.take(CHOSEN).positions)


def test_none_and_too_many(whole):
    assert SelectedMolecules(whole, CHOSEN[:0]).positions.shape == (0, 3)
    for i in (5, -6):
        with pytest.raises(IndexError):
            SelectedMolecules(whole, CHOSEN)[i]
        with pytest.raises(IndexError):
            SelectedMolecules(whole, CHOSEN).take([i])
