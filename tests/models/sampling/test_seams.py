"""Where other parts fit in: another path, another reference, an edit between steps; a second, small one of each."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gaga.core.rng import STREAM_START, normals
from gaga.models.network.layout import Layout
from gaga.models.sampling.batch import STREAM_END
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.loop import denoise
from gaga.models.sampling.plan import draw_sizes
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

    def transform(self, noise, n_atoms, alpha2):
        first = np.concatenate([[0], np.cumsum(n_atoms)[:-1]])
        return noise * np.repeat(np.where(noise[first, 0] > 0, 0.5, 1.5), n_atoms)[:, None]


def hold_first_atoms(z, k, layout):
    """Each molecule's first atom is put at (k, 0, 0)."""
    z = z.clone()
    first = torch.cumsum(layout.sizes, 0) - layout.sizes
    z[first.long(), :3] = z.new_tensor([float(k), 0.0, 0.0])
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

    expected = denoise(model, solver, start, Layout.of(sizes), drawn, hold_first_atoms).numpy()
    found = list(sample_stream(model, range(7), config, seed=SEED, reference=TwoWidths(), edit=hold_first_atoms))
    positions = np.concatenate([molecule.positions for molecule in found])
    np.testing.assert_allclose(positions, expected[:, :3] * model.space.factors[0], atol=1e-5)
    assert all(molecule.positions[0] == pytest.approx([len(solver) - 1, 0, 0]) for molecule in found)
