"""The rows of a batch: each kernel that agrees with the oracle is prepared, then all are timed in turn.

A kernel that cannot run here, or that breaks, becomes a row that says so: the others keep their figures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from gaga.benchmark.flops import useful_flops
from gaga.benchmark.measuring import available_memory, interleave, peak_memory, seconds_of
from gaga.benchmark.parity import Agreement, Variant, failure
from gaga.benchmark.results import Row, with_seconds
from gaga.benchmark.shapes import Batch, Case
from gaga.benchmark.steps import Recorder, Step, data_moments, make_step, sampler, sampling_run
from gaga.core.errors import Unavailable
from gaga.core.progress import Progress, silent
from gaga.models.network.parameters import EGNNConfig
from gaga.models.sampling.plan import draw_sizes

SAMPLED_MOLECULES = 10_000
_SHARE = 0.6  # of the free memory that a padded step may take
# Steps of a short and a long sampling run. On CUDA the sampler may take its first steps to record a graph.
_CPU_STEPS, _CUDA_STEPS = (1, 5), (10, 60)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A kernel that has run on the batch.

    Attributes:
        row: what is known already.
        runs: what is timed: a step, or a short and a long sampling run. seconds: about how long each takes.
        finish: makes the final row of `row` and the seconds of each run in each round, [n_runs, n_rounds].
    """

    row: Row
    runs: tuple[Step, ...]
    seconds: tuple[float, ...]
    finish: Callable[[Row, Float64[np.ndarray, "n_runs n_rounds"]], Row]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The work `train` or `forward`: a step of each kernel on the same batch."""

    case: Case
    batch: Batch
    recorder: Recorder

    def blank(self, variant: Variant, part: Batch | None = None) -> Row:
        """A row with nothing measured yet, of the whole batch or of a part of it."""
        return _blank(self.case, variant, (part or self.batch).n_atoms, batch=len(self.batch.n_atoms))

    def prepare(self, variant: Variant) -> Ready:
        """The step after its first runs, in which its memory is measured and on CUDA a graph is recorded."""
        device = self.recorder.device
        part = fitting(self.case, variant, self.batch, available_memory(device))
        step = make_step(self.case, part, variant, device)
        step()
        taken: list[float] = []
        memory = peak_memory(lambda: taken.append(seconds_of(step, device)), device)
        run, note = (step, "") if variant.is_oracle else self.recorder(step)
        seconds = seconds_of(run, device) if run is not step else taken[0]
        row = replace(self.blank(variant, part), memory=memory, note=note)
        return Ready(row=row, runs=(run,), seconds=(seconds,), finish=lambda row, times: with_seconds(row, times[0]))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The work `sampling`: the whole sampler of each kernel, over a few steps or over all.

    Attributes:
        case: whose shape has the number of steps.
        device: what runs the kernels.
        n_molecules: that are drawn to measure a step.
        batch_size: molecules at a time, None for the sampler's own choice.
        seed: of sizes and noise.
        full: whether the whole run is done, and not extrapolated from a step.
        run_molecules: of the whole run.
    """

    case: Case
    device: torch.device
    n_molecules: int
    batch_size: int | None = None
    seed: int = 0
    full: bool = False
    run_molecules: int = SAMPLED_MOLECULES

    @property
    def n_steps(self) -> tuple[int, int]:
        """Steps of the short and of the long run."""
        return _CUDA_STEPS if self.device.type == "cuda" else _CPU_STEPS

    def blank(self, variant: Variant) -> Row:
        """A row with nothing measured yet; FLOPs are of one step."""
        sizes = self._sizes(self.run_molecules if self.full else self.n_molecules)
        row = _blank(self.case, variant, sizes)
        return replace(row, run_molecules=self.run_molecules, run_steps=self.case.shape.steps)

    def prepare(self, variant: Variant) -> Ready | Row:
        """The sampler after its first runs; with `full` the final row."""
        row, model = self.blank(variant), sampler(self.case.shape, variant, self.device)

        def run(n_molecules: int, n_steps: int) -> Step:
            return sampling_run(
                model, n_molecules, n_steps,
                batch_size=self.batch_size, seed=self.seed, products=variant.products,
            )  # fmt: skip

        short, long = (run(self.n_molecules, n_steps) for n_steps in self.n_steps)
        short()
        row = replace(row, memory=peak_memory(short, self.device))
        if not self.full:
            seconds = seconds_of(long, self.device)
            return Ready(row=row, runs=(short, long), seconds=(seconds, seconds), finish=self.extrapolated)
        whole = seconds_of(run(self.run_molecules, self.case.shape.steps), self.device)
        row = with_seconds(row, np.array([whole / self.case.shape.steps]))
        return replace(row, **self._of_run(whole), note="run in full")

    def extrapolated(self, row: Row, seconds: Float64[np.ndarray, "2 n_rounds"]) -> Row:
        """The row of a whole run from the seconds of the short and of the long one.

        A step takes the difference of the two over the steps between them, and in the whole run more by the FLOPs of
        its sizes; what comes before and after all steps takes time by molecules.
        """
        (short, long), (few, many) = seconds, self.n_steps
        per_step = (long - short) / (many - few)
        if np.median(per_step) <= 0:
            return replace(row, note=f"too short to be measured by {few} and {many} steps")
        around = max(0.0, float(np.median(short - few * per_step)))
        flops = useful_flops(self.case.shape.network, self._sizes(self.run_molecules))
        stepping = self.case.shape.steps * float(np.median(per_step)) * flops / row.useful_flops
        whole = stepping + around * self.run_molecules / row.molecules
        row = replace(with_seconds(row, per_step), **self._of_run(whole))
        return replace(row, extrapolated=True, note=f"from {few} and {many} steps")

    def _sizes(self, n_molecules: int) -> Int64[np.ndarray, " M"]:
        """The sizes that the sampler draws for these molecules."""
        return draw_sizes(np.arange(n_molecules), data_moments(self.case.shape), None, self.seed)

    def _of_run(self, seconds: float) -> dict[str, Any]:
        return {"run_seconds": seconds, "molecules_per_second": self.run_molecules / seconds}


