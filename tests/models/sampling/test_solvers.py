import numpy as np
import pytest

from gaga import load_model
from gaga.core.errors import InvalidInput
from gaga.models.diffusion import PosteriorStep
from gaga.models.sampling.config import SPACINGS, SampleConfig
from gaga.models.sampling.solvers import (
    ancestral,
    annealed,
    euler,
    heun,
    renewing,
    returned_variance,
    solver_of,
    spaced,
    two_step,
)
from gaga.noise import make_schedule

SCHEDULE = make_schedule()
V = 2.0


def two_step_noisy(path, time):
    return two_step(path, time, 4.0)


ONE_STEP = {
    "ddim": euler,
    "heun": heun,
    "dpm++": two_step,
    "sde": lambda schedule, time: renewing(schedule, time, 4.0),
    "annealed": lambda schedule, time: annealed(schedule, time, 1.0, (0.0, 9.0)),
}


def gains(solver, v=V):
    """eps_hat / z of the best denoiser of Gaussian data of variance v, at each evaluation."""
    gamma = SCHEDULE.gamma_at(solver.time)
    alpha2, sigma2 = 1 / (1 + np.exp(gamma)), 1 / (1 + np.exp(-gamma))
    return np.sqrt(sigma2) / (alpha2 * v + sigma2)


def covariance_after(solver, v=V):
    """Variance of what comes out if z starts with that of q(z_t)."""
    return v * returned_variance(SCHEDULE, solver, (v,))[0]


def deterministic(solver, z):
    memory = 0.0
    for k, gain in enumerate(gains(solver)):
        eps = gain * z
        z, memory = (solver.c_z[k] * z - solver.c_eps[k] * eps + solver.c_memory[k] * memory,
                   solver.m_z[k] * z + solver.m_eps[k] * eps)  # fmt: skip
    return z


@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("heun", 2), ("dpm++", 2), ("annealed", 1)])
def test_convergence_order_on_gaussian_data(method, order):
    """x ~ N(0, v): the flow takes x at level s to x sqrt(v / (v + s^2)) at 0."""
    s = np.exp(0.5 * SCHEDULE.gamma[550])
    z = 1.3 / np.sqrt(1 + s**2)
    exact = 1.3 * np.sqrt(V / (V + s**2))
    errors = []
    for n in (20, 40, 80, 160):
        solver = ONE_STEP[method](SCHEDULE, spaced(SCHEDULE, 550, n, "log-snr"))
        errors.append(abs(deterministic(solver, z) - exact))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - order) < 0.4), orders
    assert errors[-1] < {1: 0.01, 2: 1e-4}[order]


def test_ddpm_steps_are_the_posterior():
    times = np.array([550, 400, 251, 250, 1, 0])
    solver = ancestral(SCHEDULE, times.astype(float))
    expected = PosteriorStep.between(SCHEDULE, times[:-1], times[1:])
    for name in ("c_z", "c_eps", "sigma"):
        np.testing.assert_allclose(getattr(solver, name)[:-1], getattr(expected, name), rtol=1e-12)


@pytest.mark.parametrize("make", [ancestral, euler, heun])
def test_the_last_step_is_the_prediction_of_the_molecule(make):
    """From the last level, z = alpha x + sigma eps, to x_hat = (z - sigma eps_hat) / alpha; ddpm adds noise."""
    times = np.array([550.0, 300.0, 40.0])
    solver = make(SCHEDULE, times)
    alpha, sigma = (np.sqrt(values[40]) for values in (SCHEDULE.alpha2, SCHEDULE.sigma2))
    last = {name: getattr(solver, name)[-1] for name in ("c_z", "c_eps", "c_memory", "sigma")}
    noise = sigma / alpha if make is ancestral else 0.0
    assert last == pytest.approx({"c_z": 1 / alpha, "c_eps": sigma / alpha, "c_memory": 0.0, "sigma": noise}, rel=1e-9)
    assert solver.time[-1] == 40.0
    assert solver.positions_only_last == (make is not heun)


def test_power_is_even_in_the_seventh_root_of_sigma():
    """Karras et al. 2022, equation 5 with rho = 7."""
    s = np.exp(0.5 * SCHEDULE.gamma_at(spaced(SCHEDULE, 550, 12, "power")))
    np.testing.assert_allclose(np.diff(s ** (1 / 7)), (s[-1] ** (1 / 7) - s[0] ** (1 / 7)) / 11, rtol=1e-6)


def test_raising_the_noise_narrows_what_comes_out():
    """Euler's way down from a raised level undershoots: the price of its sharper molecules (docs/QUALITY.md)."""
    times = spaced(SCHEDULE, 550, 50, "power")
    variances = [covariance_after(annealed(SCHEDULE, times, raised, (0.03, 3.0))) for raised in (1.0, 1.1, 1.2, 1.4)]
    expected = [narrowed(np.exp(0.5 * SCHEDULE.gamma_at(times)), raised) for raised in (1.0, 1.1, 1.2, 1.4)]
    np.testing.assert_allclose(variances, expected, rtol=1e-3)
    assert np.all(np.diff(variances) < -0.05)


