"""What a benchmark is asked to measure, and the request that fits into a minute."""

from dataclasses import dataclass, replace

import torch

from gaga.benchmark.shapes import Case, Shape, find_case
from gaga.core.errors import InvalidInput
from gaga.models.network.names import KERNELS, PRECISIONS

TIMED_KERNELS = tuple(kernel for kernel in KERNELS if kernel != "auto")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure.

    Attributes:
        cases: by name, in order.
        kernels, precisions: which are held against each other; the naive kernel runs in float32 alone.
        batch_sizes: molecules of a batch; none takes the shape's own for the device.
        rounds: how often each step is measured at most; 0 times nothing. budget_s: seconds for a batch's rounds.
        hidden, n_layers: another network than the shape's, for a rehearsal.
        seed: of sizes and noise.
        full: run the sampler to its end, in the place of extrapolating.
        profiled: look where the time of a step goes.
    """

    cases: tuple[str, ...] = ("qm9-train", "qm9-forward", "qm9-sampling")
    kernels: tuple[str, ...] = TIMED_KERNELS
    precisions: tuple[str, ...] = PRECISIONS
    batch_sizes: tuple[int, ...] = ()
    rounds: int = 5
    budget_s: float | None = None
    hidden: int | None = None
    n_layers: int | None = None
    seed: int = 0
    full: bool = False
    profiled: bool = False

    def __post_init__(self) -> None:
        _check_names("kernel", self.kernels, TIMED_KERNELS)
        _check_names("precision", self.precisions, PRECISIONS)
        if any(size < 1 for size in self.batch_sizes):
            raise InvalidInput("a batch has at least one molecule", received=self.batch_sizes)

    def found_cases(self) -> tuple[Case, ...]:
        """The cases, with the network of the request.

        Raises:
            InvalidInput: a name is unknown.
        """
        return tuple(replace(case, shape=self._shape(case.shape)) for case in map(find_case, self.cases))

    def _shape(self, shape: Shape) -> Shape:
        return replace(shape, hidden=self.hidden or shape.hidden, n_layers=self.n_layers or shape.n_layers)

    def batches(self, case: Case, device: torch.device) -> tuple[int, ...]:
        """Molecules of each batch; the sampler cuts batches of its own, and is measured on the most molecules only."""
        usual = case.shape.cuda_batches if device.type == "cuda" else case.shape.cpu_batches
        return self.batch_sizes or (usual[-1:] if case.work == "sampling" else usual)


def _check_names(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise InvalidInput(f"unknown {what}", received=", ".join(unknown), remedy=f"use one of {', '.join(known)}")


# A minute on two slow cores: a few molecules, and no kernel that is compiled first.
QUICK = Request(
    cases=("qm9-train", "qm9-forward"),
    kernels=("naive", "torch"),
    batch_sizes=(12,),
    rounds=3,
    budget_s=8.0,
)
QUICK_CUDA_BATCH, QUICK_CUDA_KERNELS = 256, ("naive", "torch", "triton")
