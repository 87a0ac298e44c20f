import importlib.util
import os

import numpy as np
import pytest
import torch

from gaga.core import rng
from gaga.models.network.layout import Layout

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

SIZES = np.array([1, 2, 9, 30])
KEYS = np.array([0, 7, 2**33 + 5, 2**32 - 1])


def drawn(seed, columns, stream, device):
    from gaga.models.network.kernels.fused.noise import normals

    layout = Layout.of(SIZES, device)
    keys = layout.per_atom(torch.from_numpy(KEYS).to(device))
    return normals(seed, keys, layout.place, columns, torch.tensor(stream, device=device)).cpu().numpy()


@pytest.mark.skipif(not os.environ.get("TRITON_INTERPRET"), reason="runs in Triton's interpreter only")
@pytest.mark.parametrize("columns", [3, 8, 9])
@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (123456789, 77), (2**63 + 2**31 + 1, rng.STREAM_START)])
def test_the_numbers_of_the_host(seed, columns, stream):
    expected = rng.normals(seed, KEYS, SIZES, columns, stream)
    np.testing.assert_allclose(drawn(seed, columns, stream, "cpu"), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (123456789, 77), (2**63 + 2**31 + 1, rng.STREAM_START)])
def test_the_numbers_of_the_host_on_a_device(seed, stream):
    """A device's log and cos are good to a few units of the last place."""
    expected = rng.normals(seed, KEYS, SIZES, 8, stream)
    np.testing.assert_allclose(drawn(seed, 8, stream, "cuda"), expected, rtol=1e-11, atol=1e-12)
