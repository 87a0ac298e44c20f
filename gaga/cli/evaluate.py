"""`gaga evaluate`: how good molecules are, from their coordinates and elements alone.

Example:
    gaga evaluate mols.sdf --protocol strict
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.evaluate_report import payload, tables
from gaga.cli.render import Output, open_store, stored
from gaga.cli.standard_input import named_input
from gaga.core.text import counted
from gaga.evaluation.config import EvaluateConfig  # noqa: TID253 - loads nothing else

app = new_app()
STDOUT = Path("-")


@app.command(
    cls=Command,
    epilog=examples(
        "gaga evaluate mols.sdf",
        "gaga evaluate mols.xyz --protocol strict",
        "gaga evaluate mols.sdf --dataset mine.h5 --protocol strict",
        "gaga evaluate druglike.sdf.gz --dataset none --json",
        "gaga evaluate mols.sdf --posebusters --relax --sample-size 500",
        "gaga evaluate mols.sdf --csv per_molecule.csv    a row for each molecule",
        "gaga evaluate - --format sdf < mols.sdf          or behind a pipe",
        "gaga evaluate mols.sdf --resume                  resume it if it was interrupted",
    ),
)
@takes(
    EvaluateConfig,
    spelled={"dataset": ("--dataset", "--reference", "-d")},
    defaults=("protocol", "dataset", "reference_size", "sample_size"),
    among={"form": "dataset"},
)
def evaluate(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Molecules: .sdf, .sdf.gz, multi-frame .xyz, a folder of them, or - for stdin."
        ),
    ],
    given: Any,
    form: Annotated[
        str | None, typer.Option("--format", metavar="sdf|xyz|...", help="What standard input holds, if FILE is -.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE.csv",
            rich_help_panel=options.RESULTS,
            help="Also write one row for each molecule, judged by both protocols; - for stdout.",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    resume: options.Resume = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Stability, validity, uniqueness, novelty, connectivity and geometry, beside the real data's own row.

    Bonds in the file are not trusted. A molecule's total charge is what the file gives (charges of an SDF, charge= of
    an XYZ file, a property "charge"), and 0 if it gives none; strict, --posebusters and --relax use it. Intervals are
    95 % bootstrap intervals over molecules.
    """
    options.use_threads(1)  # in each of the processes; --threads is the number of processes
    from gaga.runs import molecule_table
    from gaga.runs.evaluate import evaluate as run

    if csv == STDOUT and json:
        raise usage_error("--csv - and --json both write to standard output; give --csv a file")
    if csv is not None and csv != STDOUT:
        molecule_table.check_csv(csv, overwrite=overwrite)
    config, output, results = EvaluateConfig(**given), Output(json=json), open_store(store)
    with named_input(file, form, smiles=False) as path:
        found = run(
            path, results, config, name=name, resume=resume, replace=replace, seed=seed, threads=threads, cache=cache,
            with_table=csv is not None, report=output,
        )  # fmt: skip
    written = None
    if csv == STDOUT and found.table:
        molecule_table.print_table(sys.stdout, results, found.table)
        return
    if csv is not None and found.table:
        written = molecule_table.write_table(csv, results, found.table)
    outcome = found.evaluation
    output.show(
        {
            "stored": stored(outcome.entry, store, found=outcome.found),
            **payload(found, store),
            "csv": written and {"out": str(csv), "rows": written.rows, "columns": written.columns},
        },
        *tables(found, store, charges=config.protocol == "strict" or config.posebusters or config.relax),
        *([f"Wrote a row for each of {counted(written.rows, 'molecule')} to {csv}."] if written else []),
    )
