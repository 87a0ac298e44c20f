"""Correct before fast: a kernel is held against the naive one in float64 before any of its steps is timed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Int64
from scipy.spatial.transform import Rotation
from torch import Tensor

from gaga.benchmark.shapes import Batch, Shape
from gaga.core.errors import Unavailable
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.products import LARGEST_ERROR, Library, fast_products, fixed, usable
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import EGNNConfig

ORACLE = "naive"
AWKWARD_SIZES = (1, 2, 9, 29, 31, 33)
_LAYERS = 2  # two blocks meet every path through a kernel; an oracle of all blocks would take minutes at 181 atoms
_HEAD_GAIN = 0.03
_LONGEST_NOTE = 200
_SEED = 0  # of the one question: under other seeds a gradient can nearly cancel, and then bfloat16 says nothing of it


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way of running a network that is held against the others: a kernel and its precision.

    Attributes:
        pad_to: for the naive kernel: atoms that molecules are padded to; None for the batch's largest.
        products: library of float32 products on a CPU; None for the one that gaga uses, and on other devices.
    """

    kernel: str
    precision: str = "float32"
    pad_to: int | None = None
    products: Library | None = None

    @property
    def label(self) -> str:
        """The kernel as tables name it."""
        return self.kernel if self.pad_to is None else f"{self.kernel}, padded to {self.pad_to}"

    @property
    def is_oracle(self) -> bool:
        """Whether this is the papers' formulation, which the others are held against."""
        return self.kernel == ORACLE

    def network(self, config: EGNNConfig, device: torch.device) -> EGNN:
        """The network on its device; all variants have the same weights.

        The last layers of the coordinate networks are drawn wider than for training, so that coordinates matter.

        Raises:
            Unavailable: the kernel cannot run on this device, or not in this precision.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = EGNN(config, self.kernel, self.precision)
            for block in network.layers():
                last = cast(torch.nn.Linear, block.coordinates.coord_mlp[4])
                torch.nn.init.xavier_uniform_(last.weight, gain=_HEAD_GAIN)
        network = network.to(device)
        _ = network.kernel  # raises if it cannot run on this device
        return network

    def layout(self, n_atoms: Int64[np.ndarray, " M"], device: torch.device) -> Layout:
        """How the atoms of a batch are laid out, padded as the variant says."""
        return Layout.of(n_atoms, device, pad_to=self.pad_to)


def make_variants(
    kernels: tuple[str, ...], precisions: tuple[str, ...], widest: int, device: torch.device
) -> tuple[Variant, ...]:
    """Every kernel in every precision; the naive one in float32 alone, padded to each batch's largest and to `widest`.

    The papers train in the first way and sample in the second. On a CPU each kernel runs in float32 by each library of
    products that is exact here, the naive one by MKL, as the papers' code does.
    """
    libraries = usable() if device.type == "cpu" else (None,)
    pads = (None, widest) if ORACLE in kernels else ()
    oracle = (Variant(kernel=ORACLE, pad_to=pad_to, products=libraries[0]) for pad_to in pads)
    others = (
        Variant(kernel=kernel, precision=precision, products=library)
        for kernel in kernels
        if kernel != ORACLE
        for precision in precisions
        for library in (libraries if precision == "float32" else (None,))
    )
    return (*oracle, *others)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The largest error allowed: |a - b| / |b| in the 2-norm over a whole tensor.

    Attributes:
        output: of the network's output. equivariance: of the output of rotated molecules, turned back.
        gradient: of the gradient of each parameter, and of the input.
    """

    output: float
    equivariance: float
    gradient: float


