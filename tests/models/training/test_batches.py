import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.data.features import FeatureSpace
from gaga.models.network.layout import Capacity
from gaga.models.training.batches import Batch, Epochs
from gaga.models.training.features import Features
from tests.models.conftest import toy_molecules


def test_batches_hold_every_molecule_once_and_are_sorted_within():
    n_atoms = np.random.default_rng(0).integers(3, 30, 5000)
    batches = list(Epochs(n_atoms, 50, seed=1).batches(2))
    assert sorted(np.concatenate(batches)) == list(range(5000))
    assert all((np.diff(n_atoms[batch]) >= 0).all() for batch in batches)
    again = list(Epochs(n_atoms, 50, seed=1).batches(2))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_a_batch_is_a_random_subset():
    """Batch means of sizes vary as those of independent draws do: pools of like sizes would vary far more."""
    n_atoms = np.random.default_rng(0).integers(3, 30, 20000)
    means = [n_atoms[batch].mean() for batch in Epochs(n_atoms, 50, seed=0).batches(0)]
    expected = n_atoms.std() / np.sqrt(50)
    assert np.std(means) == pytest.approx(expected, rel=4 / np.sqrt(2 * len(means)))


def test_a_stream_goes_on_from_any_step():
    n_atoms = np.random.default_rng(0).integers(3, 30, 105)
    epochs = Epochs(n_atoms, 10, seed=1)
    stream = epochs.from_step(2 * 11 + 7)
    rest, following = list(epochs.batches(2))[7:], list(epochs.batches(3))
    for step, expected in enumerate([*rest, *following], start=29):
        number, members = next(stream)
        assert number == step
        np.testing.assert_array_equal(members, expected)


DRUGS = np.random.default_rng(1).integers(10, 60, 3000)
DRUGS[::500] = 181
ROOM = 60_000


def test_batches_filled_by_edges_have_every_molecule_once_and_keep_to_their_room():
    epochs = Epochs(DRUGS, 64, seed=1, edges=ROOM)
    for epoch in range(3):
        batches = list(epochs.batches(epoch))
        assert len(batches) == epochs.length == -(-int((DRUGS**2).sum()) // ROOM)
        assert sorted(np.concatenate(batches)) == list(range(3000))
        taken = np.array([(DRUGS[batch] ** 2).sum() for batch in batches])
        assert taken.max() < ROOM + 181**2
        assert taken[:-1].mean() == pytest.approx(ROOM, rel=0.01)
        totals = np.cumsum(taken)
        assert (totals <= ROOM * np.arange(1, len(batches) + 1)).all(), "room is never taken in advance"
        assert all((np.diff(DRUGS[batch]) >= 0).all() for batch in batches)


@pytest.mark.parametrize("sizes", [DRUGS, np.full(7, 10), np.array([181]), np.array([10, 181, 181, 10, 10])])
def test_no_batch_is_empty_however_little_room_there_is(sizes):
    epochs = Epochs(sizes, 64, seed=0, edges=int(sizes.max()) ** 2)
    for epoch in range(5):
        assert all(len(batch) for batch in epochs.batches(epoch))


def test_batches_filled_by_edges_go_on_from_any_step():
    epochs = Epochs(DRUGS, 64, seed=1, edges=ROOM)
    step = 2 * epochs.length + 5
    expected = [*list(epochs.batches(2))[5:], *epochs.batches(3)]
    for number, (found, members) in enumerate(zip(epochs.from_step(step), expected, strict=False)):
        assert found[0] == step + number
        np.testing.assert_array_equal(found[1], members)


def test_room_that_the_largest_molecule_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match="largest molecule, whose 181 atoms take 32761 edges"):
        Epochs(DRUGS, 64, seed=1, edges=181**2 - 1)


@pytest.fixture(params=["held", "streamed"])
def columns(request):
    held_bytes = None if request.param == "held" else 0
    return Features.of(toy_molecules(20), FeatureSpace((1, 6)), "cpu", held_bytes=held_bytes)


def batch_of(columns, members, capacity=None):
    n = len(members)
    weights = np.full(n, 0.25, dtype=np.float32)
    sizes = columns.n_atoms[members]
    return Batch.of(columns.fetch(members), sizes, members, np.arange(n) + 5, weights, capacity)


def test_what_fills_a_capacity_has_no_weight(columns):
    members = np.array([3, 1, 4])
    exact = batch_of(columns, members)
    filled = batch_of(columns, members, Capacity.around(columns.n_atoms[members], molecules=5))
    atoms, molecules = len(exact.atoms), 3
    assert len(filled.weights) == 6
    for name in ("keys", "t", "weights"):
        own, rest = getattr(filled, name)[:molecules], getattr(filled, name)[molecules:]
        assert torch.equal(own, getattr(exact, name)), name
        assert not rest.any(), name
    assert torch.equal(filled.atoms[:atoms], exact.atoms)
    assert not filled.atoms[atoms:].any()


def test_a_batch_is_copied_in_place(columns):
    capacity = Capacity.around(np.array([7, 7, 7]), molecules=3)
    one = batch_of(columns, np.array([3, 1]), capacity)
    other = batch_of(columns, np.array([9, 0, 5]), capacity)
    places = {name: tensor.data_ptr() for name, tensor in one.tensors().items()}
    one.copy_(other)
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, other.tensors()[name]), name
        assert tensor.data_ptr() == places[name], name


@pytest.mark.gpu
def test_a_batch_on_a_device_is_the_same(columns):
    batch = batch_of(columns, np.array([3, 1]), Capacity.around(np.array([7, 7]), molecules=2))
    there = batch.to(torch.device("cuda"))
    there.copy_(batch)
    for name, tensor in there.tensors().items():
        assert tensor.is_cuda
        assert torch.equal(tensor.cpu(), batch.tensors()[name]), name
