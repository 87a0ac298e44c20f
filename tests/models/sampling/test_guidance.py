"""Classifier-free and gradient guidance: what they add, where, and that rotations pass through them."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.core.rng import STREAM_START, normals
from gaga.data.features import FeatureSpace
from gaga.data.shapes import ShapeLibrary
from gaga.data.targets import Scale
from gaga.models.api import sample
from gaga.models.conditioning import Conditioning
from gaga.models.network.layout import Layout
from gaga.models.sampling.batch import STREAM_END
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.guidance import ClassifierFree, Guide, probabilities
from gaga.models.sampling.loop import UNGUIDED, Guidance, denoise
from gaga.models.sampling.solvers import solver_of
from gaga.models.sampling.stream import sample_stream
from tests.models.conftest import VARIANCES
from tests.models.sampling.test_seams import conditioned

SEED, SLOPE = 3, 0.3
SIZES = np.array([4, 9, 2])


def of_property(model):
    """The model with a property c whose molecules have the variance of positions 2 (1 + 0.3 c); c is -1, 0 or 1."""
    rows = np.tile([2.0, 2.0, 2.0, 4, 2, 1, 1, 1], (30, 1)).astype(np.float16)
    values = np.repeat([[-1.0], [0.0], [1.0]], 10, axis=0).astype(np.float32)
    return replace(model, conditioning=Conditioning(
        names=("c",), units=("",), scale=Scale((0.0,), (1.0,)), dropout=0.1, values=values,
        shapes=ShapeLibrary.from_rows(rows, 5), slopes=(SLOPE,), widths=(0.5, 2.0),
    ))  # fmt: skip


@dataclass(frozen=True)
class OptimalByProperty:
    """E[eps | z_t, c] of such data, and of c = 0 without a condition."""

    model: object

    def __call__(self, z, given, layout):
        t, c = given[:, 0], given[:, 1] * given[:, 2]
        alpha, sigma = self.model.alpha_sigma_between(t, z)
        v = torch.from_numpy(VARIANCES).to(z).repeat(len(layout), 1)
        v[:, :3] *= (1 + SLOPE * c)[:, None]
        gain = sigma[:, None] / (alpha[:, None] ** 2 * v + sigma[:, None] ** 2)
        return layout.per_atom(gain) * z


@pytest.fixture
def exact(gaussian_model):
    return replace(of_property(gaussian_model), network=OptimalByProperty(gaussian_model))


@pytest.fixture
def egnn(gaussian_model):
    return of_property(conditioned(gaussian_model))


def width(molecules):
    x = molecules.positions.astype(float)
    return (x**2).sum() / (3 * (molecules.n_atoms - 1)).sum()


def test_the_sampler_returns_the_gaussian_of_each_property(exact):
    """Also from T* on: the start has its variance too."""
    for c in (-1, 1):
        found = width(sample(exact, 300, seed=SEED, steps=30, target={"c": c}))
        assert found == pytest.approx(2 * (1 + SLOPE * c), rel=0.05)


def test_guidance_moves_beyond_the_condition(exact):
    drawn = {w: width(sample(exact, 200, seed=SEED, steps=20, target={"c": 1}, guidance=w)) for w in (0.0, 1.0)}
    assert drawn[1.0] > 1.02 * drawn[0.0]


def noisy(model, seed=0):
    layout, rng = Layout.of(SIZES), np.random.default_rng(seed)
    z = layout.centre(torch.from_numpy(rng.normal(size=(SIZES.sum(), 8))), model.centred_columns)
    context = torch.tensor([[1.0, 1.0], [-0.5, 1.0], [0.0, 0.0]], dtype=torch.float64)
    return z, layout, context


def time_of(model, level, molecules=3):
    t = float(model.schedule.time_at(np.array([2 * np.log(level)]))[0]) / model.schedule.T
    return torch.full((molecules,), t, dtype=torch.float64)


def test_it_combines_linearly_within_its_window_alone(egnn):
    z, layout, context = noisy(egnn)
    t = time_of(egnn, 0.5)
    conditional, null = egnn.noise(z, t, layout, context), egnn.noise(z, t, layout, torch.zeros_like(context))
    guided = ClassifierFree(1.5)
    assert isinstance(guided, Guidance)
    torch.testing.assert_close(guided(egnn, z, t, layout, context), 2.5 * conditional - 1.5 * null)
    assert torch.equal(ClassifierFree(0.0)(egnn, z, t, layout, context), conditional)
    for level in (0.05, 4.0):
        t = time_of(egnn, level)
        assert torch.equal(guided(egnn, z, t, layout, context), egnn.noise(z, t, layout, context))


def test_without_guidance_a_step_takes_one_evaluation(egnn, monkeypatch):
    calls = []
    right = type(egnn.network).forward
    monkeypatch.setattr(type(egnn.network), "forward", lambda *a: calls.append(1) or right(*a))
    plain = sample(egnn, 2, seed=SEED, steps=5)
    evaluations = len(calls)
    guided = sample(egnn, 2, seed=SEED, steps=5, guidance=1.0, guidance_between=(20.0, 30.0))
    assert (evaluations, len(calls)) == (5, 10), "nothing is evaluated twice outside the window"
    np.testing.assert_array_equal(plain.positions, guided.positions)
    sample(egnn, 2, seed=SEED, steps=5, guidance=1.0, guidance_between=(0.0, 30.0))
    assert len(calls) == 20


def towards_narrow(positions, types, sizes):
    """Molecules' squared radii of gyration and their first element, with a minus."""
    index = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    each = positions.square().sum(dim=1) + types[:, 0]
    return -positions.new_zeros(len(sizes)).index_add(0, index, each)


