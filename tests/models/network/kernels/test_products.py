"""Float32 products by MKL or oneDNN: the choice, the setting of torch, and the numbers of networks by both."""

import threading

import pytest
import torch

from gaga.core.errors import InvalidInput, Unavailable
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels import products
from gaga.models.network.kernels.products import Measured, chosen, fast_products
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import EGNNConfig

CPU = torch.device("cpu")
FAST = Measured(error=2e-7, speedup=2.1)
selectable = pytest.mark.skipif(bool(products.why_not()), reason=f"oneDNN cannot be used here: {products.why_not()}")


def setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.fixture(autouse=True)
def unchosen():
    """Each test makes its own choice; the one of this process is made again afterwards."""
    products.ask_for("auto")
    yield
    products.ask_for("auto")
    assert setting() == "none"


@pytest.fixture
def check_finds(monkeypatch):
    """The check at first use finds this, on a processor that may use oneDNN."""

    def install(found: Measured) -> None:
        monkeypatch.setattr(products, "why_not", lambda: "")
        monkeypatch.setattr(products, "measure", lambda: found)

    return install


@pytest.mark.parametrize(
    ("error", "speedup", "library", "why"),
    [
        (2e-7, 2.1, "onednn", "exact to 2e-07 and 2.10 times as fast as MKL"),
        (2e-7, 1.3, "onednn", "1.30 times"),
        (2e-7, 1.29, "mkl", "oneDNN is 1.29 times as fast as MKL here, less than 1.3"),
        (2e-7, 1.0, "mkl", "oneDNN is 1.00 times as fast as MKL here"),
        (2e-3, 2.1, "mkl", "off by 2.0e-03, more than 1e-06"),
        (float("nan"), 2.1, "mkl", "off by nan"),
    ],
)
def test_onednn_must_be_exact_and_faster(check_finds, error, speedup, library, why):
    check_finds(Measured(error=error, speedup=speedup))
    assert chosen().library == library
    assert why in chosen().why


@pytest.mark.parametrize(
    ("has_amx", "why"), [(lambda: True, "has AMX"), (None, "does not say whether the processor has AMX")]
)
def test_onednn_stays_off_with_amx_and_where_that_is_unknown(monkeypatch, has_amx, why):
    monkeypatch.setattr(products, "measure", lambda: pytest.fail("nothing is measured with AMX"))
    if has_amx is None:
        monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    else:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", has_amx)
    assert chosen().library == "mkl"
    assert why in chosen().why
    assert products.usable() == ("mkl",)
    with fast_products(CPU):
        assert setting() == "none"
    products.ask_for("onednn")
    with pytest.raises(Unavailable, match=why):
        chosen()


def test_onednn_stays_off_without_avx_512(monkeypatch):
    """Torch would call MKL in both cases: a ratio of the two would be MKL's to itself."""
    monkeypatch.setattr(products, "measure", lambda: pytest.fail("nothing is measured without AVX-512"))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert (chosen().library, products.usable()) == ("mkl", ("mkl",))
    assert "only with AVX-512" in chosen().why


@selectable
def test_torch_calls_another_library_than_mkl():
    """The two round differently somewhere in 131,072 sums of 256 products."""
    torch.manual_seed(0)
    a, w = torch.randn(512, 256), torch.randn(256, 256)
    by_mkl = a @ w
    with products.fixed("onednn"), fast_products(CPU):
        assert not torch.equal(a @ w, by_mkl)


def test_onednn_stays_off_with_a_torch_that_cannot_select_it(monkeypatch):
    monkeypatch.setattr(torch.backends, "mkldnn", type("Old", (), {"is_available": staticmethod(lambda: True)}))
    assert "cannot select it" in chosen().why


def test_the_choice_is_made_once(monkeypatch, check_finds):
    check_finds(FAST)
    assert chosen().library == "onednn"
    check_finds(Measured(error=2e-7, speedup=1.0))
    assert chosen().library == "onednn"


def test_a_library_that_is_asked_for_by_name_overrides_the_timing(check_finds):
    check_finds(Measured(error=2e-7, speedup=0.5))
    assert (chosen().library, products.usable()) == ("mkl", ("mkl", "onednn"))
    products.ask_for("onednn")
    assert (chosen().library, products.usable()) == ("onednn", ("onednn",))
    check_finds(FAST)
    products.ask_for("mkl")
    assert (chosen().library, products.usable()) == ("mkl", ("mkl",))
    with pytest.raises(InvalidInput, match=r"unknown library .*openblas.* one of auto, mkl, onednn"):
        products.ask_for("openblas")


