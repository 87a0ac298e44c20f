"""The plain loop is the reference: what the engine computes, in batches, threads and any layout, is the same."""

import numpy as np
import pytest
import torch

from gaga.core.rng import STREAM_START, normals
from gaga.models.network.layout import Layout
from gaga.models.sampling.batch import STREAM_END
from gaga.models.sampling.config import METHODS, SampleConfig
from gaga.models.sampling.loop import denoise
from gaga.models.sampling.plan import draw_sizes, start_reference
from gaga.models.sampling.solvers import euler, solver_of
from gaga.models.sampling.stream import sample_stream
from tests.models.conftest import AWKWARD_SIZES, VARIANCES
from tests.models.sampling.test_batch import X0, network_model

SEED = 7


def by_loop(model, config, keys, sizes, dtype):
    """Molecules of these keys by the plain loop, with the random numbers that the engine draws for them."""
    solver, columns = solver_of(model, config), model.space.columns
    reference = start_reference(model, config)
    alpha2 = float(model.schedule.alpha2_at(solver.time[:1])[0])
    start = reference.transform(normals(SEED, keys, sizes, columns, STREAM_START), sizes, alpha2)
    streams = [*range(len(solver) - 2, -1, -1), STREAM_END]

    def drawn(k):
        return torch.from_numpy(normals(SEED, keys, sizes, columns, streams[k])).to(dtype)

    return denoise(model, solver, torch.from_numpy(start).to(dtype), Layout.of(sizes), drawn)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_the_engine_is_the_loop_to_rounding(gaussian_model, method, dtype, tolerance):
    """float32: a few steps of a network whose outputs are about 1, so 2e-4 is some hundreds of roundings."""
    model = network_model(gaussian_model, dtype=dtype, precondition=X0)
    config = SampleConfig(method=method, steps=9, batch_size=3)
    keys = np.arange(8)
    sizes = draw_sizes(keys, model.known_moments(), None, SEED)
    expected = by_loop(model, config, keys, sizes, dtype).double().numpy()
    drawn = list(sample_stream(model, range(8), config, seed=SEED))
    positions = np.concatenate([molecule.positions for molecule in drawn])
    numbers = np.concatenate([molecule.atomic_numbers for molecule in drawn])
    np.testing.assert_allclose(positions, expected[:, :3] * model.space.factors[0], atol=tolerance * 10 + 1e-6)
    assert np.array_equal(numbers, model.space.decode_types(expected))


def test_one_molecule_alone_is_the_same_as_among_others(gaussian_model):
    model = network_model(gaussian_model)
    config = SampleConfig(method="annealed", steps=6)
    sizes = np.sort(AWKWARD_SIZES)
    keys = np.arange(len(sizes))
    together = by_loop(model, config, keys, sizes, torch.float64)
    first = sizes[0]
    alone = by_loop(model, config, keys[:1], sizes[:1], torch.float64)
    torch.testing.assert_close(alone, together[:first], rtol=1e-9, atol=1e-9)


def test_the_loop_takes_gaussian_data_to_gaussian_data(gaussian_model):
    """With the exact noise prediction many Euler steps return the data's variance."""
    model = gaussian_model
    times = np.linspace(model.max_t, 0, 600)
    sizes, columns = np.full(400, 12), model.space.columns
    reference = start_reference(model, SampleConfig(start="block"))
    alpha2 = float(model.schedule.alpha2_at(times[:1])[0])
    start = reference.transform(normals(1, np.arange(400), sizes, columns, STREAM_START), sizes, alpha2)
    layout = Layout.of(sizes)
    z = denoise(model, euler(model.schedule, times), torch.from_numpy(start), layout, lambda k: pytest.fail("no noise"))
    variance = z[:, :3].square().sum() / (3 * (12 - 1) * 400)
    assert abs(float(variance) / VARIANCES[0] - 1) < 0.05  # 13,200 numbers: a standard error of 1.2 %