def narrowed(levels, raised):
    """The variance of x in variance-exploding coordinates, by hand: x += (next - raised) x raised / (v + raised^2)."""
    variance = V + levels[0] ** 2
    for s, below in zip(levels, [*levels[1:], 0.0], strict=True):
        up = min(raised * s, levels[0]) if 0.03 <= s <= 3.0 else s
        variance += up**2 - s**2
        variance *= (1 + (below - up) * up / (V + up**2)) ** 2
    return variance


@pytest.mark.parametrize(
    ("make", "within"),
    [(ancestral, 0.01), (euler, 0.005), (two_step, 1e-5), (two_step_noisy, 1e-4), (heun, 1e-4)],
)
def test_many_steps_bring_back_the_law_of_the_data(make, within):
    assert covariance_after(make(SCHEDULE, spaced(SCHEDULE, 550, 1000, "log-snr"))) == pytest.approx(V, rel=within)


def test_the_returned_variance_is_that_of_samples():
    """Of 200,000 numbers by the table, with the exact denoiser; the variance has a standard error of 0.3 %."""
    rng, solver = np.random.default_rng(1), two_step(SCHEDULE, spaced(SCHEDULE, 550, 12, "power"), 3.0)
    alpha2 = SCHEDULE.alpha2_at(solver.time[:1])[0]
    z = rng.normal(size=200_000) * np.sqrt(alpha2 * V + 1 - alpha2)
    memory = np.zeros_like(z)
    for k, gain in enumerate(gains(solver)):
        eps = gain * z
        z, memory = (
            solver.c_z[k] * z - solver.c_eps[k] * eps + solver.c_memory[k] * memory
            + solver.sigma[k] * rng.normal(size=len(z)),
            solver.m_z[k] * z + solver.m_eps[k] * eps,
        )  # fmt: skip
    assert z.var() / V == pytest.approx(returned_variance(SCHEDULE, solver, (V,))[0], rel=0.012)


@pytest.mark.parametrize("churn", [1.0, 4.0, 8.0])
def test_sde_draws_a_mixture_as_it_is(churn):
    """Bonds of two lengths, 0.4 apart and 0.05 wide, 30 % and 70 %: shares, places and widths come back."""
    rng, solver = np.random.default_rng(2), two_step(SCHEDULE, spaced(SCHEDULE, 550, 60, "power"), churn)
    shares, centres, width = np.array([0.3, 0.7]), np.array([-0.28, 0.12]), 0.05
    x = centres[(rng.random(40_000) < shares[1]).astype(int)] + width * rng.normal(size=40_000)
    alpha, sigma = SCHEDULE.alpha_sigma_at(solver.time[:1])
    z, memory = alpha * x + sigma * rng.normal(size=40_000), np.zeros(40_000)
    for k in range(len(solver)):
        alpha, sigma = SCHEDULE.alpha_sigma_at(solver.time[k : k + 1])
        spread = (alpha * width) ** 2 + sigma**2
        away = z[:, None] - alpha * centres
        weights = shares * np.exp(-(away**2) / (2 * spread))
        eps = sigma * (weights * away).sum(axis=1) / weights.sum(axis=1) / spread
        z, memory = (
            solver.c_z[k] * z - solver.c_eps[k] * eps + solver.c_memory[k] * memory
            + solver.sigma[k] * rng.normal(size=len(z)),
            solver.m_z[k] * z + solver.m_eps[k] * eps,
        )  # fmt: skip
    right = z > centres.mean()
    assert right.mean() == pytest.approx(0.7, abs=0.012)
    for of, centre in ((z[~right], centres[0]), (z[right], centres[1])):
        assert of.mean() == pytest.approx(centre, abs=0.01)
        assert of.std() == pytest.approx(width, rel=0.08)


def test_without_churn_sde_is_dpm_plus_plus():
    times = spaced(SCHEDULE, 550, 20, "power")
    plain, still = two_step(SCHEDULE, times), renewing(SCHEDULE, times, 0.0)
    for name in ("c_z", "c_eps", "c_memory", "sigma", "m_z", "m_eps"):
        assert np.array_equal(getattr(plain, name), getattr(still, name))
    assert not still.noisy


@pytest.mark.parametrize(("n", "within"), [(10, 0.125), (15, 0.065), (20, 0.035), (50, 0.015)])
@pytest.mark.parametrize("churn", [1.0, 8.0, 32.0, 1000.0])
def test_sde_keeps_the_variance_of_gaussian_data_with_few_evaluations(n, within, churn):
    """Within 3.5 % from twenty evaluations on, from a molecule's width to a bond's; by the weight 1/2 up to 19 %."""
    times, widths = spaced(SCHEDULE, 550, n, "power"), (2.0, 0.5, 0.1, 0.01)
    assert abs(returned_variance(SCHEDULE, renewing(SCHEDULE, times, churn), widths) - 1).max() < within
    if (n, churn) == (20, 8.0):
        assert abs(returned_variance(SCHEDULE, two_step(SCHEDULE, times, churn), widths) - 1).max() > 0.15


