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
from gaga.cli.render import Output, open_store
from gaga.cli.standard_input import named_input
from gaga.evaluation.config import EvaluateConfig  # noqa: TID253 - loads nothing else

app = new_app()
STDOUT = Path("-")
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE.csv",
        rich_help_panel=options.RESULTS,
        help="Also write one row for each molecule, judged by both protocols; - for stdout.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE.png",
        rich_help_panel=options.RESULTS,
        help="Also draw bonds, torsions, rings, sizes and classes against the data's (.png, .pdf, .svg).",
    ),
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga evaluate mols.sdf",
        "gaga evaluate mols.xyz --protocol strict",
        "gaga evaluate mols.sdf --dataset mine.h5 --protocol strict",
        "gaga evaluate druglike.sdf.gz --dataset none --json",
        "gaga evaluate mols.sdf --posebusters --relax --sample-size 500",
        "gaga evaluate mols.sdf --property alpha --predictor predictor.safetensors",
        "gaga evaluate mols.sdf --csv per_molecule.csv    a row for each molecule",
        "gaga evaluate mols.sdf --plot quality.png        bonds, rings, sizes, classes against the data's",
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
    csv: Csv = None,
    plot: Plot = None,
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
    from gaga.runs import evaluate as runs
    from gaga.runs.once import Policy

    if csv == STDOUT and json:
        raise usage_error("--csv - and --json both write to standard output; give --csv a file")
    config, output = EvaluateConfig(**given), Output(json=json)
    with named_input(file, form, smiles=False) as path:
        request = runs.EvaluateRequest(
            file=Path(path), config=config, name=name, seed=seed, threads=threads, cache=cache,
            csv=sys.stdout if csv == STDOUT else csv, plot=plot, overwrite=overwrite,
        )  # fmt: skip
        found = runs.run(request, open_store(store), Policy(resume=resume, replace=replace), output)
    if csv != STDOUT:
        charges = config.protocol == "strict" or config.posebusters or config.relax
        output.show(payload(found, store, csv, plot), *tables(found, store, csv, charges=charges))
