import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.network.precondition import EPS, Precondition
from gaga.models.sampling.batch import BatchSampler, NoisyBatch, StepTables
from gaga.models.sampling.config import METHODS, SampleConfig
from gaga.models.sampling.plan import room_for, start_reference
from gaga.models.sampling.solvers import ancestral, annealed, euler, heun, two_step
from tests.models.conftest import AWKWARD_SIZES, VARIANCES, OptimalDenoiser, gaussian_moments, small_network

STEPS = [550, 400, 251, 250, 100, 1, 0]
SIZES = np.sort(AWKWARD_SIZES)
WAITS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "_unique2", "unique_dim",
         "unique_consecutive", "equal", "repeat_interleave", "lift_fresh", "lift_fresh_copy")  # fmt: skip


class NeverWaits(TorchDispatchMode):
    """Refuses what would make a host wait for its device, or copy to it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        assert name not in WAITS, name
        if name in ("index", "index_put", "index_put_"):
            assert all(index is None or index.dtype == torch.int64 for index in args[1]), "a mask is counted first"
        return func(*args, **(kwargs or {}))


def solver(model, steps, method):
    times = np.array(steps, dtype=float)
    if method == "annealed":
        return annealed(model.schedule, times, 1.4, (0.03, 3.0))
    if method == "sde":
        return two_step(model.schedule, times, 4.0)
    return {"ddpm": ancestral, "ddim": euler, "heun": heun, "dpm++": two_step}[method](model.schedule, times)


def start_of(model, sizes, first=0, steps=STEPS):
    keys = np.arange(first, first + len(sizes))
    reference = start_reference(model, SampleConfig())
    return NoisyBatch.draw(keys, sizes, reference, model.space.columns, float(model.schedule.alpha2[steps[0]]), seed=3)


def walked(model, sizes, *, draws, filled=False, method="ddpm", device="cpu", records=False, first=0, steps=STEPS):
    start = start_of(model, sizes, first, steps)
    layout = Layout.filled(sizes, room_for(sizes, 40), device) if filled else Layout.of(sizes, device)
    like = torch.zeros((), dtype=dtype_of(model), device=device)
    tables = StepTables.of(model, solver(model, steps, method), like)
    walk = BatchSampler(model, tables, layout, 3, draws=draws, records=records)
    return run(walk, start, len(steps)).cpu()


def run(walk, start, n, layout=None):
    walk.begin(start, layout)
    for _ in range(n):
        walk.advance()
    return walk.z.clone()


def dtype_of(model):
    return next(model.network.parameters()).dtype if isinstance(model.network, torch.nn.Module) else torch.float64


def network_model(model, dtype=torch.float64, kernel="torch", device="cpu", precondition=EPS):
    """A network whose steps do not blow molecules up, so that rounding stays what it is."""
    network = small_network(5, kernel=kernel, dtype=dtype).requires_grad_(False)
    for block in network.layers():
        block.coordinates.coord_mlp[4].weight.mul_(0.03)
    return Model(network.to(device), model.schedule, model.space, precondition=precondition, max_t=550,
                 moments=gaussian_moments())  # fmt: skip


X0 = Precondition("x0", tuple(np.sqrt(VARIANCES).tolist()))


@pytest.fixture(params=[EPS, X0], ids=lambda p: p.prediction)
def egnn_model(gaussian_model, request):
    return network_model(gaussian_model, precondition=request.param)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("filled", [False, True])
def test_the_numbers_are_the_same_wherever_they_are_drawn(egnn_model, method, filled):
    host = walked(egnn_model, SIZES, draws=False, method=method)
    device = walked(egnn_model, SIZES, draws=True, method=method, filled=filled)
    torch.testing.assert_close(device, host, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("filled", [False, True])
def test_a_step_never_waits_for_the_device(egnn_model, method, filled):
    layout = Layout.filled(SIZES, room_for(SIZES, 40)) if filled else Layout.of(SIZES)
    tables = StepTables.of(egnn_model, solver(egnn_model, STEPS, method), torch.zeros((), dtype=torch.float64))
    walk = BatchSampler(egnn_model, tables, layout, 3, draws=True)
    walk.begin(start_of(egnn_model, SIZES))
    walk.step()  # lays out groups and places, once
    with NeverWaits():
        walk.step()


def test_what_waits_is_noticed():
    mask = torch.tensor([True, False])
    for waits in (lambda: mask[0].item(), lambda: mask.nonzero(), lambda: mask[mask], lambda: torch.tensor([1.0])):
        with NeverWaits(), pytest.raises(AssertionError):
            waits()


def test_a_batch_takes_over_the_tensors_of_another(gaussian_model):
    """With a network that reads the layout's tensors alone, as kernels that are recorded once do."""
    one, other = np.array([3, 9, 9, 20]), np.array([5, 8, 14, 16])
    capacity = room_for(one, 40)
    assert capacity == room_for(other, 40)
    tables = StepTables.of(gaussian_model, solver(gaussian_model, STEPS, "ddpm"), torch.zeros((), dtype=torch.float64))
    walk = BatchSampler(gaussian_model, tables, Layout.filled(one, capacity), 3, draws=True)
    first = run(walk, start_of(gaussian_model, one), len(STEPS))
    second = run(walk, start_of(gaussian_model, other, 100), len(STEPS), Layout.filled(other, capacity))
    again = run(walk, start_of(gaussian_model, one), len(STEPS), Layout.filled(one, capacity))
    torch.testing.assert_close(second, walked(gaussian_model, other, draws=False, first=100))
    assert torch.equal(first, again)


