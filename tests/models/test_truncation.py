"""The price of truncation on molecules whose divergences are known by numerical integration.

Pairs of equal atoms: along each axis the half distance is a mixture of two Gaussians, and both atoms are H or both C,
where types are not centred; the best denoiser is written down.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, pack
from gaga.data.features import FeatureSpace
from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.quadrature import Grid
from gaga.models.truncation import Errors, price
from gaga.models.truncation_config import TruncationConfig
from gaga.noise import Moments, Schedule, make_schedule
from gaga.stats.moments import estimate_moments
from tests.models.conftest import VARIANCES, toy_molecules

AWAY, WIDTH = 1.5, 0.5  # of the two Gaussians, along each axis of the unit direction (x_1 - x_2) / sqrt(2)
CARBON = 0.3  # share of C2
SCHEDULE = make_schedule()
SPACE = FeatureSpace((1, 6), centred_features=False)
TYPE_STEP = np.array([-1.0, 1.0, -1.0, 1.0]) / 4  # from H2 to C2, over both atoms


def pairs(n: int, seed: int = 0) -> PackedMolecules:
    rng = np.random.default_rng(seed)
    w = AWAY * rng.choice([-1, 1], (n, 3)) + WIDTH * rng.normal(size=(n, 3))
    numbers = np.where(rng.random(n) < CARBON, 6, 1)
    return pack(([z, z], [u / np.sqrt(2), -u / np.sqrt(2)]) for z, u in zip(numbers, w, strict=True))


def moments_of_pairs() -> Moments:
    """Exact ones: W of positions, B of types."""
    within, between = np.zeros((3, 5, 5)), np.zeros((3, 5, 5))
    within[:, range(3), range(3)] = AWAY**2 + WIDTH**2
    between[:, 3:, 3:] = 2 * CARBON * (1 - CARBON) / 16 * np.array([[1, -1], [-1, 1]])
    return Moments(
        blocks=("positions", "types"),
        starts=np.array([0, 3, 5]),
        centred=np.array([True] * 3 + [False] * 2),
        mean=np.array([0, 0, 0, 1 - CARBON, CARBON]) / np.array([1, 1, 1, 4, 4]),
        counts=np.array([0, 0, 1000]),
        scalar=1.0,
        block=np.array([AWAY**2 + WIDTH**2, 0.01]),
        within=within,
        between=between,
        published=0.8,
    )


@dataclass(frozen=True)
class Best:
    """E[eps | z_t], with an error of its own at each entry where one is asked for."""

    schedule: Schedule = SCHEDULE
    error: float = 0.0

    def __call__(self, z: Tensor, t: Tensor, layout: Layout) -> Tensor:
        gamma = self.schedule.gamma_at(t[:1].double().numpy() * self.schedule.T)[0]
        alpha, sigma = np.sqrt(1 / (1 + np.exp(gamma))), np.sqrt(1 / (1 + np.exp(-gamma)))
        first, second = z.double().reshape(-1, 2, 5).unbind(dim=1)
        w = (first[:, :3] - second[:, :3]) / np.sqrt(2)
        v = (alpha * WIDTH) ** 2 + sigma**2
        sign = torch.tanh(alpha * AWAY * w / v)
        w = (alpha * WIDTH**2 * w + AWAY * sigma**2 * sign) / v
        types = torch.cat([first[:, 3:], second[:, 3:]], dim=1) @ torch.from_numpy(TYPE_STEP)
        carbon = torch.sigmoid(np.log(CARBON / (1 - CARBON)) + alpha / sigma**2 * types)[:, None]
        chosen = torch.cat([1 - carbon, carbon], dim=1) / 4
        x = torch.stack([torch.cat([s * w / np.sqrt(2), chosen], dim=1) for s in (1, -1)], dim=1).reshape(-1, 5)
        wrong = self.error * torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
        return ((z - alpha * x) / sigma + wrong).to(z.dtype)


def model_of(network: object, max_t: int = 1000) -> Model:
    return Model(network, SCHEDULE, SPACE, max_t=max_t, moments=moments_of_pairs())


def known(t: int) -> dict[str, float]:
    """KL(q(z_t) || Gaussian) by numerical integration, for the matched one and the prior."""
    alpha2 = SCHEDULE.alpha2[t]
    alpha, sigma2 = np.sqrt(alpha2), 1 - alpha2
    places = [(0.5, -alpha * AWAY), (0.5, alpha * AWAY)]
    spread = np.sqrt(alpha2 * WIDTH**2 + sigma2)
    step = np.linalg.norm(TYPE_STEP)
    # Along the direction of TYPE_STEP, H2 lies at -step / 2 and C2 at step / 2.
    kinds = [(1 - CARBON, -alpha * step / 2), (CARBON, alpha * step / 2)]
    mean = alpha * step * (CARBON - 0.5)
    wide = np.sqrt(sigma2 + alpha2 * CARBON * (1 - CARBON) * step**2)
    matched = 3 * divergence(places, spread, 0, np.sqrt(alpha2 * (AWAY**2 + WIDTH**2) + sigma2))
    matched += divergence(kinds, np.sqrt(sigma2), mean, wide)
    prior = 3 * divergence(places, spread, 0, 1) + divergence(kinds, np.sqrt(sigma2), 0, 1)
    # Across it both have the mean alpha / 4, and z_t the variance sigma^2.
    prior += 1.5 * (sigma2 - 1 - np.log(sigma2)) + 0.5 * alpha2 / 16
    return {"matched": matched, "prior": prior}


def divergence(parts: list[tuple[float, float]], spread: float, mean: float, deviation: float) -> float:
    """KL of a mixture of Gaussians of one spread from N(mean, deviation^2)."""

    def integrand(y: float) -> float:
        density = sum(share * norm.pdf(y, place, spread) for share, place in parts)
        return density * (np.log(density) - norm.logpdf(y, mean, deviation)) if density > 0 else 0.0

    return quad(integrand, -9, 9, points=[place for _, place in parts], limit=200, epsabs=1e-10)[0]


@pytest.fixture(scope="module")
def molecules() -> PackedMolecules:
    return pairs(4000)


@pytest.fixture(scope="module")
def best(molecules):
    config = TruncationConfig(timesteps=(150, 350, 550), n_resamples=200, batch_size=2000)
    return price(model_of(Best()), molecules, config)


def test_the_estimate_is_the_divergence_that_integration_gives(best):
    error = best.per_molecule.std(axis=0) / np.sqrt(4000)
    for s, t in enumerate(best.timesteps.tolist()):
        for kind, exact in known(t).items():
            r = best.references.index(kind)
            assert abs(best.nats[s, r] - exact) < 4 * error[s], (t, kind)
            assert 0.5 * error[s] < (best.high[s, r] - best.low[s, r]) / 3.92 < 2 * error[s]
        assert known(t)["matched"] > 20 * error[s] or t > 400, "the test would see another number"


def test_the_rule_of_integration_on_the_known_error_of_the_mixture():
    """Half the integral of (linear - best error) up to snr(150), each by numerical integration, along one axis."""
    grid = Grid.between(SCHEDULE.snr[[150, 350, 1000]])
    v, tau2 = AWAY**2 + WIDTH**2, WIDTH**2

    def best_error(snr: float) -> float:
        """Of y = sqrt(snr) x + n; the sign's posterior variance is 1 - tanh^2."""
        total = 1 + snr * tau2

        def integrand(y: float) -> float:
            return norm.pdf(y, np.sqrt(snr) * AWAY, np.sqrt(total)) * (
                1 - np.tanh(np.sqrt(snr) * AWAY * y / total) ** 2
            )

        return tau2 / total + (AWAY / total) ** 2 * quad(integrand, -12, 12 + 4 * np.sqrt(snr), limit=200)[0]

    gap = np.array([v / (1 + snr * v) - best_error(snr) for snr in grid.snr])
    found = 0.5 * grid.upto(SCHEDULE.snr[[150, 350]]) @ gap
    for value, t in zip(found, (150, 350), strict=True):
        alpha2 = SCHEDULE.alpha2[t]
        parts = [(0.5, s * np.sqrt(alpha2) * AWAY) for s in (-1, 1)]
        exact = divergence(parts, np.sqrt(alpha2 * tau2 + 1 - alpha2), 0, np.sqrt(alpha2 * v + 1 - alpha2))
        assert value == pytest.approx(exact, abs=2e-5)


