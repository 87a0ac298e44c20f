"""Where other parts fit in: a second, small path, reference, space, condition, and edit between steps."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.core.rng import STREAM_START, normals
from gaga.data.features import FeatureSpace, Space
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.flat import run_flat
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import EGNNConfig
from gaga.models.sampling.batch import STREAM_EDIT, STREAM_END
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.loop import Condition, Edit, SameForAll, denoise
from gaga.models.sampling.plan import draw_sizes, start_reference
from gaga.models.sampling.solvers import annealed, euler, heun, solver_of, spaced, two_step
from gaga.models.sampling.stream import sample_stream
from tests.models.sampling.test_batch import X0, network_model

V, SEED = 2.0, 3


@dataclass(frozen=True)
class Straight:
    """The path of flow matching, alpha = 1 - t / T and sigma = t / T (Lipman et al. 2023)."""

    T: int = 1000

    def gamma_at(self, t):
        alpha, sigma = self.alpha_sigma_at(t)
        return 2 * np.log(sigma / alpha)

    def time_at(self, gamma):
        s = np.exp(0.5 * gamma)
        return self.T * s / (1 + s)

    def alpha_sigma_at(self, t):
        return 1 - t / self.T, t / self.T


def plain_euler(path, times):
    return annealed(path, times, 1.0, (0.0, 9.0))


@pytest.mark.parametrize(("make", "within"), [(euler, 0.01), (heun, 1e-4), (two_step, 1e-4), (plain_euler, 0.01)])
def test_a_solver_runs_on_another_path(make, within):
    """Gaussian data of variance v: its probability flow takes x at level s to x sqrt(v / (v + s^2)) at 0."""
    path = Straight()
    times = spaced(path, 900.0, 400, "log-snr", last=0.5)
    solver, memory = make(path, times), 0.0
    (alpha,), (sigma,) = path.alpha_sigma_at(times[:1])
    z, s = 1.3 * alpha, sigma / alpha
    for k in range(len(solver)):
        a, b = path.alpha_sigma_at(solver.time[k])
        eps = b * z / (a**2 * V + b**2)  # the best prediction
        z, memory = (solver.c_z[k] * z - solver.c_eps[k] * eps + solver.c_memory[k] * memory,
                     solver.m_z[k] * z + solver.m_eps[k] * eps)  # fmt: skip
    assert z == pytest.approx(1.3 * np.sqrt(V / (V + s**2)), rel=within)


class TwoWidths:
    """A start that is no Gaussian: molecules are narrow or wide, by the sign of a first number."""

    def transform(self, noise, n_atoms, alpha2, context=None):
        first = np.concatenate([[0], np.cumsum(n_atoms)[:-1]])
        return noise * np.repeat(np.where(noise[first, 0] > 0, 0.5, 1.5), n_atoms)[:, None]


class HoldFirstAtoms:
    """Each molecule's first atom is put at (k, key / 10, a random number)."""

    def about(self, keys, sizes, seed):
        return np.repeat(keys, sizes)[:, None] / 10.0

    def __call__(self, z, k, layout, about, normals):
        z = z.clone()
        first = (torch.cumsum(layout.sizes, 0) - layout.sizes).long()
        z[first, 0] = float(k)
        z[first, 1], z[first, 2] = about[first, 0], normals(k + 1)[first, 2]
        return z


@pytest.mark.parametrize("method", ["ddpm", "annealed"])
def test_another_reference_and_an_edit_in_the_engine_are_those_of_the_loop(gaussian_model, method):
    model = network_model(gaussian_model, dtype=torch.float64, precondition=X0)
    config, keys = SampleConfig(method=method, steps=6, batch_size=3), np.arange(7)
    sizes, solver = draw_sizes(keys, model.known_moments(), None, SEED), solver_of(model, config)
    alpha2 = float(model.schedule.alpha2_at(solver.time[:1])[0])
    noise = normals(SEED, keys, sizes, model.space.columns, STREAM_START)
    start = torch.from_numpy(TwoWidths().transform(noise, sizes, alpha2))
    streams = [*range(len(solver) - 2, -1, -1), STREAM_END]

    def drawn(k):
        return torch.from_numpy(normals(SEED, keys, sizes, model.space.columns, streams[k]))

    def edited(number):
        return torch.from_numpy(normals(SEED, keys, sizes, model.space.columns, STREAM_EDIT + number))

    edit, layout = HoldFirstAtoms(), Layout.of(sizes)
    assert isinstance(edit, Edit)
    about = torch.from_numpy(edit.about(keys, sizes, SEED))
    expected = denoise(model, solver, start, layout, drawn, lambda z, k: edit(z, k, layout, about, edited)).numpy()
    found = list(sample_stream(model, range(7), config, seed=SEED, reference=TwoWidths(), edit=edit))
    positions = np.concatenate([molecule.positions for molecule in found])
    np.testing.assert_allclose(positions, expected[:, :3] * model.space.factors[0], atol=1e-5)
    for molecule in found:
        assert molecule.positions[0][:2] == pytest.approx([len(solver) - 1, molecule.index / 10])


@dataclass(frozen=True)
class Turned:
    """Latents: positions, and the columns of types turned by an orthogonal matrix."""

    plain: FeatureSpace = field(default_factory=lambda: FeatureSpace((1, 6, 7, 8, 9)))
    turn: np.ndarray = field(default_factory=lambda: np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0])

    @property
    def columns(self):
        return self.plain.columns

    @property
    def centred_columns(self):
        return self.plain.centred_columns

    @property
    def unit(self):
        return self.plain.unit

    @property
    def largest(self):
        return np.full(5, self.plain.largest.max())

    def encode(self, molecules):
        x = self.plain.encode(molecules)
        return np.concatenate([x[:, :3], x[:, 3:] @ self.turn], axis=1)

    def decode(self, values, offsets):
        return self.plain.decode(np.concatenate([values[:, :3], values[:, 3:] @ self.turn.T], axis=1), offsets)


