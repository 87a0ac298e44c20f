import numpy as np
import pytest
import torch

from gaga.stats import ks as numpy_ks
from gaga.stats.device.ks import cells_of, distance_of_counts, ks_distances


@pytest.mark.parametrize("n", [1, 2, 27, 93, 543, 2896])
def test_distances_are_numpys(device, n):
    """Of normal numbers, of ties, of one value alone."""
    rng = np.random.default_rng(n)
    one_value = np.repeat([[0.0], [40.0]], n, axis=1)
    values = np.concatenate([rng.normal(size=(5, n)), rng.integers(-2, 3, (5, n)), one_value])
    found = ks_distances(torch.from_numpy(values).to(device)).cpu().numpy()
    np.testing.assert_allclose(found, numpy_ks.ks_distances(values), rtol=0, atol=1e-14)


def test_cells_are_numpys(device):
    values = np.append(np.random.default_rng(0).normal(scale=2, size=100_000), [-40.0, 40.0, 0.0, -0.0])
    found = cells_of(torch.from_numpy(values).to(device)).cpu().numpy()
    np.testing.assert_array_equal(found, numpy_ks.cells_of(values))
    assert found[-4:].tolist() == [0, numpy_ks.N_CELLS - 1, numpy_ks.N_CELLS // 2, numpy_ks.N_CELLS // 2]


def test_distances_of_counts_are_numpys(device):
    counts = np.random.default_rng(0).integers(0, 9, (3, 2, 1024)).astype(np.float64)
    found = distance_of_counts(torch.from_numpy(counts).to(device)).cpu().numpy()
    np.testing.assert_allclose(found, numpy_ks.distance_of_counts(counts), rtol=0, atol=1e-14)
