import numpy as np
import pytest
import torch

from gaga.core import rng
from gaga.models import device_rng as random
from gaga.models.network.layout import Layout


@pytest.mark.parametrize("columns", [3, 8, 9])
def test_the_numbers_of_the_host(columns):
    sizes = np.array([1, 2, 9, 30])
    keys = np.array([0, 7, 2**33 + 5, 12])
    layout = Layout.of(sizes)
    expected = rng.normals(123456789, keys, sizes, columns, 77)
    found = random.normals(
        123456789, layout.per_atom(torch.from_numpy(keys)), layout.place, columns, torch.tensor(77, dtype=torch.int64)
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-13)


def test_the_uniform_numbers_of_the_host():
    keys = np.arange(50) * 2**29
    found = random.uniforms(2**31 + 3, torch.from_numpy(keys), rng.STREAM_SIZE)
    np.testing.assert_array_equal(found.numpy(), rng.uniforms(2**31 + 3, keys, rng.STREAM_SIZE))