def test_another_space_is_encoded_sampled_and_decoded(gaussian_model):
    """The toy data has one variance for all types, so that turning them changes nothing but the decoder."""
    space = Turned()
    assert isinstance(space, Space)
    molecules = pack([(np.array([6, 1, 8]), np.eye(3)), (np.array([9, 7]), np.zeros((2, 3)))])
    numbers, positions, _ = space.decode(space.encode(molecules), molecules.offsets)
    assert numbers.tolist() == molecules.atomic_numbers.tolist()
    np.testing.assert_allclose(positions[:3] - positions[0], np.eye(3) - np.eye(3)[0], atol=1e-6)
    config = SampleConfig(method="heun", steps=9)
    plain = list(sample_stream(gaussian_model, range(5), config, seed=SEED))
    turned = list(sample_stream(replace(gaussian_model, space=space), range(5), config, seed=SEED))
    for one, other in zip(plain, turned, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    assert any((one.atomic_numbers != other.atomic_numbers).any() for one, other in zip(plain, turned, strict=True))


class BySize:
    """A context of two numbers: the size of a molecule, and half of its key."""

    def context(self, keys, sizes):
        return np.stack([sizes / 9.0, keys / 2.0], axis=1)


def conditioned(model, kernel="torch", context=2):
    """The model with a network that takes a context."""
    torch.manual_seed(3)
    network = EGNN(EGNNConfig(features=5, hidden=16, n_layers=2, context=context), kernel).double()
    return replace(model, network=network.requires_grad_(False))


def test_a_condition_in_the_engine_is_that_of_the_loop(gaussian_model):
    model, condition = conditioned(gaussian_model), BySize()
    assert isinstance(condition, Condition)
    config, keys = SampleConfig(method="annealed", steps=5, batch_size=3), np.arange(7)
    sizes, solver = draw_sizes(keys, model.known_moments(), None, SEED), solver_of(model, config)
    alpha2 = float(model.schedule.alpha2_at(solver.time[:1])[0])
    noise = normals(SEED, keys, sizes, model.space.columns, STREAM_START)
    start = torch.from_numpy(start_reference(model, config).transform(noise, sizes, alpha2))
    streams = [*range(len(solver) - 2, -1, -1), STREAM_END]

    def drawn(k):
        return torch.from_numpy(normals(SEED, keys, sizes, model.space.columns, streams[k]))

    context = torch.from_numpy(condition.context(keys, sizes))
    expected = denoise(model, solver, start, Layout.of(sizes), drawn, context=context).numpy()

    def positions(condition):
        found = sample_stream(model, range(7), config, seed=SEED, condition=condition)
        return np.concatenate([molecule.positions for molecule in found])

    np.testing.assert_allclose(positions(condition), expected[:, :3] * model.space.factors[0], atol=1e-5)
    assert np.abs(positions(SameForAll((0.5, 0.0))) - positions(condition)).max() > 1e-4
    with pytest.raises(InvalidInput, match="takes a context of 2 columns"):
        positions(None)
    with pytest.raises(InvalidInput, match="takes a context of 2 columns"):
        positions(SameForAll((1.0,)))


def test_a_reference_receives_the_context(gaussian_model):
    class Scaled:
        def transform(self, noise, n_atoms, alpha2, context=None):
            return noise * np.repeat(context[:, 1], n_atoms)[:, None]

    model = conditioned(gaussian_model)
    config = SampleConfig(method="heun", steps=3, frames=2)
    found = list(sample_stream(model, range(3), config, seed=SEED, reference=Scaled(), condition=BySize()))
    starts = [np.abs(molecule.frames[0][1]).max() for molecule in found]
    assert starts[0] < 1e-6 < starts[1] < starts[2]


def test_all_kernels_take_a_context_with_its_gradient():
    sizes = np.array([1, 2, 9, 9, 5])
    layout, rng = Layout.of(sizes), np.random.default_rng(1)
    z = layout.centre(torch.from_numpy(rng.normal(size=(sizes.sum(), 8))), 3)
    t = torch.from_numpy(rng.uniform(size=(5, 3)))
    networks = {}
    for kernel in ("naive", "torch"):
        torch.manual_seed(3)
        networks[kernel] = EGNN(EGNNConfig(features=5, hidden=16, n_layers=2, context=2), kernel).double()
    calls = [networks["naive"], networks["torch"], lambda z, t, layout: run_flat(networks["torch"], z, t, layout)]
    results = []
    for call in calls:
        given = t.clone().requires_grad_()
        out = call(z, given, layout)
        (grad,) = torch.autograd.grad(out.square().sum(), given)
        results.append((out.detach(), grad))
    for out, grad in results[1:]:
        torch.testing.assert_close(out, results[0][0], rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(grad, results[0][1], rtol=1e-9, atol=1e-11)
    assert (results[0][1].abs().sum(dim=0) > 0).all()
    with pytest.raises(InvalidInput, match="takes a context of 2"):
        networks["torch"](z, t[:, 0], layout)


def test_the_loss_takes_a_context(gaussian_model):
    model = conditioned(gaussian_model)
    layout = Layout.of(np.array([3, 9]))
    x, eps = torch.zeros(12, 8, dtype=torch.float64), torch.ones(12, 8, dtype=torch.float64)
    losses = [model.loss(x, eps, torch.tensor([200, 300]), layout, torch.full((2, 2), c).double()) for c in (0.0, 3.0)]
    assert (losses[0] != losses[1]).all()