@pytest.mark.parametrize("name", ["qm9_large", "qm9_small"])
def test_the_default_keeps_the_distribution(name):
    """Of Gaussian data, from as wide as a molecule to as narrow as a bond, 0.97 to 1.05 of the variance come back."""
    model, widths = load_model(name), (2.0, 0.1, 0.01)
    returned = returned_variance(model.schedule, solver_of(model, SampleConfig()), widths)
    assert (returned > 0.97).all()
    assert (returned < 1.05).all()


@pytest.mark.parametrize("churn", [1.0, 4.0, 32.0])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("n", [3, 5, 10, 20, 50])
def test_the_weight_of_sde_is_never_worse_than_one_half(n, spacing, churn):
    times, widths = spaced(SCHEDULE, 550, n, spacing), (2.0, 0.3, 0.1, 0.03, 0.01)
    worst = [
        abs(np.log(returned_variance(SCHEDULE, solver, widths))).max()
        for solver in (renewing(SCHEDULE, times, churn), two_step(SCHEDULE, times, churn))
    ]
    assert worst[0] <= worst[1]


def test_churn_counts_with_sde_alone():
    assert SampleConfig(method="sde", churn=0.0).effective()["churn"] == 0
    assert "churn" not in SampleConfig(method="annealed").effective()


def test_churn_renews_the_noise_and_keeps_its_amount():
    """Pure noise, x of variance s^2 with D = 0, must have variance s'^2 after every step, for any churn."""
    solver = two_step(SCHEDULE, spaced(SCHEDULE, 550, 30, "power"), 5.0)
    assert (solver.sigma[:-1] > 0).all()
    assert solver.sigma[-1] == 0, "the step to the molecule adds nothing"
    alpha, sigma = SCHEDULE.alpha_sigma_at(solver.time)
    s = sigma / alpha
    h = np.log(s[:-1] / s[1:])
    kept = np.exp(-(1 + 5.0) * h) * s[:-1]
    np.testing.assert_allclose(np.hypot(kept, solver.sigma[:-1] / alpha[1:]), s[1:], rtol=1e-9)


def test_no_level_is_raised_beyond_the_first_or_outside_its_bounds():
    times = spaced(SCHEDULE, 550, 50, "arcsine")
    solver = annealed(SCHEDULE, times, 1.4, (0.03, 0.5))
    s = np.exp(0.5 * SCHEDULE.gamma_at(times))
    lifted = np.exp(0.5 * SCHEDULE.gamma_at(solver.time))
    inside = (s >= 0.03) & (s <= 0.5)
    np.testing.assert_allclose(lifted[~inside], s[~inside], rtol=1e-9)
    np.testing.assert_allclose(lifted[inside], np.minimum(1.4 * s[inside], s[0]), rtol=1e-3)
    assert 10 < inside.sum() < 50
    assert solver.sigma[0] > 0 or not inside[1]
    everywhere = annealed(SCHEDULE, times, 1.4, (0.0, 9.0))
    assert everywhere.time.max() <= 550 + 1e-9


@pytest.mark.parametrize(
    ("method", "n", "evaluations"),
    [
        ("ddim", 1, 1),
        ("sde", 1, 1),
        ("sde", 2, 2),
        ("dpm++", 1, 1),
        ("dpm++", 2, 2),
        ("heun", 1, 1),
        ("heun", 5, 9),
        ("annealed", 3, 3),
    ],
)
def test_evaluations(method, n, evaluations):
    solver = ONE_STEP[method](SCHEDULE, spaced(SCHEDULE, 550, n, "power"))
    assert len(solver) == len(solver.c_z) == len(solver.c_memory) == evaluations
    assert np.isfinite(deterministic(solver, 1.0))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_times_go_down_from_the_first_to_the_last(spacing):
    times = spaced(SCHEDULE, 550, 50, spacing)
    assert (times[0], times[-1]) == (550.0, 0.0)
    assert np.all(np.diff(times) < 0)


def test_the_arcsine_rule():
    """Twenty-five of fifty levels lie in the middle third of ln s, where even ones would have seventeen."""
    level = SCHEDULE.gamma_at(spaced(SCHEDULE, 550, 51, "arcsine", bend=2.5)) / 2
    share = (level - level[-1]) / (level[0] - level[-1])
    assert ((share > 1 / 3) & (share < 2 / 3)).sum() >= 25
    np.testing.assert_allclose(share + share[::-1], 1.0, atol=1e-6)
    even = SCHEDULE.gamma_at(spaced(SCHEDULE, 550, 51, "arcsine", bend=0.0))
    np.testing.assert_allclose(np.diff(even), np.diff(even).mean(), rtol=1e-6)


@pytest.mark.parametrize("arguments", [(0, "power", 2.0), (5, "cubic", 2.0), (5, "arcsine", 2.8), (5, "arcsine", -1.0)])
def test_spacings_that_cannot_be(arguments):
    n, spacing, bend = arguments
    with pytest.raises(InvalidInput):
        spaced(SCHEDULE, 550, n, spacing, bend=bend)