def test_the_last_step_moves_positions_and_reads_types_off_z_0(egnn_model):
    start = start_of(egnn_model, SIZES)
    tables = StepTables.of(egnn_model, solver(egnn_model, STEPS, "ddim"), torch.zeros((), dtype=torch.float64))
    walk = BatchSampler(egnn_model, tables, Layout.of(SIZES), 3, draws=False)
    z0 = run(walk, start, len(STEPS) - 1)
    walk.advance()
    torch.testing.assert_close(walk.z[:, 3:], z0[:, 3:], rtol=1e-12, atol=1e-12)
    assert (walk.z[:, :3] - z0[:, :3]).abs().max() > 1e-6


def test_halves_are_the_whole(egnn_model):
    start = start_of(egnn_model, SIZES)
    one, other = start.halves()
    np.testing.assert_array_equal(np.concatenate([one.z, other.z]), start.z)
    assert one.keys.tolist() + other.keys.tolist() == start.keys.tolist()
    assert (one.sizes.sum(), other.sizes.sum()) == (len(one.z), len(other.z))


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_near_float64(gaussian_model, egnn_model, method):
    steps = [*range(550, 0, -28), 0]
    expected = walked(egnn_model, SIZES, draws=False, method=method, steps=steps)
    near = network_model(gaussian_model, torch.float32, precondition=egnn_model.precondition)
    found = walked(near, SIZES, draws=True, method=method, steps=steps)
    tolerance = 6e-3 if method == "sde" else 3e-3  # its step from 28 to 0 extrapolates twentyfold
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=3e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_recorded_steps_are_those_of_the_processor(gaussian_model, egnn_model, dtype, tolerance, method):
    steps = [*range(550, 0, -28), 0]
    expected = walked(egnn_model, SIZES, draws=False, method=method, steps=steps)
    for records in (False, True):
        model = network_model(gaussian_model, dtype, device="cuda", precondition=egnn_model.precondition)
        found = walked(model, SIZES, draws=True, method=method, device="cuda", records=records, steps=steps)
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["torch", "auto"])
def test_recorded_and_called_steps_are_the_same_bit_by_bit(gaussian_model, kernel):
    steps = [*range(550, 0, -28), 0]
    model = network_model(gaussian_model, torch.float32, kernel, "cuda")
    found = [
        walked(model, SIZES, draws=True, device="cuda", records=records, steps=steps, filled=kernel == "auto")
        for records in (False, True)
    ]
    assert torch.equal(*found)


@pytest.mark.gpu
def test_a_recorded_step_serves_other_batches(gaussian_model):
    network = OptimalDenoiser(gaussian_model.schedule, torch.from_numpy(VARIANCES).cuda())
    model = Model(network, gaussian_model.schedule, gaussian_model.space, max_t=550, moments=gaussian_model.moments)
    one, other = np.array([3, 9, 9, 20]), np.array([5, 8, 14, 16])
    capacity = room_for(one, 40)
    like = torch.zeros((), dtype=torch.float64, device="cuda")
    tables = StepTables.of(model, solver(model, STEPS, "ddpm"), like)
    walk = BatchSampler(model, tables, Layout.filled(one, capacity, "cuda"), 3, draws=True, records=True)
    first = run(walk, start_of(model, one), len(STEPS))
    second = run(walk, start_of(model, other, 100), len(STEPS), Layout.filled(other, capacity))
    third = run(walk, start_of(model, one), len(STEPS), Layout.filled(one, capacity))
    assert torch.equal(first, third)
    torch.testing.assert_close(second.cpu(), walked(gaussian_model, other, draws=False, first=100))
