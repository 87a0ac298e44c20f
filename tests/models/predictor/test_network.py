"""The predictor's network: distances alone decide, and molecules do not see one another."""

import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.models.network.layout import Layout
from gaga.models.predictor.network import PredictorConfig, PredictorNetwork, fits

SIZES = np.array([5, 1, 2, 5, 9])


@pytest.fixture
def network() -> PredictorNetwork:
    torch.manual_seed(0)
    return PredictorNetwork(PredictorConfig(types=3, hidden=16, n_layers=2)).double()


def columns() -> torch.Tensor:
    rng = np.random.default_rng(0)
    atoms = int(SIZES.sum())
    return torch.from_numpy(np.concatenate([rng.normal(size=(atoms, 3)), np.eye(3)[rng.integers(3, size=atoms)]], 1))


@pytest.mark.parametrize("reflected", [False, True])
def test_rotations_reflections_and_translations_change_nothing(network, reflected):
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    q[:, 0] *= np.linalg.det(q) * (-1 if reflected else 1)
    z = columns()
    moved = torch.cat([z[:, :3] @ torch.from_numpy(q) + 7.0, z[:, 3:]], dim=1)
    torch.testing.assert_close(network(moved, Layout.of(SIZES)), network(z, Layout.of(SIZES)), atol=1e-10, rtol=0)


def test_the_order_of_atoms_changes_nothing(network):
    z, order = columns(), np.arange(int(SIZES.sum()))
    order[:5] = order[:5][::-1].copy()
    torch.testing.assert_close(network(z[order], Layout.of(SIZES)), network(z, Layout.of(SIZES)))


def test_each_molecule_alone_is_as_in_a_batch(network):
    parts = torch.split(columns(), SIZES.tolist())
    alone = [network(part, Layout.of(np.array([len(part)]))) for part in parts]
    torch.testing.assert_close(torch.cat(alone), network(columns(), Layout.of(SIZES)))


def test_the_naive_formula_gives_the_same(network):
    """Every edge materialised, one molecule at a time, as the papers write it."""
    z = torch.split(columns(), SIZES.tolist())[0]
    x, h = z[:, :3], network.embedding(z[:, 3:])
    n = len(x)
    for layer in network.blocks:
        total = torch.zeros_like(h)
        for i in range(n):
            for j in set(range(n)) - {i}:
                square = (x[i] - x[j]).square().sum()
                m = layer.edge_mlp(torch.cat([h[i], h[j], torch.stack([square, (square + 1e-8).sqrt()])]))
                total[i] += layer.att_mlp(m) * m
        h = h + layer.node_mlp(torch.cat([h, total], dim=1))
    wanted = network.of_molecule(network.of_atoms(h).sum(dim=0))
    torch.testing.assert_close(network(z, Layout.of(np.array([n]))), wanted)


def test_gradients_by_positions_are_right(network):
    z = columns()[:5]
    layout = Layout.of(np.array([5]))
    assert torch.autograd.gradcheck(lambda x: network(torch.cat([x, z[:, 3:]], 1), layout), z[:, :3].requires_grad_())


def test_weights_of_another_shape_do_not_fit(network):
    assert fits(network.config, network.state_dict())
    assert not fits(PredictorConfig(types=3, hidden=16, n_layers=3), network.state_dict())
    with pytest.raises(InvalidInput):
        PredictorConfig(types=0)
