"""Rows of `sampling`: the whole sampler over a few steps, from which a run is extrapolated, or over all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from gaga.benchmark.attempts import attempt
from gaga.benchmark.flops import useful_flops
from gaga.benchmark.memory import peak_memory
from gaga.benchmark.parity import Agreement
from gaga.benchmark.report import Row, with_seconds
from gaga.benchmark.shapes import Case
from gaga.benchmark.timing import Rounds, interleave, seconds_of
from gaga.benchmark.variants import Variant
from gaga.benchmark.works import Step, data_moments, sampler, sampling_run
from gaga.core.progress import Progress, silent
from gaga.models.model import Model
from gaga.models.sampling.plan import draw_sizes

# Steps of a short and a long run. On CUDA the sampler may take its first steps to record a graph.
_STEPS = {"cuda": (10, 60), "cpu": (1, 5)}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A sampling run: molecules, steps, and molecules at a time, None for the sampler's own choice."""

    molecules: int
    steps: int
    batch_size: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A sampler that has run: few steps and some more."""

    row: Row
    variant: Variant
    model: Model
    short: Step
    long: Step
    seconds: float


def blank_row(case: Case, variant: Variant, n_atoms: Int64[np.ndarray, " M"], run: Run) -> Row:
    """A row with nothing measured yet; FLOPs are of one step."""
    return Row(
        case=case.name, kernel=variant.label, precision=variant.precision, products=variant.products or "",
        batch=len(n_atoms), molecules=len(n_atoms), atoms=int(n_atoms.sum()),
        edges=int((n_atoms * (n_atoms - 1)).sum()), state="unavailable",
        useful_flops=useful_flops(case.shape.network, n_atoms),
        run_molecules=run.molecules, run_steps=run.steps,
    )  # fmt: skip


def measure_sampling(
    case: Case,
    n_molecules: int,
    variants: Mapping[Variant, Agreement],
    device: torch.device,
    rounds: Rounds,
    run: Run,
    *,
    full: bool = False,
    progress: Progress = silent,
) -> list[Row]:
    """A row for each variant, in their order; only those that agree with the oracle are timed.

    The time of a step is the difference between a long and a short run over the steps between them.
    """
    found = [_prepare(case, v, agreement, n_molecules, device, run) for v, agreement in variants.items()]
    ready = [item for item in found if isinstance(item, Ready)]
    timed: Iterator[Row] = _by_step(case, ready, device, rounds, run, progress)
    if full:
        timed = (_in_full(case, item, device, run) for item in ready)
    return [next(timed) if isinstance(item, Ready) else item for item in found]


def _prepare(
    case: Case, variant: Variant, agreement: Agreement, n_molecules: int, device: torch.device, run: Run
) -> Ready | Row:
    row = blank_row(case, variant, _sizes(case, n_molecules, run.seed), run)

    def first_runs() -> Ready:
        agreement.require()
        return _first_runs(case, variant, row, device, run)

    return attempt(row, first_runs)


def _sizes(case: Case, n_molecules: int, seed: int) -> Int64[np.ndarray, " M"]:
    """The sizes that the sampler draws for these molecules."""
    return draw_sizes(np.arange(n_molecules), data_moments(case.shape), None, seed)


def _first_runs(case: Case, variant: Variant, row: Row, device: torch.device, run: Run) -> Ready:
    model = sampler(case.shape, variant, device)

    def of_steps(n_steps: int) -> Step:
        return sampling_run(
            model, row.molecules, n_steps, batch_size=run.batch_size, seed=run.seed, products=variant.products
        )

    short, long = map(of_steps, steps_on(device))
    short()
    memory = peak_memory(short, device)
    row, seconds = replace(row, memory=memory), seconds_of(long, device)
    return Ready(row=row, variant=variant, model=model, short=short, long=long, seconds=seconds)


def steps_on(device: torch.device) -> tuple[int, int]:
    """Steps of the short and of the long run."""
    return _STEPS["cuda" if device.type == "cuda" else "cpu"]


def _by_step(
    case: Case, ready: list[Ready], device: torch.device, rounds: Rounds, run: Run, progress: Progress
) -> Iterator[Row]:
    """Rows extrapolated from the time of a step, and of what comes before and after all steps."""
    if not ready:
        return
    flops = useful_flops(case.shape.network, _sizes(case, run.molecules, run.seed))
    runs = [step for item in ready for step in (item.short, item.long)]
    seconds = interleave(runs, [item.seconds for item in ready for _ in range(2)], device, rounds, progress)
    for item, short, long in zip(ready, seconds[::2], seconds[1::2], strict=True):
        yield extrapolated(item.row, short, long, steps_on(device), run, flops)


def extrapolated(
    row: Row,
    short: Float64[np.ndarray, " n_rounds"],
    long: Float64[np.ndarray, " n_rounds"],
    steps: tuple[int, int],
    run: Run,
    flops: int,
) -> Row:
    """The row of a whole run from the seconds of a short and a long one, by rounds.

    Steps take time by the FLOPs of the run's own sizes (`flops` a step), and what is around them by molecules.
    """
    per_step = (long - short) / (steps[1] - steps[0])
    if np.median(per_step) <= 0:
        return replace(row, note=f"too short to be measured by {steps[0]} and {steps[1]} steps")
    around = max(0.0, float(np.median(short - steps[0] * per_step)))
    row = with_seconds(row, per_step)
    stepping = run.steps * float(np.median(per_step)) * flops / row.useful_flops
    whole = stepping + around * run.molecules / row.molecules
    return replace(row, **_whole_run(run, whole), extrapolated=True, note=f"from {steps[0]} and {steps[1]} steps")


def _in_full(case: Case, item: Ready, device: torch.device, run: Run) -> Row:
    """The row of a whole run that is really done, once."""
    sizes = _sizes(case, run.molecules, run.seed)
    blank = blank_row(case, item.variant, sizes, run)
    step = sampling_run(
        item.model, run.molecules, run.steps, batch_size=run.batch_size, seed=run.seed, products=item.variant.products
    )

    def whole() -> Row:
        seconds = seconds_of(step, device)
        row = with_seconds(replace(blank, memory=item.row.memory), np.array([seconds / run.steps]))
        return replace(row, **_whole_run(run, seconds), note="run in full")

    return attempt(blank, whole)


def _whole_run(run: Run, seconds: float) -> dict[str, Any]:
    return {"run_seconds": seconds, "molecules_per_second": run.molecules / seconds}
