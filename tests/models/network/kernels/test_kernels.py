"""Every kernel against the papers' formulation in float64, and what none of them may break."""

import select
import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gaga.core.errors import InvalidInput, Unavailable
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.bucketed import run_bucketed
from gaga.models.network.kernels.choose import resolve_kernel
from gaga.models.network.kernels.flat import run_compiled, run_flat
from gaga.models.network.kernels.naive import run_naive
from gaga.models.network.layout import Layout
from gaga.models.network.names import KERNELS
from gaga.models.network.parameters import EGNNConfig
from tests.models.network.kernels.conftest import AWKWARD, Case, assert_close, oracle, worst

RUNS = {"naive": run_naive, "torch": run_bucketed, "flat": run_flat}
named = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
fast = pytest.mark.parametrize("run", [run_bucketed, run_flat], ids=["torch", "flat"])


@fast
@pytest.mark.parametrize("sizes", [AWKWARD, (5,), (181,), (2, 181, 2), (2, 1, 2), (70, 3, 64)], ids=str)
def test_outputs_and_every_gradient(run, sizes):
    """Float64: the order of sums is all that differs, and sums have up to 181 * 16 terms of size 1."""
    case = Case(sizes)
    assert_close(case.results(run), oracle(case), 1e-11)


@fast
def test_float32(run):
    """Rounding 6e-8, grown by two layers of sums over up to 32 neighbours whose terms cancel."""
    case = Case()
    assert_close(case.results(run, torch.float32), oracle(case), 5e-5)


@fast
def test_bfloat16_rounds_products_and_nothing_else(run):
    """Factors are rounded by 2^-9: outputs move by a few times that, gradients by more, and all really move."""
    case = Case(hidden=32)
    errors = worst(case.results(run, torch.float32, precision="bfloat16"), oracle(case), floor=0.02)
    assert 1e-4 < errors["output"] < 1e-2
    assert np.median(list(errors.values())) < 4e-2
    assert max(errors.values()) < 0.15


@fast
def test_message_layers_without_time_gate_or_tanh_and_with_means(run):
    config = EGNNConfig(features=5, hidden=8, n_layers=2, inv_sublayers=2, attention=False, tanh=False,
                        aggregation="mean", condition_time=False, normalization_factor=3.0)  # fmt: skip
    torch.manual_seed(0)
    network = EGNN(config).double()
    z, t, layout = Case().batch(torch.float64)
    torch.testing.assert_close(run(network, z, t, layout), run_naive(network, z, t, layout), rtol=1e-10, atol=1e-10)


@named
def test_rotations_reflections_and_translations(run):
    network, (z, t, layout) = Case().network(torch.float64), Case().batch(torch.float64)
    out = run(network, z, t, layout)
    assert out[:, :3].abs().max() > 0.1
    rotation = torch.from_numpy(Rotation.from_euler("xyz", [0.3, 1.1, -2.0]).as_matrix())
    reflected = rotation @ torch.diag(torch.tensor([1.0, 1, -1]).double())
    for matrix in (rotation, -torch.eye(3, dtype=torch.float64), reflected):
        moved = torch.cat([z[:, :3] @ matrix.T + torch.tensor([5.0, -2.0, 1.0]), z[:, 3:]], dim=1)
        expected = torch.cat([out[:, :3] @ matrix.T, out[:, 3:]], dim=1)
        torch.testing.assert_close(run(network, moved, t, layout), expected, rtol=1e-9, atol=1e-9)


@named
def test_permutation_of_atoms_and_of_molecules(run):
    case = Case((4, 7, 7))
    network, (z, t, layout) = case.network(torch.float64), case.batch(torch.float64)
    order = np.concatenate([np.arange(11, 18)[::-1], np.arange(0, 4)[[2, 0, 3, 1]], np.arange(4, 11)])
    permuted = run(network, z[order], t[[2, 0, 1]], Layout.of(np.array([7, 4, 7])))
    torch.testing.assert_close(permuted, run(network, z, t, layout)[order], rtol=1e-10, atol=1e-10)