def test_the_setting_is_restored_after_success_errors_and_nesting(check_finds):
    check_finds(FAST)
    with fast_products(CPU), fast_products(CPU):
        assert setting() == "bf16"
    assert setting() == "none"
    with fast_products(CPU):
        with pytest.raises(ValueError, match="inside"), fast_products(CPU):
            raise ValueError("inside")
        assert setting() == "bf16", "the inner block must not switch the outer one off"
    assert setting() == "none"
    with pytest.raises(ValueError, match="inside"), fast_products(CPU):
        raise ValueError("inside")
    assert setting() == "none"
    with fast_products(torch.device("meta")):
        assert setting() == "none"


def test_a_block_that_ends_in_one_thread_leaves_the_setting_to_another(check_finds):
    check_finds(FAST)
    begun, done, seen = threading.Event(), threading.Event(), []

    def other():
        with fast_products(CPU):
            begun.set()
            done.wait(10)
            seen.append(setting())

    thread = threading.Thread(target=other)
    with fast_products(CPU):
        thread.start()
        assert begun.wait(10)
    assert setting() == "bf16"
    done.set()
    thread.join()
    assert seen == ["bf16"]
    assert setting() == "none"


def test_a_precision_that_the_program_has_set_stays(check_finds):
    check_finds(FAST)
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"
    try:
        with fast_products(CPU):
            assert setting() == "ieee"
        assert setting() == "ieee"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


def test_a_fixed_library_is_used_whatever_the_check_found(check_finds):
    check_finds(FAST)
    with products.fixed("mkl"):
        with fast_products(CPU):
            assert setting() == "none"
        with products.fixed(None):
            assert products.current() == "mkl"
    assert products.current() == "onednn"


@selectable
def test_the_check_itself_finds_exact_products_and_leaves_the_setting_as_it_was():
    found = products.measure()
    assert 0 < found.error < 1e-6
    assert 0.2 < found.speedup < 20
    assert setting() == "none"


def _answers(network: EGNN, z: torch.Tensor, t: torch.Tensor, layout: Layout) -> dict[str, torch.Tensor]:
    """The output and every gradient by name, and the setting that each of them was computed with."""
    network.zero_grad()
    z = z.clone().requires_grad_()
    with fast_products(CPU):
        out = network(z, t, layout)
        out.square().sum().backward()
    return {"output": out.detach(), "input": z.grad} | {n: p.grad.clone() for n, p in network.named_parameters()}


@selectable
@pytest.mark.parametrize("kernel", ["naive", "torch"])
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_and_every_gradient_are_those_of_mkl(kernel, threads):
    """At 256 features, where torch sends products to oneDNN; on AVX-512 the two libraries round differently."""
    torch.manual_seed(0)
    network = EGNN(EGNNConfig(features=6, n_layers=2), kernel)
    layout = Layout.of(torch.tensor([1, 2, 9, 19, 19, 23]).numpy())
    z, t = layout.centre(torch.randn(73, 9), 3), torch.rand(6)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with products.fixed("mkl"):
            expected = _answers(network, z, t, layout)
        with products.fixed("onednn"):
            found = _answers(network, z, t, layout)
    finally:
        torch.set_num_threads(before)
    for name, value in expected.items():
        assert (found[name] - value).norm() <= 1e-6 * value.norm(), name


@pytest.mark.parametrize("threads", [1, 2])
def test_forward_and_backward_run_with_the_setting_on(check_finds, monkeypatch, threads):
    """Also in several threads: hooks look at the setting while gradients are computed."""
    from gaga.models.network.kernels import bucketed

    check_finds(FAST)
    network = EGNN(EGNNConfig(features=6, hidden=16, n_layers=2), "torch")
    layout = Layout.of(torch.tensor([5, 9, 19, 19]).numpy())
    z, t = torch.randn(52, 9), torch.rand(4)
    forward, backward, right = [], [], bucketed.rounded_linear

    def observed(*arguments):
        forward.append(setting())
        return right(*arguments)

    monkeypatch.setattr(bucketed, "rounded_linear", observed)
    for parameter in network.parameters():
        parameter.register_hook(lambda grad: backward.append(setting()))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        network(z, t, layout)
        assert set(forward) == {"bf16"}, "an evaluation alone"
        with fast_products(CPU):
            network(z, t, layout).square().sum().backward()
    finally:
        torch.set_num_threads(before)
    assert set(forward) == set(backward) == {"bf16"}
    assert len(backward) >= len(list(network.parameters()))