def measure_rows(
    work: Steps | Sampling,
    agreements: Mapping[Variant, Agreement],
    device: torch.device,
    rounds: int,
    *,
    budget_s: float | None = None,
    progress: Progress = silent,
) -> list[Row]:
    """A row for each variant, in their order; only those that agree with the oracle are run and timed."""
    found = [_attempt(work, variant, agreement) for variant, agreement in agreements.items()]
    ready = [item for item in found if isinstance(item, Ready)]
    runs = [run for item in ready for run in item.runs]
    estimates = [seconds for item in ready for seconds in item.seconds]
    times = iter(interleave(runs, estimates, device, rounds, budget_s=budget_s, progress=progress))
    return [
        item.finish(item.row, np.stack([next(times) for _ in item.runs])) if isinstance(item, Ready) else item
        for item in found
    ]


def _attempt(work: Steps | Sampling, variant: Variant, agreement: Agreement) -> Ready | Row:
    """The kernel ready to be timed, or a row that says why it is not."""
    row = work.blank(variant)
    if agreement.unavailable:
        return replace(row, note=agreement.unavailable)
    if agreement.refused:
        return replace(row, state="refused", note=agreement.refused)
    try:
        return work.prepare(variant)
    except torch.OutOfMemoryError:
        pass  # its frames, and what they hold on the device, live until here
    except Exception as error:  # noqa: BLE001 - whatever a kernel breaks with is said in its row
        state, note = failure(error)
        return replace(row, state=state, note=note)
    torch.cuda.empty_cache()
    return replace(row, note="does not fit the memory of the device")


def _blank(case: Case, variant: Variant, n_atoms: Int64[np.ndarray, " M"], *, batch: int | None = None) -> Row:
    return Row(
        case=case.name, kernel=variant.label, precision=variant.precision, products=variant.products or "",
        batch=batch or len(n_atoms), molecules=len(n_atoms), atoms=int(n_atoms.sum()),
        edges=int((n_atoms * (n_atoms - 1)).sum()),
        useful_flops=useful_flops(case.shape.network, n_atoms, training=case.work == "train"),
    )  # fmt: skip


def fitting(case: Case, variant: Variant, batch: Batch, available: int | None) -> Batch:
    """As many of the batch's first molecules as the naive kernel has memory for, halved until they fit.

    Raises:
        Unavailable: not even one does.
    """
    if not variant.is_oracle or available is None:
        return batch
    needed, n = 0, len(batch.n_atoms)
    while n:
        part = batch.first(n)
        needed = padded_bytes(case.shape.network, part.n_atoms, variant.pad_to, training=case.work == "train")
        if needed <= _SHARE * available:
            return part
        n //= 2
    raise Unavailable(f"one molecule would take about {needed / 1e9:.1f} GB, of {available / 1e9:.1f} GB that are free")


def padded_bytes(config: EGNNConfig, n_atoms: Int64[np.ndarray, " M"], width: int | None, *, training: bool) -> int:
    """What the naive kernel takes, about: eight rows of F floats for each pair of atoms and edge network.

    Without a gradient one edge network's rows live at a time.
    """
    pairs = len(n_atoms) * int(width or n_atoms.max()) ** 2
    networks = config.n_layers * (config.inv_sublayers + 1) if training else 1
    return 8 * 4 * config.hidden * pairs * networks