def test_a_gradient_is_that_of_the_score_and_centred(egnn):
    z, layout, context = noisy(egnn)
    t, guide = time_of(egnn, 0.5), Guide(towards_narrow, scale=1e-3)
    alpha, sigma = egnn.alpha_sigma_between(t, z)

    def score(z):
        eps = egnn.noise(z, t, layout, context)
        x_hat = (z - layout.per_atom(sigma)[:, None] * eps) / layout.per_atom(alpha)[:, None]
        return towards_narrow(x_hat[:, :3], probabilities(x_hat, egnn.space, layout), layout.sizes).sum()

    plain, moved = egnn.noise(z, t, layout, context), guide(egnn, z, t, layout, context)
    added = (plain - moved) / (1e-3 * float(sigma[0]))
    torch.testing.assert_close(layout.centre(added, 8), added, atol=1e-10, rtol=0)
    direction = layout.centre(torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(1)), 8)
    slope = (score(z + 1e-5 * direction) - score(z - 1e-5 * direction)) / 2e-5
    torch.testing.assert_close((added * direction).sum(), slope, rtol=1e-4, atol=1e-7)
    assert torch.equal(
        guide(egnn, z, time_of(egnn, 0.01), layout, context), egnn.noise(z, time_of(egnn, 0.01), layout, context)
    )


def test_a_steep_score_adds_at_most_half_of_the_noise(egnn):
    z, layout, context = noisy(egnn)
    t = time_of(egnn, 0.5)
    plain = egnn.noise(z, t, layout, context)
    added = Guide(towards_narrow, scale=1e6)(egnn, z, t, layout, context) - plain
    lengths = [layout.sum(values.square().sum(dim=1)).sqrt() for values in (added, plain)]
    torch.testing.assert_close(lengths[0], 0.5 * lengths[1])


def test_a_guide_leads_to_a_higher_score(exact):
    """And is unguided with a scale of 0."""
    plain = sample(exact, 20, seed=SEED, steps=15, target={"c": 0})
    led = sample(exact, 20, seed=SEED, steps=15, target={"c": 0}, guide=Guide(towards_narrow, scale=0.05))
    assert width(led) < 0.9 * width(plain)
    same = sample(exact, 20, seed=SEED, steps=15, target={"c": 0}, guide=Guide(towards_narrow, scale=0.0))
    np.testing.assert_allclose(same.positions, plain.positions, atol=1e-5)


@pytest.mark.parametrize(
    "guidance", [UNGUIDED, ClassifierFree(2.0), Guide(towards_narrow, 0.1, inner=ClassifierFree(1.0))]
)
def test_rotated_noise_gives_rotated_molecules(egnn, guidance):
    z, layout, context = noisy(egnn)
    solver = solver_of(egnn, SampleConfig(steps=4))
    turn = torch.from_numpy(np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0])

    def turned(x):
        return torch.cat([x[:, :3] @ turn, x[:, 3:]], dim=1)

    def drawn(k):
        return torch.from_numpy(np.random.default_rng(k).normal(size=z.shape))

    found = denoise(egnn, solver, z, layout, drawn, context=context, guidance=guidance)
    other = denoise(egnn, solver, turned(z), layout, lambda k: turned(drawn(k)), context=context, guidance=guidance)
    torch.testing.assert_close(other, turned(found), atol=1e-9, rtol=1e-9)


def test_guidance_in_the_engine_is_that_of_the_loop(egnn):
    guide, config, keys = Guide(towards_narrow, 0.05), SampleConfig(steps=5, guidance=1.0, start="prior"), np.arange(4)
    sizes, solver = np.full(4, 9), solver_of(egnn, config)
    start = torch.from_numpy(normals(SEED, keys, sizes, 8, STREAM_START))
    streams = [*range(len(solver) - 2, -1, -1), STREAM_END]
    found = list(sample_stream(egnn, range(4), replace(config, target=("c=1",)), seed=SEED, guide=guide))
    context = torch.tensor([[1.0, 1.0]] * 4, dtype=torch.float64)
    expected = denoise(
        egnn, solver, start, Layout.of(sizes), lambda k: torch.from_numpy(normals(SEED, keys, sizes, 8, streams[k])),
        context=context, guidance=replace(guide, inner=ClassifierFree(1.0)),
    )  # fmt: skip
    np.testing.assert_allclose(np.concatenate([m.positions for m in found]), expected[:, :3].numpy(), atol=1e-4)


def test_probabilities_are_those_of_the_elements():
    layout = Layout.of(np.array([3, 2]))
    for centred in (True, False):
        space = FeatureSpace((1, 6, 8), centred_features=centred)
        types = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 2, 1]] / 4
        x = torch.cat([torch.zeros(5, 3, dtype=torch.float64), types], dim=1)
        x = layout.centre(x, space.centred_columns)
        torch.testing.assert_close(probabilities(x, space, layout), 4 * types, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("scorer", "said"),
    [
        (lambda x, h, n: x.sum(), "one number for each"),
        (lambda x, h, n: 3.0, "one number for each"),
        (lambda x, h, n: torch.zeros(len(n)), "is differentiable"),
    ],
)
def test_a_scorer_that_cannot_be_is_one_clear_line(egnn, scorer, said):
    with pytest.raises(InvalidInput, match=said):
        sample(egnn, 2, steps=3, guide=Guide(scorer))


def test_the_example_of_the_page_runs():
    (code,) = re.findall(
        r"```python\n(.*?)```", (Path(__file__).parents[3] / "docs" / "STEER.md").read_text("utf-8"), re.S
    )
    names: dict[str, object] = {}
    exec(code.replace('"qm9_small", 100,', '"qm9_small", 2, steps=3,'), names)  # noqa: S102 - our own page
    assert len(names["molecules"]) == 2
    assert names["molecules"].finite.all()
