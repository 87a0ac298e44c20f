"""Rows of `train` and `forward`: one batch, every kernel prepared, then timed in turn."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from gaga.benchmark.attempts import attempt
from gaga.benchmark.batches import Batch
from gaga.benchmark.flops import count_flops, edge_flops, useful_flops
from gaga.benchmark.graphs import Pool, captured, new_pool
from gaga.benchmark.memory import available_memory, padded_bytes, peak_memory
from gaga.benchmark.parity import Agreement
from gaga.benchmark.profiling import profile_step
from gaga.benchmark.report import Profile, Row, with_seconds
from gaga.benchmark.shapes import Case
from gaga.benchmark.timing import Rounds, interleave, seconds_of
from gaga.benchmark.variants import Variant
from gaga.benchmark.works import Step, forward_step, train_step
from gaga.core.errors import Unavailable
from gaga.core.progress import Progress, silent
from gaga.models.network.kernels.threaded_groups import one_thread

_COUNTED = ("naive", "torch")  # made of torch's own operators, which it can count
_SHARE = 0.6  # of the free memory that a padded step may take


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A step that has run, with what was found when it did, and about how long it takes."""

    row: Row
    step: Step
    seconds: float


def blank_row(case: Case, variant: Variant, batch: Batch, whole: int) -> Row:
    """A row with nothing measured yet; `batch` may be the first molecules only of the `whole`."""
    flops = useful_flops(case.shape.network, batch.n_atoms, training=case.work == "train")
    return Row(
        case=case.name, kernel=variant.label, precision=variant.precision, products=variant.products or "",
        batch=whole, molecules=len(batch.n_atoms), atoms=int(batch.n_atoms.sum()), edges=batch.edges,
        useful_flops=flops, state="unavailable",
    )  # fmt: skip


def prepare(
    case: Case, variant: Variant, agreement: Agreement, batch: Batch, device: torch.device, pool: Pool
) -> Ready | Row:
    """The step with its first runs done, or a row that says why there is none."""
    whole = len(batch.n_atoms)

    def first_runs() -> Ready:
        agreement.require()
        part = fitting(case, variant, batch, available_memory(device))
        make = train_step if case.work == "train" else forward_step
        step = make(case.shape, part, variant, device)
        return _first_runs(step, blank_row(case, variant, part, whole), variant, device, pool)

    return attempt(blank_row(case, variant, batch, whole), first_runs)


def fitting(case: Case, variant: Variant, batch: Batch, available: int | None) -> Batch:
    """As many of the batch's first molecules as the naive kernel has memory for, halved until they fit.

    Raises:
        Unavailable: not even one does.
    """
    if not variant.is_oracle or available is None:
        return batch
    config, training = case.shape.network, case.work == "train"
    n = len(batch.n_atoms)
    while n:
        part = batch.first(n)
        needed = padded_bytes(config, part.n_atoms, variant.pad_to, training=training)
        if needed <= _SHARE * available:
            return part
        n //= 2
    raise Unavailable(f"one molecule would take about {needed / 1e9:.1f} GB, of {available / 1e9:.1f} GB that are free")


def _first_runs(step: Step, row: Row, variant: Variant, device: torch.device, pool: Pool) -> Ready:
    """Run the step for the first times: counting, measuring its memory, and on CUDA recording it."""
    if variant.kernel in _COUNTED:
        with nullcontext() if variant.is_oracle else one_thread():
            row = replace(row, counted_flops=count_flops(step))
    else:
        step()
    taken: list[float] = []
    memory = peak_memory(lambda: taken.append(seconds_of(step, device)), device)
    run, note = (step, "") if variant.is_oracle else captured(step, device, pool)
    seconds = seconds_of(run, device) if run is not step else taken[0]
    return Ready(row=replace(row, state="measured", memory=memory, note=note), step=run, seconds=seconds)


def measure_steps(
    case: Case,
    batch: Batch,
    variants: Mapping[Variant, Agreement],
    device: torch.device,
    rounds: Rounds,
    *,
    profiled: bool = False,
    progress: Progress = silent,
) -> tuple[list[Row], list[Profile]]:
    """A row for each variant, in their order; only those that agree with the oracle are timed."""
    pool = new_pool(device)
    found = [prepare(case, v, agreement, batch, device, pool) for v, agreement in variants.items()]
    ready = [item for item in found if isinstance(item, Ready)]
    timed = iter(_timed(ready, device, rounds, progress))
    rows = [next(timed) if isinstance(item, Ready) else item for item in found]
    profiles = [_profile(case, batch, item, device) for item in ready] if profiled else []
    return rows, profiles


def _timed(ready: list[Ready], device: torch.device, rounds: Rounds, progress: Progress) -> Iterator[Row]:
    if not ready:
        return
    seconds = interleave([r.step for r in ready], [r.seconds for r in ready], device, rounds, progress)
    for item, own in zip(ready, seconds, strict=True):
        yield with_seconds(item.row, own)


def _profile(case: Case, batch: Batch, item: Ready, device: torch.device) -> Profile:
    part = batch.first(item.row.molecules)
    return profile_step(item.step, device, item.row, edge_flops(case.shape.network, part.n_atoms))