def test_what_was_not_trained_is_left_out_and_differences_stay(molecules, best):
    config = TruncationConfig(timesteps=(150, 350, 550), references=("matched",), n_resamples=10, batch_size=2000)
    short = price(model_of(Best(), max_t=550), molecules, config)
    assert short.nats[2, 0] == 0
    assert short.known.tolist() == [True, True, False]
    assert best.known.all()
    for s, t in enumerate((150, 350)):
        error = short.per_molecule[:, s].std() / np.sqrt(4000)
        assert abs(short.nats[s, 0] - (known(t)["matched"] - known(550)["matched"])) < 4 * error
    assert short.unknown > known(550)["matched"]
    assert best.unknown < 1e-3 < short.unknown


def test_a_worse_network_bounds_less(molecules, best):
    matched = best.references.index("matched")
    worse = [
        price(model_of(Best(error=error)), molecules, TruncationConfig(timesteps=(150, 350), batch_size=2000))
        for error in (0.1, 0.5)
    ]
    for s in (0, 1):
        assert best.nats[s, matched] > worse[0].nats[s, matched] + 0.005 > worse[1].nats[s, matched] + 0.01
        assert best.alone[s] > worse[0].alone[s] > worse[1].alone[s] + 0.1
        assert worse[1].alone[s] < -1, "the network by itself says nothing"
        assert worse[1].nats[s, matched] > -0.02, "drawn to the linear denoiser"


