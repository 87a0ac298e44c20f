import numpy as np
import pytest
import torch

from gaga.stats import information as numpy_information
from gaga.stats.device.information import kth_smallest, mean_pairwise_information


def on(device, values, k, working_set=1 << 18):
    """Of values [V, n, B], as numpy's twin takes them."""
    sets = torch.from_numpy(values).to(device).transpose(0, 1)
    return mean_pairwise_information(sets, k, working_set).cpu().numpy()


@pytest.mark.parametrize("n", [4, 5, 9, 29, 31, 181])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_it_is_numpys(device, n, k):
    values = np.random.default_rng(n).standard_normal((5, n, 6))
    values[1] = 0.8 * values[0] + 0.6 * values[1]
    expected = numpy_information.mean_pairwise_information(values, k)
    np.testing.assert_allclose(on(device, values, k), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [6, 13, 29])
@pytest.mark.parametrize("high", [5, 9, 20])
def test_ties_are_numpys(device, n, high):
    """Few whole numbers: distances tie within a variable, and between two that are one another's permutations."""
    rng = np.random.default_rng(n + high)
    values = rng.integers(0, high, (6, n, 40)).astype(np.float64)
    values[3:] = rng.permuted(values[:3], axis=1)
    values[0, :, ::5] = 1.5
    values[1, :, ::10] = 0.1
    expected = numpy_information.mean_pairwise_information(values, 3)
    np.testing.assert_allclose(on(device, values, 3), expected, rtol=0, atol=1e-13)
    assert expected.min() < expected.max()


def test_constant_variables_know_nothing_of_each_other(device):
    assert on(device, np.full((3, 9, 2), 0.1), 2).tolist() == [0, 0]


@pytest.mark.parametrize(("variables", "n", "k"), [(1, 9, 3), (3, 1, 2), (3, 2, 2), (3, 3, 2), (4, 4, 3)])
def test_too_little_to_estimate_from_is_zero(device, variables, n, k):
    values = np.random.default_rng(0).standard_normal((variables, n, 4))
    assert on(device, values, k).tolist() == [0, 0, 0, 0]


def test_a_set_does_not_depend_on_its_tile(device):
    values = np.random.default_rng(0).standard_normal((18, 5, 70))
    whole = on(device, values, 3)
    for working_set in (1, 18 * 25 * 9, 18 * 25 * 69):
        np.testing.assert_allclose(on(device, values, 3, working_set), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17, 28, 31])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_kth_smallest_is_a_sort(device, n, k):
    values = torch.from_numpy(np.random.default_rng(n).integers(0, 9, (n, 4, 3)).astype(float)).to(device)
    if k <= n:
        assert torch.equal(kth_smallest(values, k), values.sort(dim=0).values[k - 1])
