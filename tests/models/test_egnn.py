import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gaga.base.errors import InvalidInput, Unavailable
from gaga.models.egnn import EGNN, EGNNConfig
from gaga.models.kernels import resolve_kernel
from gaga.models.layout import Layout
from tests.models.conftest import AWKWARD_SIZES, small_network

KERNELS = ["naive", "torch"]


def batch(sizes=AWKWARD_SIZES, features=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    layout = Layout.of(np.asarray(sizes))
    z = torch.randn(int(layout.sizes.sum()), 3 + features, generator=generator, dtype=torch.float64).to(dtype)
    t = torch.rand(len(layout), generator=generator, dtype=torch.float64).to(dtype)
    return z, t, layout


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
@pytest.mark.parametrize("sizes", [AWKWARD_SIZES, [5], [181], [2, 1, 2]], ids=str)
def test_kernels_agree_on_outputs_and_every_gradient(sizes, dtype, tolerance):
    results = {}
    for kernel in KERNELS:
        network = small_network(kernel=kernel, dtype=dtype)
        z, t, layout = batch(sizes, dtype=dtype)
        z.requires_grad_()
        out = network(z, t, layout)
        out.square().sum().backward()
        results[kernel] = {"output": out.detach(), "input gradient": z.grad} | {
            name: p.grad for name, p in network.named_parameters() if p.grad is not None
        }
    assert results["naive"].keys() == results["torch"].keys()
    for name, expected in results["naive"].items():
        scale = expected.abs().max().clamp(min=1e-6)
        assert float((results["torch"][name] - expected).abs().max() / scale) < tolerance, name


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_kernels_agree_with_other_options(aggregation):
    config = EGNNConfig(features=5, hidden=8, n_layers=2, inv_sublayers=2, attention=False, tanh=False,
                        aggregation=aggregation, condition_time=False, normalization_factor=3.0)  # fmt: skip
    outputs = []
    for kernel in KERNELS:
        torch.manual_seed(0)
        outputs.append(EGNN(config, kernel).double()(*batch()))
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_rotations_reflections_and_translations(kernel):
    network = small_network(kernel=kernel)
    z, t, layout = batch()
    out = network(z, t, layout)
    rotation = torch.from_numpy(Rotation.from_euler("xyz", [0.3, 1.1, -2.0]).as_matrix())
    for matrix in (
        rotation,
        -torch.eye(3, dtype=torch.float64),
        rotation @ torch.diag(torch.tensor([1.0, 1, -1]).double()),
    ):
        moved = torch.cat([z[:, :3] @ matrix.T + torch.tensor([5.0, -2.0, 1.0]), z[:, 3:]], dim=1)
        expected = torch.cat([out[:, :3] @ matrix.T, out[:, 3:]], dim=1)
        torch.testing.assert_close(network(moved, t, layout), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_permutation_of_atoms_and_of_molecules(kernel):
    network = small_network(kernel=kernel)
    z, t, layout = batch([4, 7, 7])
    out = network(z, t, layout)
    order = np.concatenate([np.arange(11, 18)[::-1], np.arange(0, 4)[[2, 0, 3, 1]], np.arange(4, 11)])
    permuted = network(z[order], t[[2, 0, 1]], Layout.of(np.array([7, 4, 7])))
    torch.testing.assert_close(permuted, out[order], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_molecules_do_not_see_each_other(kernel):
    network = small_network(kernel=kernel)
    z, t, layout = batch([5, 9, 5])
    alone = network(z[5:14], t[1:2], Layout.of(np.array([9])))
    torch.testing.assert_close(network(z, t, layout)[5:14], alone, rtol=1e-10, atol=1e-10)


def test_velocity_has_zero_mean_and_one_atom_stays():
    z, t, layout = batch()
    out = small_network()(z, t, layout)
    torch.testing.assert_close(layout.sum(out[:, :3]), torch.zeros(len(layout), 3).double(), rtol=0, atol=1e-10)
    assert out[0, :3].abs().max() == 0


def test_parameters_of_the_published_size():
    """EDM's network of QM9 has 5.34 million parameters (6 input features: 5 types, charge)."""
    network = EGNN(EGNNConfig(features=6))
    assert round(network.n_parameters / 1e6, 2) == 5.34


def test_a_kernel_that_cannot_run_is_refused_by_name_and_auto_falls_back():
    cpu = torch.device("cpu")
    assert resolve_kernel("auto", cpu)[0] == "torch"
    with pytest.raises(Unavailable, match="triton"):
        resolve_kernel("triton", cpu)
    with pytest.raises(InvalidInput, match="unknown kernel"):
        resolve_kernel("fast", cpu)
    with pytest.raises(InvalidInput, match="unknown precision"):
        EGNN(EGNNConfig(features=5), precision="float16")
    with pytest.raises(Unavailable, match="float32 only"):
        EGNN(EGNNConfig(features=5), "naive", "bfloat16")


def test_shapes_that_make_no_sense_are_refused():
    with pytest.raises(InvalidInput, match="n_layers"):
        EGNNConfig(features=5, n_layers=0)
    with pytest.raises(InvalidInput, match="at least one atom"):
        Layout.of(np.array([3, 0]))
