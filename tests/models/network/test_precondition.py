import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.data.features import FeatureSpace
from gaga.models.diffusion import Diffusion
from gaga.models.network.layout import Layout
from gaga.models.network.precondition import Precondition
from gaga.noise import make_schedule
from tests.models.conftest import VARIANCES
from tests.models.test_diffusion import gaussian_batch

SPACE = FeatureSpace((1, 6, 7, 8, 9))
SD = tuple(np.sqrt(VARIANCES).tolist())
KINDS = [Precondition("v"), Precondition("x0", SD)]


def diffusion(network, precondition):
    return Diffusion(network, make_schedule(), SPACE, precondition=precondition)


@pytest.mark.parametrize("t", [0, 1, 100, 550, 1000])
def test_a_network_of_zeros_is_the_best_linear_denoiser(gaussian_model, t):
    """With c_skip = sd^2 / (s^2 + sd^2) nothing is left to learn on Gaussian data of that scale."""
    x, eps, layout = gaussian_batch(5)
    z = gaussian_model.noised(x, layout.centre(eps, 8), torch.full((5,), t), layout)
    time = torch.full((5,), t / 1000, dtype=torch.float64)
    zeros = diffusion(lambda z, t, layout: torch.zeros_like(z), Precondition("x0", SD))
    torch.testing.assert_close(zeros.noise(z, time, layout), gaussian_model.noise(z, time, layout))


@pytest.mark.parametrize("precondition", KINDS, ids=lambda p: p.prediction)
@pytest.mark.parametrize("t", [1, 100, 550, 1000])
def test_the_networks_input_and_target_have_unit_scale(precondition, t):
    """The target is the output for which eps_hat = eps; v has it on data of unit variance only."""
    scale = 1.0 if precondition.prediction == "x0" else 1 / np.sqrt(VARIANCES)
    x, eps, layout = gaussian_batch(3000)
    x, eps = layout.centre(x * torch.as_tensor(scale), 8), layout.centre(eps, 8)
    seen = []
    model = diffusion(lambda z, t, layout: seen.append((z, t)) or torch.zeros_like(z), precondition)
    steps = torch.full((3000,), t)
    time = steps.double() / 1000
    z = model.noised(x, eps, steps, layout)
    without = model.noise(z, time, layout)
    at = precondition.coefficients(torch.full((1,), float(model.schedule.gamma[t]), dtype=torch.float64), time[:1], 8)
    target = (eps - without) / at.c_out
    for values in (seen[0][0], target):
        variance = values.square().mean(dim=0) * 9 / 8
        assert (variance - 1).abs().max() < 4 * np.sqrt(2 / (3000 * 8))


@pytest.mark.parametrize("precondition", [Precondition(), *KINDS], ids=lambda p: p.prediction)
def test_the_objective_is_the_error_of_the_networks_output(precondition):
    """Off by d from the right output everywhere, the network scores d^2 / 2 whatever the noise level."""
    x, eps, layout = gaussian_batch(4)
    eps = layout.centre(eps, 8)
    t = torch.tensor([1, 100, 550, 1000])
    off = layout.centre(torch.randn(36, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64), 8)
    gamma = torch.from_numpy(make_schedule().gamma)[t]
    at = precondition.coefficients(gamma, t.double() / 1000, 8)
    c_in, c_skip, c_out = (layout.per_atom(v) for v in (at.c_in, at.c_skip, at.c_out))
    z = diffusion(lambda z, t, layout: z, precondition).noised(x, eps, t, layout)

    def network(given, time, layout):
        torch.testing.assert_close(given, c_in * z)
        return (eps - c_skip * z) / c_out + off

    losses = diffusion(network, precondition).loss(x, eps, t, layout)
    torch.testing.assert_close(losses, 0.5 * layout.sum(off.square().sum(dim=1)) / 72)


def test_between_two_steps_the_noise_level_is_between_theirs():
    told = []
    model = diffusion(lambda z, t, layout: told.append(float(t[0])) or torch.zeros_like(z), Precondition("x0", SD))
    z, layout = torch.ones(4, 8, dtype=torch.float64), Layout.of(np.array([4]))
    for step in (100.0, 100.25, 101.0, 0.0, 1000.0):
        model.noise(z, torch.tensor([step / 1000], dtype=torch.float64), layout)
    gamma = model.schedule.gamma
    expected = [gamma[100], 0.75 * gamma[100] + 0.25 * gamma[101], gamma[101], gamma[0], gamma[1000]]
    np.testing.assert_allclose(told, np.array(expected) / 8, rtol=1e-9)


@pytest.mark.parametrize(
    ("prediction", "sd"), [("v", (1.0,)), ("x0", ()), ("x0", (1.0, 0.0)), ("x0", (float("nan"),)), ("eps", (1.0,))]
)
def test_what_cannot_be(prediction, sd):
    with pytest.raises(InvalidInput):
        Precondition(prediction, sd)
