"""The fused kernels in Triton's interpreter against the papers' formulation; on a device where there is one.

The interpreter cannot multiply bfloat16, and truncates where a device rounds: operands are rounded through bfloat16 and
multiplied in float32, which makes its bfloat16 errors about twice a device's.
"""

import importlib.util
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.bucketed import run_bucketed
from gaga.models.network.kernels.choose import resolve_kernel
from gaga.models.network.kernels.flat import run_flat
from gaga.models.network.layout import Capacity, Layout
from gaga.models.network.parameters import EGNNConfig, Parameters
from tests.models.network.kernels.conftest import AWKWARD, Case, assert_close, norms, oracle, worst

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

interpreted = pytest.mark.skipif(not os.environ.get("TRITON_INTERPRET"), reason="runs in Triton's interpreter only")


@pytest.fixture
def run():
    from gaga.models.network.kernels.fused.network import run_fused

    return run_fused


@pytest.fixture(autouse=True)
def _nothing_uninitialised_is_used():
    """What torch.empty gives is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@interpreted
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # the interpreter's sigmoid of large numbers
@pytest.mark.parametrize(
    "case",
    [pytest.param(Case(n_layers=1), marks=pytest.mark.slow), Case((1, 2, 33), n_layers=1),
     Case((5, 9), hidden=32, n_layers=1, inv_sublayers=2), Case((1,)), Case((3, 4), features=16)],
    ids=["awkward", "more than 32 atoms", "two message layers", "one atom", "sixteen types, two blocks"],
)  # fmt: skip
def test_outputs_and_every_gradient(run, case):
    """Float32: rounding 6e-8, grown by sums whose terms cancel."""
    assert_close(case.results(run, torch.float32), oracle(case), 5e-5)


@pytest.mark.slow
@interpreted
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_the_largest_drugs(run):
    """Among the smallest, whose rows share their tiles."""
    case = Case((2, 181, 2), n_layers=1)
    network, (z, t, layout) = case.network(torch.float32), case.batch(torch.float32)
    with torch.no_grad():
        found = run(network, z, t, layout)
    expected = oracle(case)["output"]
    assert (found.double() - expected).abs().max() / expected.abs().max() < 5e-5


@interpreted
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits(run, dtype, monkeypatch):
    """Factors rounded by 2^-8 (truncated bfloat16) or 2^-11: outputs move by a few times that, gradients by more."""
    case = Case((5, 9), hidden=32, n_layers=1)
    monkeypatch.setattr(Parameters, "product_type", dtype)
    errors = worst(case.results(run, torch.float32), oracle(case), floor=0.02)
    bound = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-11
    assert bound / 30 < errors["output"] < 5 * bound
    assert max(errors.values()) < 40 * bound


@interpreted
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_filler_changes_nothing(run):
    case = Case((3, 5, 5), n_layers=1)
    network, (z, t, layout) = case.network(torch.float32), case.batch(torch.float32)
    capacity = Capacity.around(layout.n_atoms, margin=2.0)
    filled = Layout.filled(layout.n_atoms, capacity)
    z_filled, t_filled = z.new_zeros(capacity.atoms, z.shape[1]), t.new_zeros(capacity.molecules)
    z_filled[: len(z)], t_filled[: len(t)] = z, t
    out = run(network, z_filled, t_filled, filled)
    torch.testing.assert_close(out[: len(z)], run(network, z, t, layout), rtol=0, atol=0)
    out.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@interpreted
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_a_graph_is_differentiated_once(run):
    case = Case((3,), n_layers=1)
    network, (z, t, layout) = case.network(torch.float32), case.batch(torch.float32)
    out = run(network, z, t, layout).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiate a graph once"):
        out.backward()


@interpreted
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_coordinate_updates_as_small_as_at_the_start_of_training(run):
    """Heads near 0: a tanh that is the difference of numbers near 1 would lose three digits of the velocity."""
    torch.manual_seed(3)
    network = EGNN(EGNNConfig(features=5, hidden=16, n_layers=1))
    z, t, layout = Case((5, 9)).batch(torch.float32)
    with torch.no_grad():
        found = run(network, z, t, layout)[:, :3].double()
        expected = run_bucketed(network.double(), z.double(), t.double(), layout)[:, :3]
    assert (found - expected).norm() / expected.norm() < 1e-5


@interpreted
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_nothing_is_kept_where_no_gradient_is_wanted(run, monkeypatch):
    from gaga.models.network.kernels.fused import ops

    kept, original = [], ops._forward
    monkeypatch.setattr(ops, "_forward", lambda *a, keep, **k: kept.append(keep) or original(*a, keep=keep, **k))
    network, (z, t, layout) = Case((3,), n_layers=1).network(torch.float32), Case((3,)).batch(torch.float32)
    with torch.no_grad():
        run(network, z, t, layout)
    run(network, z, t, layout)
    assert kept == [False, False, True, True]


@interpreted
def test_what_the_kernels_cannot_do_is_said():
    from gaga.core.errors import Unavailable

    for config, precision, why in [
        (EGNNConfig(features=5, hidden=48), "bfloat16", "this one has 48"),
        (EGNNConfig(features=5, hidden=64), "float32", "this one has 64"),
        (EGNNConfig(features=5, hidden=32, attention=False), "float32", "attention"),
    ]:
        with pytest.raises(Unavailable, match=why):
            EGNN(config, "triton", precision).require_kernel()
    network = EGNN(EGNNConfig(features=5, hidden=32), "triton")
    assert resolve_kernel(network, "triton", torch.device("cpu"))[0] == "triton"


DEVICE_CASES = [
    Case((*AWKWARD, 181, 64, 65), hidden=256, n_layers=3),
    Case((18,) * 40, hidden=256, n_layers=2),
    Case((44, 60, 181), hidden=256, n_layers=2, features=16),
    Case(AWKWARD, hidden=64, inv_sublayers=2),
]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("case", DEVICE_CASES, ids=["awkward", "one size", "drugs", "narrow"])
def test_device(run, case, precision):
    """As near to float64 as plain torch in the same precision is on a CPU, within a factor.

    The fused kernels round z2 and the gradients of z1 and z2 too, and take a tanh of eleven bits; float32 is three TF32
    products, which keep 21 bits of 24. Case by case the CPU's errors are 0.5 to 4 % of an output in bfloat16 and 1e-6
    to 1e-4 in float32.
    """
    if precision == "float32":
        case = replace(case, hidden=32)
    exact = case.results(run_bucketed)
    plain = norms(case.results(run_flat, torch.float32, precision=precision), exact)
    found = norms(case.results(run, torch.float32, precision=precision, device="cuda"), exact)
    least, factor = (4e-3, 4) if precision == "bfloat16" else (2e-6, 8)
    wrong = {name: (error, plain[name]) for name, error in found.items() if error > factor * max(plain[name], least)}
    assert not wrong, wrong


@pytest.mark.gpu
def test_device_gives_the_same_numbers_every_time(run):
    """Without torch's deterministic algorithms: none of what is used is atomic."""
    torch.use_deterministic_algorithms(False)
    case = DEVICE_CASES[0]
    first, second = (case.results(run, torch.float32, precision="bfloat16", device="cuda") for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.gpu
def test_device_rotations(run):
    """Turned molecules give turned outputs but for rounding, of which plain torch on a CPU has as much."""
    from scipy.spatial.transform import Rotation

    case = DEVICE_CASES[1]
    matrix = torch.from_numpy(Rotation.from_euler("xyz", [0.3, 1.1, -2.0]).as_matrix())

    def error(run, device):
        network, (z, t, layout) = case.network(torch.float32, "bfloat16").to(device), case.batch(torch.float32, device)
        turn = matrix.to(z)
        with torch.no_grad():
            out = run(network, z, t, layout)
            moved = run(network, torch.cat([z[:, :3] @ turn.T, z[:, 3:]], dim=1), t, layout)
        expected = torch.cat([out[:, :3] @ turn.T, out[:, 3:]], dim=1)
        return float((moved - expected).norm() / out.norm())

    assert error(run, "cuda") < 4 * error(run_flat, "cpu")


@pytest.mark.gpu
def test_the_largest_batch_of_a_sampler(run):
    """10,000 molecules at once: numbers of slots times features beyond 31 bits."""
    network = Case(hidden=256, n_layers=1).network(torch.float32, "bfloat16").cuda()
    sizes = np.sort(np.random.default_rng(0).integers(12, 25, 10_000))
    layout = Layout.of(sizes, "cuda")
    z = torch.randn(int(sizes.sum()), 8, generator=torch.Generator().manual_seed(0)).cuda()
    t = torch.full((len(sizes),), 0.5, device="cuda")
    with torch.no_grad():
        out = run(network, z, t, layout)
        last = run(network, z[-int(sizes[-1]) :], t[-1:], Layout.of(sizes[-1:], "cuda"))
    torch.testing.assert_close(out[-int(sizes[-1]) :], last, rtol=2e-2, atol=2e-2 * float(out.abs().max()))
