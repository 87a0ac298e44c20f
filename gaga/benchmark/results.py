"""What a benchmark found: one record, as it is stored and printed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from gaga.benchmark.machine import Floor, Machine
from gaga.benchmark.parity import Agreement

State = Literal["measured", "unavailable", "refused"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kernel on one batch of a case.

    Attributes:
        case, kernel, precision: what ran; the kernel with its padding. batch: molecules of the batch.
        products: library of float32 products, mkl or onednn; empty in bfloat16 and if the device is not a CPU.
        molecules, atoms, edges: that it ran on; the naive kernel gets the first molecules only if the whole batch
            does not fit the memory.
        state: `unavailable` if the kernel cannot run here, `refused` if it disagrees with the oracle or raised.
        note: why, or how it ran.
        seconds, low, high: of a step; median, least and most over the rounds. rounds: how many.
        molecules_per_second: of a step; of a whole sampling run for the work `sampling`.
        useful_flops: FLOPs that a step needs. floor: useful FLOP/s over the floor.
        memory: peak bytes of a step.
        times_naive, times_padded: molecules/s over the naive kernel's, padded to the batch's or the data's largest.
        times_mkl: molecules/s of a row of oneDNN over those of the same kernel by MKL.
        run_seconds, run_molecules, run_steps: a whole sampling run; `extrapolated` from the time of a step.
    """

    case: str
    kernel: str
    precision: str
    batch: int
    molecules: int
    atoms: int
    edges: int
    useful_flops: int
    state: State = "unavailable"
    products: str = ""
    note: str = ""
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    molecules_per_second: float | None = None
    floor: float | None = None
    memory: int | None = None
    times_naive: float | None = None
    times_padded: float | None = None
    times_mkl: float | None = None
    run_seconds: float | None = None
    run_molecules: int | None = None
    run_steps: int | None = None
    extrapolated: bool = False


def with_seconds(row: Row, seconds: Float64[np.ndarray, " n_rounds"]) -> Row:
    """The row with the time of a step, by rounds."""
    median = float(np.median(seconds))
    return replace(
        row, state="measured", seconds=median, low=float(seconds.min()), high=float(seconds.max()),
        rounds=len(seconds), molecules_per_second=row.molecules / median,
    )  # fmt: skip


def with_floor(row: Row, floors: Sequence[Floor]) -> Row:
    """The row with its part of the floor of its precision."""
    if row.seconds is None:
        return row
    floor = next(floor.flops for floor in floors if floor.precision == row.precision)
    return replace(row, floor=row.useful_flops / row.seconds / floor)


def with_ratios(rows: Sequence[Row], oracle: str) -> list[Row]:
    """Rows of one case and batch, each held against the naive kernel's among them, and oneDNN's against MKL's."""
    rates = {row.kernel: row.molecules_per_second for row in rows}
    padded = next((rate for kernel, rate in rates.items() if kernel.startswith(f"{oracle}, padded")), None)
    by_mkl = {(row.kernel, row.precision): row.molecules_per_second for row in rows if row.products == "mkl"}

    def over(row: Row, base: float | None) -> float | None:
        return row.molecules_per_second / base if row.molecules_per_second and base else None

    return [
        replace(
            row,
            times_naive=over(row, rates.get(oracle)),
            times_padded=over(row, padded),
            times_mkl=over(row, by_mkl.get((row.kernel, row.precision))) if row.products == "onednn" else None,
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One run of `gaga benchmark`.

    Attributes:
        products: which library of float32 products gaga uses on this CPU, and why; empty on other devices.
        memory: what the memory of a row is. networks: in words.
    """

    machine: Machine
    floors: tuple[Floor, ...]
    products: str = ""
    memory: str
    networks: tuple[str, ...] = ()
    parity: tuple[Agreement, ...]
    rows: tuple[Row, ...]

    @property
    def failed(self) -> bool:
        """Whether a kernel disagrees or a row was refused, or none of the kernels asked for can run here."""
        refused = any(agreement.refused for agreement in self.parity) or any(r.state == "refused" for r in self.rows)
        return refused or (bool(self.parity) and all(agreement.unavailable for agreement in self.parity))