def test_on_gaussian_molecules_nothing_is_lost(gaussian_model):
    """Types as clouds of carbon have no variance; positions are Gaussian with the variance of the moments."""
    rng = np.random.default_rng(0)
    clouds = pack((np.full(9, 6), np.sqrt(VARIANCES[0]) * rng.normal(size=(9, 3))) for _ in range(300))
    model = replace(gaussian_model, network=_OfAnyTime(gaussian_model))
    found = price(model, clouds, TruncationConfig(timesteps=(250, 550), n_resamples=50))
    np.testing.assert_allclose(found.per_molecule, 0.0, atol=2e-4)
    np.testing.assert_allclose(found.alone, 0.0, atol=2e-4)
    matched, block, scalar = (found.references.index(kind) for kind in ("matched", "block", "scalar"))
    assert found.nats[0, matched] == pytest.approx(found.nats[0, block], abs=1e-9)
    assert found.nats[0, scalar] > 5
    np.testing.assert_allclose(found.network, found.linear, rtol=1e-4)
    assert found.quadrature < 1e-5
    types_add = 8 * 5 * 0.01 / (1 + found.node_snr * 0.01)  # of the moments, which these clouds do not have
    positions = 8 * 3 * 2.0 / (1 + found.node_snr * 2.0)
    np.testing.assert_allclose(found.exact_linear, positions + types_add, rtol=1e-9)


@dataclass(frozen=True)
class _OfAnyTime:
    """The optimal denoiser of Gaussian molecules between steps too."""

    model: Model

    def __call__(self, z: Tensor, t: Tensor, layout: Layout) -> Tensor:
        alpha2 = torch.from_numpy(self.model.schedule.alpha2_at(t.double().numpy() * 1000))[:, None]
        total = alpha2 * torch.from_numpy(VARIANCES) + 1 - alpha2
        return (layout.per_atom(torch.sqrt(1 - alpha2) / total) * z.double()).to(z.dtype)


