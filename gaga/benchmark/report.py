"""What a benchmark found: one record, as it is stored and printed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from gaga.benchmark.floors import Floor
from gaga.benchmark.machine import Machine
from gaga.benchmark.parity import Agreement

State = Literal["measured", "unavailable", "refused"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kernel on one batch of a case.

    Attributes:
        case, kernel, precision: what ran; the kernel with its padding. batch: molecules of the batch.
        products: library of float32 products, mkl or onednn; empty in bfloat16 and if the device is not a CPU.
        molecules, atoms, edges: that it ran on; the naive kernel gets the first molecules only where the whole batch
            does not fit the memory.
        state: `unavailable` where the kernel cannot run here, `refused` where it disagrees with the oracle or raised.
        note: why, or how it ran.
        seconds, low, high: of a step; median, least and most over the rounds.
        rounds: how many.
        molecules_per_second: of a step; of a whole sampling run for the work `sampling`.
        useful_flops: FLOPs that a step needs. counted_flops: matrix products that ran, where torch can count them.
        floor: useful FLOP/s over the floor. datasheet: over the data sheet's figure, where there is one.
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
    state: State
    products: str = ""
    note: str = ""
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    molecules_per_second: float | None = None
    counted_flops: int | None = None
    floor: float | None = None
    datasheet: float | None = None
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


def with_floor(row: Row, floor: Floor) -> Row:
    """The row with its part of the floor."""
    if row.seconds is None:
        return row
    rate = row.useful_flops / row.seconds
    return replace(row, floor=rate / floor.flops, datasheet=rate / floor.datasheet if floor.datasheet else None)


def with_ratios(rows: Sequence[Row], oracle: str) -> list[Row]:
    """Rows of one case and batch, each held against the naive kernel's among them, and oneDNN's against MKL's."""
    rates = {row.kernel: row.molecules_per_second for row in rows}
    padded = next((rate for kernel, rate in rates.items() if kernel.startswith(f"{oracle}, padded")), None)
    by_mkl = {(row.kernel, row.precision): row.molecules_per_second for row in rows if row.products == "mkl"}
    return [
        replace(
            row,
            times_mkl=_ratio(row.molecules_per_second, by_mkl.get((row.kernel, row.precision)))
            if row.products == "onednn"
            else None,
            times_naive=_ratio(row.molecules_per_second, rates.get(oracle)),
            times_padded=_ratio(row.molecules_per_second, padded),
        )
        for row in rows
    ]


def _ratio(rate: float | None, base: float | None) -> float | None:
    return rate / base if rate and base else None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Where the time of a step goes: kernels of the device, or operators of torch on the CPU, by their own time.

    Attributes:
        case, kernel, precision, products, molecules: of which row.
        names, calls, seconds: of each kernel, the longest first.
        edge_flops: FLOPs of the products over edges that the step needs.
        edge_seconds: of all kernels named after edges; 0 where none is.
    """

    case: str
    kernel: str
    precision: str
    molecules: int
    names: tuple[str, ...]
    calls: Int64[np.ndarray, " K"]
    seconds: Float64[np.ndarray, " K"]
    edge_flops: int
    edge_seconds: float
    products: str = ""

    @property
    def edge_rate(self) -> float | None:
        """FLOP/s of the edge kernels, None where there are none."""
        return self.edge_flops / self.edge_seconds if self.edge_seconds else None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One run of `gaga benchmark`.

    Attributes:
        networks: its networks in words.
        products: which library of float32 products gaga uses on this CPU, and why; empty on other devices.
    """

    machine: Machine
    floors: tuple[Floor, ...]
    memory: str
    parity: tuple[Agreement, ...]
    rows: tuple[Row, ...]
    profiles: tuple[Profile, ...] = ()
    networks: tuple[str, ...] = ()
    products: str = ""

    @property
    def idle(self) -> bool:
        """Whether no kernel that was asked for can run here."""
        return bool(self.parity) and all(agreement.unavailable for agreement in self.parity)

    @property
    def refused(self) -> tuple[Row | Agreement, ...]:
        """Kernels that may not be timed, and rows that failed."""
        kernels = [agreement for agreement in self.parity if agreement.refused]
        return (*kernels, *(row for row in self.rows if row.state == "refused"))
