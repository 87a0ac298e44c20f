import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.models.network.layout import Capacity, Layout
from tests.models.conftest import AWKWARD_SIZES, small_network


def test_groups_hold_every_atom_once_and_large_ones_are_cut():
    layout = Layout.of(np.array([3, 5, 3, 29, 29, 29]))
    atoms = torch.cat([atoms.reshape(-1) for atoms, _ in layout.groups(1600)])
    assert sorted(atoms.tolist()) == list(range(98))
    assert max(a.shape[0] * a.shape[1] ** 2 for a, _ in layout.groups(1600) if len(a) > 1) <= 2 * 1600
    for rows, members in layout.groups(1600):
        np.testing.assert_array_equal(layout.molecule[rows], members[:, None].expand(rows.shape))


def test_place_counts_within_molecules():
    assert Layout.of(np.array([2, 3])).place.tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("kernel", ["torch"])
def test_filler_changes_nothing(kernel):
    network = small_network(kernel=kernel)
    layout = Layout.of(AWKWARD_SIZES)
    capacity = Capacity.around(AWKWARD_SIZES, margin=0.2)
    filled = Layout.filled(AWKWARD_SIZES, capacity)
    atoms, molecules = int(AWKWARD_SIZES.sum()), len(AWKWARD_SIZES)
    z = torch.randn(atoms, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0, 1, molecules, dtype=torch.float64)
    z_filled = torch.zeros(capacity.atoms, 8, dtype=torch.float64)
    z_filled[:atoms] = z
    t_filled = torch.zeros(capacity.molecules, dtype=torch.float64)
    t_filled[:molecules] = t
    out = network(z_filled, t_filled, filled)
    torch.testing.assert_close(out[:atoms], network(z, t, layout), rtol=1e-12, atol=1e-12)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(filled.centre(z_filled, 8)[:atoms], layout.centre(z, 8))


def test_sums_are_those_of_each_molecule_and_have_a_gradient():
    layout = Layout.of(AWKWARD_SIZES)
    values = torch.randn(int(AWKWARD_SIZES.sum()), 3, dtype=torch.float64, requires_grad=True)
    parts = torch.split(values, AWKWARD_SIZES.tolist())
    torch.testing.assert_close(layout.sum(values), torch.stack([part.sum(dim=0) for part in parts]))
    torch.testing.assert_close(layout.sum(values[:, 0]), torch.stack([part[:, 0].sum() for part in parts]))
    assert torch.autograd.gradcheck(lambda x: layout.centre(x, 2), values)
    filled = Layout.filled(AWKWARD_SIZES, Capacity.around(AWKWARD_SIZES, margin=0.2))
    padded = torch.ones(filled.capacity.atoms, 3, dtype=torch.float64)
    assert filled.sum(padded)[len(AWKWARD_SIZES) :].abs().max() == 0


@pytest.mark.gpu
def test_sums_on_the_device_are_the_same_every_time():
    sizes = np.random.default_rng(0).integers(1, 60, 500)
    layout = Layout.of(sizes, "cuda")
    values = torch.randn(int(sizes.sum()), 9, device="cuda")
    first = layout.sum(values)
    assert all(torch.equal(layout.sum(values), first) for _ in range(20))
    torch.testing.assert_close(first.cpu(), Layout.of(sizes).sum(values.cpu()))


def test_a_batch_is_copied_in_place():
    one, other = np.array([4, 9, 9]), np.array([7, 8, 3])
    capacity = Capacity.around(one, margin=0.3)
    layout = Layout.filled(one, capacity)
    layout.copy_(Layout.filled(other, capacity))
    fresh = Layout.filled(other, capacity)
    for name, tensor in layout.tensors().items():
        assert torch.equal(tensor, fresh.tensors()[name]), name
    with pytest.raises(InvalidInput, match="another batch was copied"):
        layout.groups(1600)


def test_a_capacity_grows_and_never_shrinks():
    many, large = np.full(30, 4), np.array([33, 33])
    capacity = Capacity.around(many)
    assert not capacity.holds(large)
    grown = capacity.grown(large)
    assert grown.holds(large)
    assert grown.holds(many)
    assert grown.grown(many) == grown


def test_what_does_not_fit_is_refused():
    capacity = Capacity.around(np.array([9, 9]))
    with pytest.raises(InvalidInput, match="does not fit"):
        Layout.filled(np.array([9, 9, 9]), capacity)
    with pytest.raises(InvalidInput, match="to pad to"):
        Layout.of(np.array([30]), pad_to=29)
