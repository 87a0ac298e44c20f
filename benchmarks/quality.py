"""The figures of docs/QUALITY.md, each study by one command that may be killed and goes on where it was.

    python benchmarks/quality.py curve --checkpoint runs/qm9 --n 1000 --out quality.jsonl --plot curve.png
    python benchmarks/quality.py spacing --n 500 --steps 50
    python benchmarks/quality.py truncation --checkpoint runs/all_steps --n 500 --method annealed --steps 50
    python benchmarks/quality.py truncation --starts block shape --t-stars 350 450 550 --method sde --steps 50
    python benchmarks/quality.py training --checkpoint t250=runs/t250_s0 t250=runs/t250_s1 t550=runs/t550_s0
    python benchmarks/quality.py precision --n 500 --methods ddpm annealed
    python benchmarks/quality.py stored drawn.h5          molecules that `gaga sample` drew elsewhere
    python benchmarks/quality.py curve --table quality.jsonl --plot curve.png      from finished cells alone

A cell is a checkpoint, a way to sample, n and a seed; finished ones are lines of --out and are not drawn again. What is
drawn of another is kept beside --out. Rates are those of `gaga evaluate`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from measuring.cells import Cell, Row, Source, forget, measure
from measuring.lines import Lines, find
from measuring.plot import plot_curve
from measuring.stored import STUDY, stored_cells
from measuring.studies import EVALUATIONS, STARTS, STUDIES, T_STARS, Asked, cells_of, parse_spacings
from measuring.tables import tables, value

from gaga.cli.allocator import keep_freed_memory
from gaga.cli.progress import progress_bar
from gaga.core.errors import GagaError, InvalidInput
from gaga.core.progress import Progress
from gaga.core.text import human_time
from gaga.models.api import SHIPPED_CHECKPOINT, load_model
from gaga.models.model import Model
from gaga.models.network.names import PRECISIONS
from gaga.models.sampling.config import METHODS, SPACINGS, SampleConfig
from gaga.runs.devices import torch_device

_AT_ONE_NUMBER = 50  # evaluations of the study of spacings


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how the network runs."""

    device: str
    kernel: str

    def model(self, cell: Cell) -> Model:
        """The checkpoint of a cell, on the device."""
        where = torch_device(self.device)
        return load_model(cell.source.path, device=where, kernel=self.kernel, precision=cell.precision)


