import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.models.network.egnn import EGNN
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import EGNNConfig
from tests.models.conftest import AWKWARD_SIZES, small_network


def batch():
    generator = torch.Generator().manual_seed(0)
    layout = Layout.of(AWKWARD_SIZES)
    z = torch.randn(int(layout.sizes.sum()), 8, generator=generator, dtype=torch.float64)
    return z, torch.rand(len(layout), generator=generator, dtype=torch.float64), layout


def test_velocity_has_zero_mean_and_one_atom_stays():
    z, t, layout = batch()
    out = small_network()(z, t, layout)
    torch.testing.assert_close(layout.sum(out[:, :3]), torch.zeros(len(layout), 3).double(), rtol=0, atol=1e-10)
    assert out[0, :3].abs().max() == 0


def test_parameters_of_the_published_size():
    """EDM's network of QM9 has 5.34 million parameters (6 input features: 5 types, charge)."""
    network = EGNN(EGNNConfig(features=6))
    assert round(network.n_parameters / 1e6, 2) == 5.34


def test_shapes_that_make_no_sense_are_refused():
    with pytest.raises(InvalidInput, match="n_layers"):
        EGNNConfig(features=5, n_layers=0)
    with pytest.raises(InvalidInput, match="at least one atom"):
        Layout.of(np.array([3, 0]))