def test_a_molecule_has_its_own_noise_whatever_its_batch(toy_model):
    molecules = toy_molecules(20, seed=3)
    config = TruncationConfig(timesteps=(400, 550), n_resamples=10)
    whole = price(toy_model, molecules, replace(config, batch_size=20), seed=7)
    parts = price(toy_model, molecules, replace(config, batch_size=3), seed=7)
    np.testing.assert_allclose(whole.per_molecule, parts.per_molecule, rtol=1e-9, atol=1e-12)

    def error_of(numbers: list[int], first: int = 0) -> np.ndarray:
        some = molecules.take(numbers)
        return price(toy_model, some, config, keys=np.array(numbers) + first, seed=7).network

    together = np.mean([error_of([i]) for i in (4, 5, 9)], axis=0)
    np.testing.assert_allclose(error_of([4, 5, 9]), together, rtol=1e-9)
    assert np.all(np.abs(error_of([9], first=1) / error_of([9]) - 1) > 1e-3)


def test_sums_add_up_and_progress_counts(toy_model):
    seen = []
    molecules = toy_molecules(20, seed=3)
    found = price(toy_model, molecules, progress=lambda done, total, note="": seen.append((done, total)))
    assert found.timesteps.tolist() == [250, 350, 450, 550]
    matched = found.references.index("matched")
    np.testing.assert_allclose(found.nats, found.nats[:, [matched]] + found.gaussian, atol=1e-9)
    np.testing.assert_allclose(found.per_molecule.mean(axis=0), found.nats[:, matched], atol=1e-9)
    assert np.all(found.low <= found.nats + 1e-12)
    assert np.all(found.nats <= found.high + 1e-12)
    where = [int(np.argmin(np.abs(found.curve_t - t))) for t in found.timesteps]
    np.testing.assert_allclose(found.curve[where], found.nats, atol=1e-9)
    assert seen[-1] == (20 * len(found.node_t),) * 2


def test_types_that_are_not_centred(toy_model):
    space = FeatureSpace((1, 6), centred_features=False)
    molecules = toy_molecules(40)
    model = replace(toy_model, space=space, moments=estimate_moments(molecules, space))
    found = price(model, molecules, TruncationConfig(timesteps=(300, 550), n_resamples=10))
    assert np.isfinite(found.nats).all()
    np.testing.assert_allclose(found.linear, found.exact_linear, rtol=0.25)


def test_shares_are_fitted_on_the_other_half():
    rng = np.random.default_rng(0)
    truth, linear = rng.normal(size=(2, 50, 4, 30))
    network = truth + 2 * rng.normal(size=truth.shape)
    errors = Errors(*((a * b).sum(-1) for a, b in ((linear, linear), (linear, network), (network, network))))
    share = errors.shares()
    for half in (0, 1):
        others = slice(1 - half, None, 2)
        for n in range(4):

            def error(c, n=n, others=others):
                return ((linear + c * (network - linear))[others, n] ** 2).sum()

            assert error(share[half, n]) < min(error(share[half, n] + step) for step in (-0.01, 0.01))
    gains = errors.gains(share)
    blend = linear + np.resize(share, (50, 4))[..., None] * (network - linear)
    np.testing.assert_allclose(gains, 0.5 * ((linear**2).sum(-1) - (blend**2).sum(-1)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"timesteps": (551,)}, "trained on steps 0 to 550"),
        ({"timesteps": (0,)}, "trained on steps 0 to 550"),
        ({"references": ("best",)}, "unknown references"),
        ({"level": 1.0}, "level"),
    ],
)
def test_what_cannot_be_is_refused(toy_model, config, message):
    with pytest.raises(InvalidInput, match=message):
        price(toy_model, toy_molecules(5), TruncationConfig(**config))


def test_no_molecules_and_numbers_that_are_not_finite(toy_model):
    with pytest.raises(InvalidInput, match="no molecules"):
        price(toy_model, toy_molecules(5).take([]))
    broken = replace(toy_model, network=lambda z, t, layout: z * float("nan"))
    with pytest.raises(InvalidInput, match="not finite"):
        price(broken, toy_molecules(5))


def test_the_last_step_alone_needs_no_network(toy_model):
    """Of a model that was trained on few steps: nothing is known of q there, the Gaussians are."""
    silent = replace(toy_model, max_t=60, network=lambda z, t, layout: pytest.fail("evaluated"))
    found = price(silent, toy_molecules(5))
    assert found.timesteps.tolist() == [60]
    np.testing.assert_array_equal(found.nats, found.gaussian)
    assert found.nats[0, found.references.index("published")] > 0
