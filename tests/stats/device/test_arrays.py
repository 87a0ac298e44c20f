import numpy as np
import pytest
import torch

from gaga.stats.device import arrays
from gaga.stats.device.arrays import to_device, working_set

CUDA = torch.device("cuda", 0)


def test_arrays_keep_their_values_and_types(device):
    for array in (np.arange(12.0).reshape(3, 4).T, np.array([2**40, 7]), np.array([True, False])):
        moved = to_device(array, device)
        assert moved.device.type == device.type
        assert moved.cpu().numpy().dtype == array.dtype
        np.testing.assert_array_equal(moved.cpu().numpy(), array)


@pytest.mark.parametrize(
    ("free", "cached", "numbers"),
    [(80 << 30, 0, 1 << 25), (2 << 30, 0, 1 << 23), (1 << 30, 1 << 30, 1 << 23), (1 << 20, 0, 1 << 18)],
)
def test_a_working_array_is_a_small_part_of_what_is_free(monkeypatch, free, cached, numbers):
    """What torch keeps for itself without using it is free too."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: cached + 1000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    assert working_set(CUDA) == numbers
    assert numbers * 8 * arrays._ARRAYS <= free + cached or numbers == working_set(torch.device("cpu"))
