"""The same words and normals as numpy draws, on every device."""

import numpy as np
import pytest
import torch

from gaga.core import rng
from gaga.core.torch_rng import normals, philox

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
def test_words_are_numpys(device: str) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, size=(4, 500), dtype=np.uint64)
    words[:, :2] = [[0, 2**32 - 1]] * 4
    seed = 0xA4093822299F31D0
    found = philox(tuple(torch.from_numpy(words.astype(np.int64)).to(device)), seed)
    expected = rng.philox(words, (seed & 0xFFFFFFFF, seed >> 32))
    np.testing.assert_array_equal(torch.stack(found).cpu().numpy().astype(np.uint64), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("size", "columns"), [(1, 1), (1, 3), (2, 3), (9, 8), (29, 9), (181, 19)])
def test_normals_are_numpys(size: int, columns: int, device: str) -> None:
    keys, streams, seed = np.array([7, 0, 2**40 + 5]), np.array([1000, 2**24 + 50]), 2**32 - 1
    found = normals(seed, torch.from_numpy(keys).to(device), torch.from_numpy(streams).to(device), size * columns)
    assert found.shape == (2, 3, size * columns)
    for s, stream in enumerate(streams):
        expected = rng.normals(seed, keys, np.full(3, size), columns, int(stream)).reshape(3, -1)
        np.testing.assert_allclose(found[s].cpu().numpy(), expected, rtol=1e-13, atol=1e-14)
