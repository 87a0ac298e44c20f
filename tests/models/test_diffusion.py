import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gaga.core.errors import InvalidInput
from gaga.data.features import FeatureSpace
from gaga.models.diffusion import Diffusion, PosteriorStep
from gaga.models.network.layout import Layout
from gaga.noise import make_schedule
from tests.models.conftest import VARIANCES, small_network


def gaussian_batch(molecules, n=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layout = Layout.of(np.full(molecules, n))
    x = torch.randn(molecules * n, 8, generator=generator, dtype=torch.float64) * torch.from_numpy(np.sqrt(VARIANCES))
    eps = torch.randn(molecules * n, 8, generator=generator, dtype=torch.float64)
    return layout.centre(x, 8), eps, layout


@pytest.mark.parametrize("t", [1, 50, 200, 550, 1000])
def test_loss_of_the_optimal_denoiser_of_gaussian_data(gaussian_model, t):
    """E|eps - eps_hat|^2 = alpha^2 v / (alpha^2 v + sigma^2) for each of the (N - 1) C dimensions."""
    molecules, n = 4000, 9
    x, eps, layout = gaussian_batch(molecules, n)
    losses = gaussian_model.loss(x, eps, torch.full((molecules,), t), layout)
    alpha2 = gaussian_model.schedule.alpha2[t]
    expected = 0.5 * np.mean(alpha2 * VARIANCES / (alpha2 * VARIANCES + 1 - alpha2)) * (n - 1) / n
    error = float(losses.std()) / np.sqrt(molecules)
    assert abs(float(losses.mean()) - expected) < 4 * error


def test_forward_law_of_gaussian_data(gaussian_model):
    """Var z_t = (alpha^2 v + sigma^2)(N - 1)/N per coordinate."""
    molecules, n, t = 4000, 9, 300
    x, eps, layout = gaussian_batch(molecules, n)
    z = gaussian_model.noised(x, layout.centre(eps, 8), torch.full((molecules,), t), layout)
    alpha2 = gaussian_model.schedule.alpha2[t]
    expected = (alpha2 * VARIANCES + 1 - alpha2) * (n - 1) / n
    measured = z.var(dim=0, correction=0).numpy()
    standard_error = expected * np.sqrt(2 / (molecules * (n - 1)))
    assert np.all(np.abs(measured - expected) < 4 * standard_error)


@pytest.mark.parametrize("centred", [True, False])
def test_loss_is_invariant_under_motions_of_data_and_noise(centred):
    space = FeatureSpace((1, 6, 7, 8, 9), centred_features=centred)
    diffusion = Diffusion(small_network(), make_schedule(), space)
    x, eps, layout = gaussian_batch(3, 7)
    t = torch.tensor([0, 200, 550])
    matrix = torch.from_numpy(Rotation.from_euler("xyz", [0.3, 1.1, -2.0]).as_matrix()) @ torch.diag(
        torch.tensor([1.0, 1, -1]).double()
    )
    moved = [torch.cat([v[:, :3] @ matrix.T, v[:, 3:]], dim=1) for v in (x, eps)]
    losses = diffusion.loss(x, eps, t, layout)
    torch.testing.assert_close(diffusion.loss(*moved, t, layout), losses)
    order = torch.arange(21).reshape(3, 7).flip(1).reshape(-1)
    torch.testing.assert_close(diffusion.loss(x[order], eps[order], t, layout), losses)
    shifted = torch.cat([eps[:, :3] + 3.0, eps[:, 3:]], dim=1)
    torch.testing.assert_close(diffusion.loss(x, shifted, t, layout), losses)


def test_types_do_not_count_at_t_zero():
    space = FeatureSpace((1, 6, 7, 8, 9))
    diffusion = Diffusion(small_network(), make_schedule(), space)
    x, eps, layout = gaussian_batch(2, 5)
    t = torch.tensor([0, 0])
    eps_other_types = torch.cat([layout.centre(eps, 8)[:, :3], torch.zeros(10, 5).double()], dim=1)
    # The type noise reaches the network's input through sigma_0 = 0.003 alone, and not the target.
    torch.testing.assert_close(
        diffusion.loss(x, eps, t, layout), diffusion.loss(x, eps_other_types, t, layout), rtol=0.05, atol=0.0
    )


@pytest.mark.parametrize(("t", "s"), [(550, 549), (1000, 500), (1, 0)])
def test_posterior_coefficients_are_those_of_bayes(t, s):
    """q(z_s | z_t, x) of the Gaussian chain z_t = alpha_t|s z_s + noise, with x = (z_t - sigma_t eps) / alpha_t."""
    schedule = make_schedule()
    a2t, a2s = schedule.alpha2[t], schedule.alpha2[s]
    step_variance = (1 - a2t) - (a2t / a2s) * (1 - a2s)
    variance = 1 / (1 / (1 - a2s) + (a2t / a2s) / step_variance)
    z_t, eps = 0.7, -0.4
    x = (z_t - np.sqrt(1 - a2t) * eps) / np.sqrt(a2t)
    mean = variance * (np.sqrt(a2s) * x / (1 - a2s) + np.sqrt(a2t / a2s) * z_t / step_variance)
    step = PosteriorStep.between(schedule, np.array([t]), np.array([s]))
    np.testing.assert_allclose(step.c_z * z_t - step.c_eps * eps, mean, rtol=1e-8)
    np.testing.assert_allclose(step.sigma, np.sqrt(variance), rtol=1e-8)


def test_shapes_that_do_not_fit_are_refused(gaussian_model):
    z = torch.zeros(2, 9, 8).double()
    t = torch.full((2, 1), 0.5).double()
    with pytest.raises(InvalidInput, match="fit together"):
        gaussian_model.predict_noise(z, t, np.array([9, 10]))
    with pytest.raises(InvalidInput, match=r"\[B, N, 8\]"):
        gaussian_model.predict_noise(z[..., :7], t, np.array([9, 9]))