@named
def test_molecules_do_not_see_each_other(run):
    case = Case((5, 9, 5))
    network, (z, t, layout) = case.network(torch.float64), case.batch(torch.float64)
    alone = run(network, z[5:14], t[1:2], Layout.of(np.array([9])))
    torch.testing.assert_close(run(network, z, t, layout)[5:14], alone, rtol=1e-10, atol=1e-10)


@fast
def test_the_same_numbers_every_time(run):
    case = Case((9,) * 5 + (11, 12))
    first, second = case.results(run, torch.float32), case.results(run, torch.float32)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_rounding_only(threads):
    case, before = Case((9, 9, 4, 12, 29, 1, 5)), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, again = case.results(run_bucketed), case.results(run_bucketed)
        with torch.no_grad():
            network, (z, t, layout) = case.network(torch.float64), case.batch(torch.float64)
            without_graph = run_bucketed(network, z, t, layout)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_close(found, oracle(case), 1e-11)
    assert all(torch.equal(found[name], again[name]) for name in found)
    torch.testing.assert_close(without_graph, found["output"], rtol=1e-12, atol=1e-12)


def test_threads_differentiate_once_and_survive_a_fork():
    import os

    case, before = Case((9, 9, 4, 12)), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network, (z, t, layout) = case.network(torch.float64), case.batch(torch.float64)
        out = run_bucketed(network, z, t, layout).sum()
        out.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="differentiate a graph once"):
            out.backward()
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads: that is what is tested
            child = os.fork()
        if child == 0:
            with torch.no_grad():
                os.write(write, b"y" if torch.isfinite(run_bucketed(network, z, t, layout)).all() else b"n")
            os._exit(0)
        assert select.select([read], [], [], 30)[0], "the forked process hangs"
        assert os.read(read, 1) == b"y"
        os.waitpid(child, 0)
    finally:
        torch.set_num_threads(before)


def test_naive_does_the_work_of_the_padding_it_is_told_to_do():
    from torch.utils.flop_counter import FlopCounterMode

    network, (z, t, layout) = Case((5, 7)).network(torch.float64), Case((5, 7)).batch(torch.float64)

    def flops(layout: Layout) -> int:
        with FlopCounterMode(display=False) as counter:
            run_naive(network, z, t, layout)
        return counter.get_total_flops()

    wide = Layout.of(np.array([5, 7]), pad_to=14)
    assert 3.5 < flops(wide) / flops(layout) < 4.0
    torch.testing.assert_close(run_naive(network, z, t, wide), run_naive(network, z, t, layout))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")  # torch's own, both
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_the_compiled_regions_give_the_same():
    case = Case((3, 5, 5))
    assert_close(case.results(run_compiled, torch.float32), oracle(case), 5e-5)


def test_names():
    cpu = EGNN(EGNNConfig(features=5, hidden=16))
    assert cpu.kernel == "torch"
    assert set(KERNELS) == {"auto", "naive", "torch", "compile", "triton"}
    for name in ("naive", "torch", "compile"):
        assert EGNN(EGNNConfig(features=5, hidden=16), name).kernel == name
    with pytest.raises(InvalidInput, match="unknown kernel"):
        EGNN(EGNNConfig(features=5), "fast")
    with pytest.raises(InvalidInput, match="unknown precision"):
        EGNN(EGNNConfig(features=5), precision="float16")
    with pytest.raises(Unavailable, match="float32 only"):
        EGNN(EGNNConfig(features=5), "naive", "bfloat16")


def test_a_kernel_that_cannot_run_says_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(Unavailable, match="triton kernel cannot run here: it needs a CUDA device, and this is cpu"):
        EGNN(EGNNConfig(features=5, hidden=16), "triton").require_kernel()
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(Unavailable, match=r"C\+\+ compiler"):
        EGNN(EGNNConfig(features=5, hidden=16), "compile").require_kernel()


def test_auto_on_a_gpu_falls_back_with_one_line(caplog):
    pytest.importorskip("triton")
    device = torch.device("cuda")
    network = EGNN(EGNNConfig(features=5, hidden=24), precision="bfloat16")
    assert resolve_kernel(network, "auto", device)[0] == "compile"
    (line,) = [record.message for record in caplog.records]
    assert "fused kernels cannot run here" in line
    assert "this one has 24" in line
    assert "using the compile kernel" in line
