"""`gaga benchmark`: how fast the kernels are on this machine, and whether they may be trusted.

Example:
    gaga benchmark --quick
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.benchmark.config import BenchmarkConfig, quick_look  # noqa: TID253 - loads nothing else
from gaga.cli import options
from gaga.cli.allocator import allocator_settings, keep_freed_memory
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.render import MISSING, Output, Table, markdown_table, open_store, stored, stored_line, text
from gaga.core.text import human_bytes, human_time

if TYPE_CHECKING:
    from gaga.benchmark.parity import Agreement
    from gaga.benchmark.results import Benchmark, Row

app = new_app()

Quick = Annotated[
    bool, typer.Option("--quick", help="A minute: few molecules, few rounds, no kernel that is compiled first.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.md", help="Write the tables as Markdown too.")]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga benchmark --quick                                   this machine, in a minute",
        "gaga benchmark                                           QM9: training, the network, sampling",
        "gaga benchmark --case geom-train --kernel triton         sizes of GEOM-Drugs, one kernel",
        "gaga benchmark --check                                   are all kernels right here?",
        "gaga benchmark --case qm9-train --batch-size 1024 --out figures.md",
    ),
)
@takes(
    BenchmarkConfig,
    spelled={
        "cases": "--case", "kernels": "--kernel", "precisions": "--precision", "batch_sizes": "--batch-size",
        "n_layers": "--layers",
    },
    among={"out": "hidden", "overwrite": "hidden"},
)  # fmt: skip
def benchmark(
    *,
    quick: Quick = False,
    given: dict[str, Any],
    out: Out = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Time training, the network and sampling on real sizes, every kernel in turn, against the papers' formulation.

    A training step is noising, network, loss, gradient and AdamW; forward is one evaluation by a sampler; sampling is
    the whole sampler, 10,000 molecules from T* to 0.

    A kernel is first held against the naive one in float64; one that disagrees gets no figure, and the exit code is
    1. Figures are compared with the floor, the rate of a plain matrix product measured in the same run.
    """
    if given.get("check") and (quick or given.keys() & {"rounds", "full"}):
        raise usage_error("--check times nothing; leave out --quick, --rounds and --full")
    options.use_threads(threads)
    allocator = keep_freed_memory() or allocator_settings(os.environ)
    from gaga.runs import benchmark as runs
    from gaga.runs.devices import torch_device

    chosen = torch_device(device)
    base = quick_look(on_cuda=chosen.type == "cuda") if quick else {}
    config, output = BenchmarkConfig(**{**base, **given, "seed": seed}), Output(json=json)
    if out is not None:
        runs.check_file(out, overwrite=overwrite)
    outcome = runs.run(
        config, open_store(store), chosen, name=name, replace=replace, allocator=allocator, report=output
    )
    found, entry = outcome.result, outcome.entry
    if out is not None:
        runs.write_file(out, markdown(found))
    output.show(
        {"stored": stored(entry, store, found=False), "out": out, **vars(found)},
        "\n".join(lines_of(found)) + "\n", *tables(found), stored_line(entry, store, found=False),
    )  # fmt: skip
    if found.failed:
        raise typer.Exit(1)


def lines_of(found: "Benchmark") -> Iterator[str]:
    """Where the figures come from, and what they are held against."""
    yield f"{found.machine.in_words}; allocator: {found.machine.allocator or MISSING}."
    for floor in found.floors:
        yield f"Floor of {floor.precision}: {floor.flops / 1e12:.3g} TFLOP/s ({floor.how})."
    if found.products:
        yield f"Products in {found.products}."
    if found.networks:
        yield f"Network of {'; of '.join(found.networks)}."
    yield f"Memory: {found.memory}."


def tables(found: "Benchmark") -> Iterator[Table]:
    """The check of the kernels, and a table for each batch of each case."""
    yield parity_table(found.parity)
    for (case, molecules), rows in groupby(found.rows, key=lambda row: (row.case, row.batch)):
        yield case_table(case, molecules, list(rows))


def parity_table(agreements: Sequence["Agreement"]) -> Table:
    """How far each kernel is from naive in float64."""
    errors = ("output", "equivariance", "gradient", "from_mkl")
    return Table(
        title="Largest relative error against naive in float64, awkward sizes",
        columns=("shape", "kernel", "precision", "products", "outputs", "rotated", "gradients", "outputs from MKL's",
                 "verdict"),
        rows=[
            (a.shape, a.kernel, a.precision, a.products or MISSING,
             *(_or_missing(getattr(a, name), "{:.1e}".format) for name in errors), _verdict(a))
            for a in agreements
        ],
    )  # fmt: skip


def _verdict(a: "Agreement") -> str:
    if a.refused or a.unavailable:
        return f"refused: {a.refused}" if a.refused else f"unavailable: {a.unavailable}"
    t = a.tolerance
    return f"agrees (allowed: {t.output:.0e}, {t.equivariance:.0e}, {t.gradient:.0e})"


def case_table(case: str, molecules: int, rows: Sequence["Row"]) -> Table:
    """The figures of one batch; sampling has the time of a whole run too."""
    first, batch = rows[0], max(rows, key=lambda row: row.molecules)
    last = "× padded" if first.run_molecules is None else f"{first.run_molecules:,} in {first.run_steps} steps"
    return Table(
        title=f"{case}, {molecules:,} molecules, {batch.atoms:,} atoms, {batch.edges:,} edges",
        columns=("kernel", "precision", "products", "s / step", "least – most", "molecules/s", "of floor", "memory",
                 "× MKL", "× naive", last, "note"),
        rows=[_cells(row, molecules) for row in rows],
        digits=3,
    )  # fmt: skip


def _cells(row: "Row", molecules: int) -> tuple[object, ...]:
    spread = _or_missing(row.low, lambda low: f"{text(low, 3)} – {text(row.high, 3)}")
    run = _or_missing(row.run_seconds, human_time) + (", extrapolated" if row.extrapolated else "")
    note = f"{row.state}: {row.note}"
    if row.state == "measured":
        part = f"its first {row.molecules:,} molecules" if row.molecules != molecules else ""
        note = "; ".join(filter(None, [row.note, part]))
    return (
        row.kernel, row.precision, row.products or MISSING, row.seconds, spread, row.molecules_per_second,
        _or_missing(row.floor, "{:.1%}".format).replace("%", " %"), _or_missing(row.memory, human_bytes),
        row.times_mkl, row.times_naive, row.times_padded if row.run_molecules is None else run, note,
    )  # fmt: skip


def _or_missing(value: Any, shown: Callable[[Any], str]) -> str:
    return MISSING if value is None else shown(value)


def markdown(found: "Benchmark") -> str:
    """Everything that the terminal shows, as Markdown."""
    return "\n\n".join([*lines_of(found), *map(markdown_table, tables(found))]) + "\n"
