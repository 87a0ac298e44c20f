"""Correct before fast: a kernel is held against the naive one in float64 before any of its steps is timed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from gaga.benchmark.batches import Batch
from gaga.benchmark.shapes import Shape
from gaga.benchmark.variants import ORACLE, Variant, layout_for, open_network
from gaga.core.errors import Unavailable
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.products import LARGEST_ERROR, fast_products, fixed

AWKWARD_SIZES = (1, 2, 9, 29, 31, 33)
_LAYERS = 2  # two blocks meet every path through a kernel; an oracle of all blocks would take minutes at 181 atoms
_LONGEST_NOTE = 200
_SEED = 0  # of the one question: under other seeds a gradient can nearly cancel, and then bfloat16 says nothing of it


class Refused(Exception):
    """A kernel that may not be timed, with the reason."""


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
# to 7e-3 for outputs and 1.3e-2 for gradients. Triton's interpreter truncates where devices round, twice the error.
TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(output=1e-4, equivariance=1e-4, gradient=1e-4),
    "bfloat16": Tolerance(output=2e-2, equivariance=2e-2, gradient=5e-2),
}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a kernel is from the naive one in float64, on the shape that it is timed on.

    Attributes:
        shape, kernel, precision, products: which; the last as in `Row`.
        output, equivariance, gradient: the largest errors; None where the kernel did not run.
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

    @property
    def holds(self) -> bool:
        """Whether the kernel ran and agrees."""
        return not self.unavailable and not self.refused

    def require(self) -> None:
        """Let a kernel that agrees pass.

        Raises:
            Unavailable: it cannot run here.
            Refused: it does not agree, or it broke.
        """
        if self.unavailable:
            raise Unavailable(self.unavailable)
        if self.refused:
            raise Refused(self.refused)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says to the same question: outputs of each batch, and gradients by name."""

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
        self.answers = self._ask(open_network(self.shape.network, naive, exact).double(), naive, exact)

    def check(self, variant: Variant) -> Agreement:
        """Hold a kernel against the oracle; one that raises is refused."""
        blank = Agreement(
            shape=self.shape.name,
            kernel=variant.kernel,
            precision=variant.precision,
            products=variant.products or "",
            tolerance=TOLERANCES[variant.precision],
        )
        try:
            network = open_network(self.shape.network, variant, self.device)
            with fixed(variant.products), fast_products(self.device):
                answers = self._ask(network, variant, self.device)
                turned = self._equivariance(network, variant)
        except Unavailable as error:
            return replace(blank, unavailable=error.what)
        except Exception as error:  # noqa: BLE001 - whatever a broken kernel does must not lose the others' figures
            return replace(blank, refused=in_a_line(error))
        if variant.products == "mkl":
            self._by_mkl[variant.kernel] = answers
        found = _judged(blank, answers, self.answers, turned)
        before = self._by_mkl.get(variant.kernel) if variant.products == "onednn" else None
        return found if before is None else _beside_mkl(found, answers, before)

    def _ask(self, network: EGNN, variant: Variant, device: torch.device) -> Answers:
        """Outputs, and the gradients of their mean squares, summed over the batches."""
        outputs: dict[str, Tensor] = {}
        gradients: dict[str, Tensor] = {}
        for name, batch in self.batches.items():
            z, t = _question(batch, network, device)
            z.requires_grad_()
            outputs[name] = network(z, t, layout_for(batch.n_atoms, variant, device))
            outputs[name].square().mean().backward()  # type: ignore[no-untyped-call]
            gradients[f"the input ({name})"] = _exact(z.grad)
        gradients |= {name: _exact(p.grad) for name, p in network.named_parameters()}
        return Answers({name: _exact(out) for name, out in outputs.items()}, gradients)

    @torch.no_grad()
    def _equivariance(self, network: EGNN, variant: Variant) -> float:
        """The error of f(R z) R^-1 against f(z)."""
        batch = self.batches["awkward"]
        z, t = _question(batch, network, self.device)
        layout = layout_for(batch.n_atoms, variant, self.device)
        rotation = torch.from_numpy(random_rotation(_SEED)).to(z)
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


def relative_error(value: Tensor, expected: Tensor) -> float:
    """|a - b| / |b| in the 2-norm; infinite where something is not a number, or of another shape."""
    if value.shape != expected.shape or not bool(torch.isfinite(value).all()):
        return float("inf")
    size = float(expected.norm())
    return float((value - expected).norm()) / (size if size > 0 else 1.0)


def random_rotation(seed: int) -> Float64[np.ndarray, "3 3"]:
    """A rotation, drawn evenly from all (Stewart 1980)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    rotation: NDArray[np.float64] = q * np.linalg.det(q)
    return rotation


def _judged(blank: Agreement, answers: Answers, expected: Answers, equivariance: float) -> Agreement:
    tolerance = blank.tolerance
    output = max(relative_error(answers.outputs[name], out) for name, out in expected.outputs.items())
    errors = {name: relative_error(answers.gradients[name], grad) for name, grad in expected.gradients.items()}
    parameter = max(errors, key=lambda name: errors[name])
    found = (
        ("outputs are", output, tolerance.output),
        ("outputs of rotated molecules are", equivariance, tolerance.equivariance),
        (f"the gradient of {parameter} is", errors[parameter], tolerance.gradient),
    )
    wrong = [f"{what} off by {error:.1e}, more than {most:.0e}" for what, error, most in found if not error <= most]
    return replace(
        blank,
        output=output,
        equivariance=equivariance,
        gradient=errors[parameter],
        parameter=parameter,
        refused="; ".join(wrong),
    )


def _beside_mkl(found: Agreement, answers: Answers, by_mkl: Answers) -> Agreement:
    """The agreement with the difference of the outputs from those of the same kernel by MKL, which must be rounding."""
    off = max(relative_error(answers.outputs[name], out) for name, out in by_mkl.outputs.items())
    wrong = (
        f"outputs are off those by MKL by {off:.1e}, more than {LARGEST_ERROR:.0e}" if not off <= LARGEST_ERROR else ""
    )
    return replace(found, from_mkl=off, refused="; ".join(filter(None, [found.refused, wrong])))


def in_a_line(error: BaseException) -> str:
    """The type and the text of an error, cut where it is long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST_NOTE]
