from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gaga.data.features import FeatureSpace
from gaga.models.training.features import Features, InMemoryFeatures, StreamedFeatures
from gaga.storage.on_disk import spill_to_disk
from tests.models.conftest import toy_molecules

SPACE = FeatureSpace((1, 6))
CHOSEN = np.random.default_rng(0).permutation(40)[:30]


@pytest.fixture(params=["memory", "file"])
def molecules(request):
    packed = toy_molecules(40)
    return packed if request.param == "memory" else spill_to_disk(packed)


def columns(molecules, chosen=CHOSEN, **options):
    return Features.of(molecules, SPACE, "cpu", chosen=chosen, **options)


def test_a_table_has_the_molecules_in_the_order_that_they_are_chosen_in(molecules):
    held = columns(molecules)
    assert isinstance(held, InMemoryFeatures)
    expected = SPACE.encode(molecules.take(CHOSEN))
    torch.testing.assert_close(held.values, torch.from_numpy(expected).float(), rtol=0, atol=0)
    np.testing.assert_array_equal(held.n_atoms, molecules.take(CHOSEN).n_atoms)


def test_held_and_streamed_columns_are_the_same_bit_for_bit(molecules, monkeypatch):
    monkeypatch.setattr("gaga.models.training.features._PIECE", 7)  # a table is made in pieces, a batch is not
    held, streamed = columns(molecules), columns(molecules, held_bytes=0)
    assert isinstance(streamed, StreamedFeatures)
    np.testing.assert_array_equal(held.n_atoms, streamed.n_atoms)
    for members in (np.array([7, 2, 7]), np.array([0]), np.arange(30)):
        found = [it.columns(it.fetch(members)) for it in (held, streamed)]
        assert found[0].shape == (int(held.n_atoms[members].sum()), SPACE.columns)
        assert torch.equal(*found)


def test_what_does_not_fit_is_streamed(molecules):
    size = 4 * SPACE.columns * int(molecules.take(CHOSEN).n_atoms.sum())
    assert isinstance(columns(molecules, held_bytes=size), InMemoryFeatures)
    assert isinstance(columns(molecules, held_bytes=size - 1), StreamedFeatures)


def test_positions_of_a_streamed_file_stay_there():
    filed = spill_to_disk(toy_molecules(40))
    it = columns(filed, held_bytes=0)
    it.fetch(np.arange(5))
    assert "positions" not in vars(filed)


def test_batches_may_be_read_by_several_threads_at_once(molecules):
    it = columns(molecules, held_bytes=0)
    batches = [np.array([k % 30, (7 * k) % 30]) for k in range(200)]
    with ThreadPoolExecutor(4) as pool:
        for members, found in zip(batches, pool.map(it.fetch, batches), strict=True):
            assert torch.equal(found, it.fetch(members))


def test_all_molecules_unless_some_are_chosen(molecules):
    assert len(columns(molecules, None)) == 40
    assert len(columns(molecules, CHOSEN[:0])) == 0
