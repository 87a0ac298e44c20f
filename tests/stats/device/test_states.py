import numpy as np
import pytest

from gaga.noise import ReferenceGaussian
from gaga.stats.device.states import draw
from gaga.stats.states import DataStates, GaussianStates

STEPS = np.array([20, 550, 1000])


@pytest.mark.parametrize("n", [2, 9, 33, 181])
def test_noised_molecules_are_numpys(molecules, space, moments, schedule, device, n):
    states = DataStates(molecules, space, schedule, moments.centred, 2**32 - 1)
    indices = np.flatnonzero(molecules.n_atoms == n)[::-1].copy()
    z = draw(states, indices, STEPS, device)
    assert z.shape == (3, len(indices), n, space.columns)
    expected = states.draw(indices, STEPS).reshape(z.shape)
    np.testing.assert_allclose(z.cpu().numpy(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", ["prior", "matched", "size"])
@pytest.mark.parametrize("n", [2, 9, 181, 200])
def test_gaussians_are_numpys(moments, schedule, device, kind, n):
    """Sizes that the data lacks too."""
    states = GaussianStates(ReferenceGaussian(kind, moments), schedule, np.array([5, n, 7, n, n]), 3)
    indices = np.array([3, 1, 4])
    z = draw(states, indices, STEPS, device)
    expected = states.draw(indices, STEPS).reshape(z.shape)
    np.testing.assert_allclose(z.cpu().numpy(), expected, rtol=0, atol=1e-12)