# float32: a product of 514 terms rounds by about sqrt(514) 2^-24 = 1e-6, and sums over up to 180 neighbours carry that
# on; right kernels were measured at up to 4e-7 for outputs and 3e-6 for gradients, wrong terms show at 1e-2 and more.
# bfloat16: operands round by up to 2^-9 = 2e-3 each; blanket autocast, rougher than any kernel here, was measured at up
# to 7e-3 for outputs and 1.3e-2 for gradients. Triton's interpreter truncates, devices round: twice the error.
TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(output=1e-4, equivariance=1e-4, gradient=1e-4),
    "bfloat16": Tolerance(output=2e-2, equivariance=2e-2, gradient=5e-2),
}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a kernel is from the naive one in float64, on the shape that it is timed on.

    Attributes:
        shape, kernel, precision, products: which; the last as in `Row`.
        output, equivariance, gradient: the largest errors; None if the kernel did not run.
        parameter: whose gradient is the furthest off.
        from_mkl: of oneDNN, the largest difference of its outputs from those of the same kernel by MKL.
        tolerance: what is allowed.
        unavailable: why it cannot run here, else empty. refused: why it may not be timed, else empty.
    """

    shape: str
    kernel: str
    precision: str
    output: float | None = None
    equivariance: float | None = None
    gradient: float | None = None
    parameter: str = ""
    products: str = ""
    from_mkl: float | None = None
    tolerance: Tolerance
    unavailable: str = ""
    refused: str = ""


def failure(error: Exception) -> tuple[Literal["unavailable", "refused"], str]:
    """Whether a kernel that raised cannot run here or is broken, and the reason in a line."""
    if isinstance(error, Unavailable):
        return "unavailable", error.what
    return "refused", f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST_NOTE]


class Answers(NamedTuple):
    """What a network computes from the same question: outputs of each batch, and gradients, by name."""

    outputs: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


class Oracle:
    """The naive kernel's answers in float64 on awkward sizes and on the shape's largest molecule.

    It has the shape's own width and columns, in two blocks.
    """

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.shape, self.device = replace(shape, n_layers=min(shape.n_layers, _LAYERS)), device
        sizes = {"awkward": np.array(AWKWARD_SIZES), "largest": np.array([shape.widest])}
        self.batches = {name: Batch.of(shape, n_atoms, _SEED) for name, n_atoms in sizes.items()}
        exact = torch.device("cpu") if device.type == "mps" else device  # which has no float64
        naive = Variant(kernel=ORACLE)
        self._by_mkl: dict[str, Answers] = {}
        self.answers = self._ask(naive.network(self.shape.network, exact).double(), naive, exact)

    def check(self, variant: Variant) -> Agreement:
        """Hold a kernel against the oracle; one that raises is refused."""
        blank = Agreement(
            shape=self.shape.name, kernel=variant.kernel, precision=variant.precision,
            products=variant.products or "", tolerance=TOLERANCES[variant.precision],
        )  # fmt: skip
        try:
            network = variant.network(self.shape.network, self.device)
            with fixed(variant.products), fast_products(self.device):
                answers = self._ask(network, variant, self.device)
                turned = self._equivariance(network, variant)
        except Exception as error:  # noqa: BLE001 - whatever a broken kernel does must not lose the others' figures
            state, reason = failure(error)
            return replace(blank, unavailable=reason) if state == "unavailable" else replace(blank, refused=reason)
        return self._judged(replace(blank, equivariance=turned), answers)

    def _judged(self, found: Agreement, answers: Answers) -> Agreement:
        """The agreement with its errors; outputs by oneDNN must be those by MKL but for rounding."""
        allowed, from_mkl = found.tolerance, None
        if found.products == "mkl":
            self._by_mkl[found.kernel] = answers
        elif found.products == "onednn" and found.kernel in self._by_mkl:
            _, from_mkl = _furthest(answers.outputs, self._by_mkl[found.kernel].outputs)
        _, output = _furthest(answers.outputs, self.answers.outputs)
        parameter, gradient = _furthest(answers.gradients, self.answers.gradients)
        errors = (
            ("outputs are off", output, allowed.output),
            ("outputs of rotated molecules are off", found.equivariance, allowed.equivariance),
            (f"the gradient of {parameter} is off", gradient, allowed.gradient),
            ("outputs are off those by MKL", from_mkl, LARGEST_ERROR),
        )
        wrong = [f"{what} by {e:.1e}, more than {most:.0e}" for what, e, most in errors if not (e is None or e <= most)]
        return replace(
            found, output=output, gradient=gradient, parameter=parameter, from_mkl=from_mkl, refused="; ".join(wrong)
        )

    def _ask(self, network: EGNN, variant: Variant, device: torch.device) -> Answers:
        """Outputs, and the gradients of their mean squares, summed over the batches."""
        outputs: dict[str, Tensor] = {}
        gradients: dict[str, Tensor] = {}
        for name, batch in self.batches.items():
            z, t = _question(batch, network, device)
            z.requires_grad_()
            outputs[name] = network(z, t, variant.layout(batch.n_atoms, device))
            outputs[name].square().mean().backward()  # type: ignore[no-untyped-call]
            gradients[f"the input ({name})"] = _exact(z.grad)
        gradients |= {name: _exact(p.grad) for name, p in network.named_parameters()}
        return Answers({name: _exact(out) for name, out in outputs.items()}, gradients)

    @torch.no_grad()
    def _equivariance(self, network: EGNN, variant: Variant) -> float:
        """The error of f(R z) R^-1 against f(z), for a random rotation R."""
        batch = self.batches["awkward"]
        z, t = _question(batch, network, self.device)
        layout = variant.layout(batch.n_atoms, self.device)
        rotation = torch.from_numpy(Rotation.random(None, _SEED).as_matrix()).to(z)
        turned = network(torch.cat([z[:, :3] @ rotation.T, z[:, 3:]], dim=1), t, layout)
        back = torch.cat([turned[:, :3] @ rotation, turned[:, 3:]], dim=1)
        return relative_error(_exact(back), _exact(network(z, t, layout)))


def _question(batch: Batch, network: EGNN, device: torch.device) -> tuple[Tensor, Tensor]:
    """Columns and times in the type of the network's parameters."""
    like = network.embedding.weight
    return (batch.x + batch.eps).to(device, like.dtype), (batch.t / 1000).to(device, like.dtype)


def _exact(value: Tensor | None) -> Tensor:
    """A copy on the host in float64; a gradient that nothing reached is zero."""
    return torch.zeros(1, dtype=torch.float64) if value is None else value.detach().cpu().double()


def _furthest(values: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[str, float]:
    """The name of the tensor with the largest error, and that error."""
    errors = {name: relative_error(values[name], tensor) for name, tensor in expected.items()}
    return max(errors.items(), key=lambda item: item[1])


def relative_error(value: Tensor, expected: Tensor) -> float:
    """|a - b| / |b| in the 2-norm; infinite if something is not a number, or of another shape."""
    if value.shape != expected.shape or not bool(torch.isfinite(value).all()):
        return float("inf")
    size = float(expected.norm())
    return float((value - expected).norm()) / (size if size > 0 else 1.0)
