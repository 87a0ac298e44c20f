"""Outputs of the published code on fixed inputs (tests/golden/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gaga import load_model

GOLDEN = Path(__file__).parent.parent / "golden"
FOLDERS = ["edm_tiny", "edm_inv2_tiny", "edm_geom_tiny", "gaga_tiny"]


def relative(value, expected):
    return float(np.abs(value.double().numpy() - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("kernel", ["naive", "torch"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("folder", FOLDERS)
def test_noise_and_posterior(folder, dtype, tolerance, kernel):
    v = np.load(GOLDEN / folder / "vectors.npz")
    model = load_model(GOLDEN / folder, dtype=dtype, kernel=kernel)
    assert model.space.centred_features == bool(v["centred_features"])
    z, t, s = (torch.from_numpy(v[name]).to(dtype) for name in ("z_t", "t", "s"))
    eps = model.predict_noise(z, t, torch.from_numpy(v["n_atoms"]))
    mean, sigma = model.posterior(z, t, s, torch.from_numpy(v["n_atoms"]))
    assert relative(eps, v["eps_hat"]) < tolerance
    assert relative(mean, v["posterior_mean"]) < tolerance
    assert relative(sigma, v["posterior_sigma"]) < tolerance


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_schedule_is_the_table_in_the_file(folder):
    model = load_model(GOLDEN / folder)
    np.testing.assert_allclose(model.schedule.gamma, np.load(GOLDEN / folder / "vectors.npz")["gamma"], atol=1e-6)


def test_predict_noise_is_differentiable_and_leaves_padding_zero():
    v = np.load(GOLDEN / "gaga_tiny" / "vectors.npz")
    model = load_model(GOLDEN / "gaga_tiny", dtype=torch.float64)
    z = torch.from_numpy(v["z_t"]).requires_grad_()
    eps = model.predict_noise(z, torch.from_numpy(v["t"]), v["n_atoms"])
    eps.square().sum().backward()
    for row, n in enumerate(v["n_atoms"]):
        assert eps[row, n:].abs().sum() == 0
        assert z.grad[row, :n].abs().sum() > 0
        assert z.grad[row, n:].abs().sum() == 0