class Run:
    """The cells of a study, one after the other, those that are there already taken from the file.

    Args:
        lines: the file of finished cells.
        machine: where the others are drawn.
        protocols: of gaga.evaluation.
        say: told a line for each cell.
    """

    def __init__(
        self, lines: Lines, machine: Machine, protocols: Sequence[str], *, workers: int | None,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._lines, self._machine, self._protocols = lines, machine, protocols
        self._workers, self._say = workers, say
        self._model: tuple[tuple[Path, str], Model] | None = None

    def __call__(self, cells: Sequence[Cell], progress: Progress) -> list[Row]:
        """Their rows, in their order."""
        known = self._lines.rows()
        found = [find(known, cell.id, self._protocols, cell.study) for cell in cells]
        missing = [cell for cell, row in zip(cells, found, strict=True) if row is None]
        total, done, began = sum(map(work, missing)), 0, time.monotonic()
        rows = []
        for cell, row in zip(cells, found, strict=True):
            if row is None:
                row = self._drawn(cell, shifted(progress, done, work(cell), total, cell.title))
                done += work(cell)
                left = (time.monotonic() - began) * (total - done) / done
                stable = value(row["rates"]["edm"]["molecule_stable"])
                self._say(f"{cell.title}: {100 * stable:.1f} % of molecules stable; about {human_time(left)} left")
            elif row["study"] != cell.study or row["labels"] != dict(cell.labels) or row["against"] != cell.against:
                row = row | {"study": cell.study, "labels": dict(cell.labels), "against": cell.against}
                row |= {"checkpoint": cell.source.name}
                self._lines.append(row)
            rows.append(row)
        return rows

    def _drawn(self, cell: Cell, progress: Progress) -> Row:
        folder = self._lines.path.absolute().parent
        opened = (cell.source.path, cell.precision)
        if self._model is None or self._model[0] != opened:
            self._model = (opened, self._machine.model(cell))
        row = measure(
            cell, self._model[1], folder, self._protocols, workers=self._workers, progress=progress
        )  # fmt: skip
        self._lines.append(row)
        forget(cell, folder)
        return row


def work(cell: Cell) -> int:
    """Molecule-evaluations of a cell."""
    return cell.n * cell.evaluations


def shifted(progress: Progress, before: int, mine: int, total: int, title: str) -> Progress:
    """The progress of one cell as that of all of them; what a killed run had done counts as done."""

    def report(done: int, of: int, note: str = "") -> None:
        progress(before + mine - (of - done), total, f"{title} {note}".strip())

    return report


def asked_of(options: argparse.Namespace) -> Asked:
    """The study's arguments."""
    general, single = parse_spacings(options.spacing)
    way = SampleConfig(
        method=options.method, steps=options.steps, spacing=general or SampleConfig.spacing, bend=options.bend,
        churn=options.churn, raised=options.raised, start=options.start, batch_size=options.batch_size,
    )  # fmt: skip
    if options.study == "spacing" and options.steps is None:
        way = replace(way, steps=_AT_ONE_NUMBER)
    return Asked(
        sources=tuple(source_of(word) for word in options.checkpoint), way=way, n=options.n, seed=options.seed,
        precision=options.precision, methods=tuple(options.methods), spacings=single,
        evaluations=tuple(None if word == "all" else number(word) for word in options.evaluations),
        t_stars=tuple(options.t_stars), starts=tuple(options.starts), reach=options.reach,
    )  # fmt: skip


def source_of(word: str) -> Source:
    """The checkpoint of PATH or NAME=PATH."""
    name, _, path = word.rpartition("=")
    return Source.of(Path(path), name or None)


def number(word: str) -> int:
    """A number of evaluations.

    Raises:
        InvalidInput: it is none.
    """
    if not word.isdecimal() or int(word) < 1:
        raise InvalidInput("evaluations are numbers from 1 on, or the word all", received=word)
    return int(word)


def parser() -> argparse.ArgumentParser:
    """The options."""
    head, _, _ = (__doc__ or "").partition("\n")
    p = argparse.ArgumentParser(description=head, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("study", choices=(*STUDIES, STUDY))
    p.add_argument("stores", nargs="*", type=Path, help="stored: files that gaga sample --store wrote")
    p.add_argument("--checkpoint", nargs="+", default=[str(SHIPPED_CHECKPOINT)], metavar="[NAME=]PATH")
    p.add_argument("--n", type=int, default=100, help="molecules of a cell")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path("quality.jsonl"), help="finished cells, JSON lines")
    p.add_argument("--table", type=Path, metavar="FILE.jsonl", help="draw nothing: the table of this file's cells")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="curve: the plot")
    p.add_argument("--strict", action="store_true", help="validity by the strict protocol too")
    way = p.add_argument_group("how to sample, where a study does not vary it")
    way.add_argument("--method", choices=METHODS, default="ddpm")
    way.add_argument("--steps", type=int, help="evaluations; spacing: 50, else every step of ddpm and ddim, or 50")
    way.add_argument("--spacing", nargs="+", default=[], metavar=f"[METHOD=]{'|'.join(SPACINGS)}")
    way.add_argument("--bend", type=float, default=SampleConfig.bend)
    way.add_argument("--churn", type=float, default=SampleConfig.churn, help="of sde")
    way.add_argument("--raised", type=float, default=SampleConfig.raised)
    way.add_argument("--start", default=SampleConfig.start, help="what to start from")
    varied = p.add_argument_group("what a study varies")
    varied.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    varied.add_argument("--evaluations", nargs="+", default=[str(k) for k in EVALUATIONS], help="numbers, or all")
    varied.add_argument("--t-stars", nargs="+", type=int, default=T_STARS)
    varied.add_argument("--starts", nargs="+", default=STARTS, help="starts of truncation")
    varied.add_argument("--reach", type=float, default=0.9, help="training: share of stable atoms looked for in logs")
    machine = p.add_argument_group("where")
    machine.add_argument("--device", default="auto", metavar="auto|cpu|cuda|mps")
    machine.add_argument("--kernel", default="auto")
    machine.add_argument("--precision", choices=PRECISIONS, default="float32")
    machine.add_argument("--batch-size", type=int)
    machine.add_argument("--threads", type=int, help="of the network, and processes that judge")
    return p


def finished(options: argparse.Namespace, lines: Lines, say: Callable[[str], None]) -> list[Row]:
    """The study's rows, drawn where they are not there."""
    protocols = ("edm", "strict") if options.strict else ("edm",)
    if options.study == STUDY:
        known = {row["id"] for row in lines.rows() if set(protocols) <= row["rates"].keys()}
        for store in options.stores:
            for row in stored_cells(store, protocols, known, dataset=source_of(options.checkpoint[0]).dataset):
                lines.append(row)
                known.add(row["id"])
        return lines.rows()
    cells = cells_of(options.study, asked_of(options))
    run = Run(
        lines, Machine(device=options.device, kernel=options.kernel), protocols, workers=options.threads, say=say
    )  # fmt: skip
    with progress_bar(options.study) as progress:
        return run(cells, progress)


def main(words: Sequence[str] | None = None) -> int:
    """Draw what is missing, then print the table."""
    options = parser().parse_args(words)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    try:
        if options.table is not None:
            rows = Lines(options.table).rows()
        else:
            rows = finished(options, Lines(options.out), lambda line: print(line, file=sys.stderr, flush=True))
        print(tables(rows, options.study))
        if options.plot is not None:
            plot_curve(rows, options.plot)
    except GagaError as error:
        print(error.line, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
