"""Options of a benchmark, and those of the quick look."""

from dataclasses import dataclass
from typing import Any

from gaga.core.config import Config, option
from gaga.models.network.names import KERNELS, PRECISIONS

WORKS = ("train", "forward", "sampling")
CASES = tuple(f"{dataset}-{work}" for dataset in ("qm9", "geom") for work in WORKS)
TIMED_KERNELS = tuple(kernel for kernel in KERNELS if kernel != "auto")
_NETWORK = "A smaller network, for a rehearsal"


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Config):
    """What is measured: each kernel in each precision, on each batch of each case."""

    cases: tuple[str, ...] = option(
        CASES[:3], f"Some of {', '.join(CASES)}; may be repeated.", metavar="NAME", choices=CASES
    )
    kernels: tuple[str, ...] = option(TIMED_KERNELS, "May be repeated. Ratios need naive.", choices=TIMED_KERNELS)
    precisions: tuple[str, ...] = option(
        PRECISIONS, "May be repeated; naive runs in float32 alone.", choices=PRECISIONS
    )
    batch_sizes: tuple[int, ...] = option(
        (), "May be repeated; by default what suits case and device.", metavar="N", at_least=1
    )
    rounds: int = option(5, "Rounds that kernels take turns in.", metavar="N", at_least=1)
    check: bool = option(False, "Hold the kernels against naive in float64, and time nothing.")
    full: bool = option(False, "Sample all 10,000 molecules over all steps; by default that is extrapolated.")
    hidden: int | None = option(None, "Width.", metavar="N", at_least=1, section=_NETWORK)
    n_layers: int | None = option(None, "Blocks.", metavar="N", at_least=1, section=_NETWORK)
    seed: int = 0
    budget_s: float | None = None  # for the rounds of a batch; there are two at least


def quick_look(*, on_cuda: bool) -> dict[str, Any]:
    """Options that fit into a minute on two slow cores: few molecules, and no kernel that is compiled first."""
    kernels, molecules = (("naive", "torch", "triton"), 256) if on_cuda else (("naive", "torch"), 12)
    return {"cases": CASES[:2], "kernels": kernels, "batch_sizes": (molecules,), "rounds": 3, "budget_s": 8.0}
