"""`gaga evaluate`: how good molecules are, from their coordinates and elements alone.

Example:
    gaga evaluate mols.sdf --protocol strict
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaga.cli import evaluate_input, evaluate_table, options
from gaga.cli import evaluate_report as report
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.data import NO_HYDROGENS
from gaga.cli.errors import usage_error
from gaga.cli.evaluate_extras import (
    KINDS,
    POSEBUSTERS,
    RELAXATION,
    Extra,
    Sampling,
    Subject,
    look_at,
    require,
    subject_of_data,
)
from gaga.cli.evaluate_extras import payload as extra_payload
from gaga.cli.evaluate_extras import tables as extra_tables
from gaga.cli.evaluate_input import Input
from gaga.cli.evaluate_reference import CHARGES, NO_REFERENCE, Against, Held, hold, rdkit_version
from gaga.cli.evaluate_table import STDOUT, Parts, Written
from gaga.cli.one_element import note_of_formulas
from gaga.cli.render import Output, stored, stored_line
from gaga.cli.results import Key, Outcome, open_store, slug
from gaga.cli.resuming import Resumption, compute_resumably
from gaga.core.text import counted

if TYPE_CHECKING:
    from gaga.cli.evaluate_extras import Charged
    from gaga.evaluation import Evaluation
    from gaga.storage.partial import PartialFile
    from gaga.storage.store import Entry, Store

app = new_app()

PROTOCOLS = ("edm", "strict")
STRICT_TIME_LIMIT = 60.0


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
        "gaga evaluate mols.sdf --resume                  go on where it was interrupted",
    ),
)
def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Molecules: .sdf, .sdf.gz, multi-frame .xyz, a folder of them, or - for stdin."
        ),
    ],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="edm|strict",
            show_default=True,
            help="edm, as papers count; strict, bonds and formal charges perceived, sanitised, in one piece.",
        ),
    ] = "edm",
    form: Annotated[
        str | None, typer.Option("--format", metavar="sdf|xyz|...", help="What standard input holds, if FILE is -.")
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            "--reference",
            "-d",
            metavar="qm9|PATH|none",
            show_default=True,
            help="The data set that novelty, bond lengths, angles and sizes are held against; your own is judged once.",
        ),
    ] = "qm9",
    reference_size: Annotated[
        int,
        typer.Option(
            "--reference-size",
            metavar="N",
            min=1,
            show_default=True,
            help="At most N training molecules of your own data set are judged, and N / 10 of its test split.",
        ),
    ] = 100_000,
    posebusters: Annotated[
        bool,
        typer.Option("--posebusters", help="PoseBusters' checks of a sample; pip install 'gaga-mol[posebusters]'."),
    ] = False,
    relax: Annotated[
        bool, typer.Option("--relax", help="Relaxation energy of a sample at GFN2-xTB; needs the program xtb.")
    ] = False,
    sample_size: Annotated[
        int,
        typer.Option(
            "--sample-size",
            metavar="N",
            min=1,
            show_default=True,
            help="Molecules that --posebusters and --relax draw by the seed.",
        ),
    ] = 200,
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            metavar="SECONDS",
            callback=options.positive,
            help="For one molecule, which then fails; 60 by strict, 300 by PoseBusters, 600 by xtb, none by edm.",
        ),
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
    chosen = _check_protocol(protocol)
    if csv == STDOUT and json:
        raise usage_error("--csv - and --json both write to standard output; give --csv a file")
    evaluate_table.check_csv(csv, overwrite=overwrite)
    options.use_threads(1)  # of each of the processes, which are as many as --threads says
    output = Output(json=json)
    extras = tuple(kind for kind, asked in ((POSEBUSTERS, posebusters), (RELAXATION, relax)) if asked)
    require(extras)
    results = open_store(store)
    limit = _limit(chosen, time_limit)
    against = Against(
        typed=dataset, protocol=chosen, size=reference_size, time_limit=limit, threads=threads, cache=cache
    )
    with evaluate_input.opened(file, form) as given:
        held = hold(against, results, output)
        job = Job(given=given, name=name, resume=resume, replace=replace, seed=seed, threads=threads)
        outcome = _judged(job, against, held, results, output)
        sampling = Sampling(
            sample_size=sample_size, time_limit=time_limit, seed=seed, threads=threads, resume=resume, replace=replace
        )
        looks = look_at(extras, _subject(job), subject_of_data(held, cache, output), sampling, results, output)
        parts = None if csv is None else _parts(job, against, outcome.entry, looks, time_limit, results, output)
    _warn(outcome.result, output)
    written = _write(csv, results, parts)
    if csv == STDOUT:
        return
    output.show(
        {
            "stored": stored(outcome.entry, store, found=outcome.found),
            **report.payload(outcome.result),
            **dict.fromkeys(KINDS),
            **{look.kind: extra_payload(look, store) for look in looks},
            "csv": written and {"out": str(csv), "rows": written.rows, "columns": written.columns},
        },
        *report.tables(outcome.result, given.label, charges=chosen == "strict" or bool(extras)),
        stored_line(outcome.entry, store, found=outcome.found),
        *(part for look in looks for part in extra_tables(look, given.label, store)),
        *([f"Wrote a row for each of {counted(written.rows, 'molecule')} to {csv}."] if written else []),
    )


@dataclass(frozen=True, kw_only=True)
class Job:
    """The molecules, the name of their results, and how the run goes.

    `resume` is None for results that are made on the way to others: see `Resumption`.
    """

    given: Input
    name: str | None
    resume: bool | None
    replace: bool
    seed: int
    threads: int | None


def _judged(job: Job, against: Against, held: Held, store: "Store", output: Output) -> "Outcome[Evaluation]":
    """The evaluation, from the store where it is there."""
    from gaga.evaluation import Evaluation
    from gaga.evaluation import evaluate as run

    given = job.given
    config = {"file": given.label, "protocol": against.protocol, "reference": held.name, **CHARGES}
    against_name = f"_vs_{slug(held.name)}" if held.name else ""
    key = Key(
        kind="evaluation",
        # The content's hash in the name: a file that was written anew is another result.
        name=job.name or f"{given.stem}_{against.protocol}{against_name}_{given.digest[:8]}",
        config={**config, "time_limit": against.time_limit, **held.config},
        inputs={given.label: given.digest, **held.inputs},
        seed=job.seed,
    )
    with output.progress(f"evaluating by {against.protocol}") as progress:

        def work(pieces: "PartialFile") -> Evaluation:
            return run(
                given.path,
                protocol=against.protocol,
                workers=job.threads,
                time_limit=against.time_limit,
                seed=job.seed,
                reference=held.reference,
                progress=progress,
                pieces=pieces,
            )

        how = Resumption(resume=job.resume, replace=job.replace, engine=rdkit_version, note=output.note)
        return compute_resumably(store, key, Evaluation, work, how)


def _parts(
    job: Job,
    against: Against,
    entry: "Entry",
    looks: list[Extra],
    time_limit: float | None,
    store: "Store",
    output: Output,
) -> Parts:
    """What the table of molecules is made of: the other protocol's verdicts are found here, if they are not there."""
    found = evaluate_table.parts_of(store, entry)
    asked = {look.kind: look.outcome.entry for look in looks}
    if (other := found.other) is None:
        protocol = next(name for name in PROTOCOLS if name != against.protocol)
        # Against no reference: novelty and distances are the asked protocol's. No name of its own is asked for.
        beside = replace(against, typed=NO_REFERENCE, protocol=protocol, time_limit=_limit(protocol, time_limit))
        name = job.name and f"{job.name}_{protocol}"
        other = _judged(replace(job, name=name, resume=None, replace=True), beside, Held(), store, output).entry
    return Parts(evaluation=entry, other=other, relaxation=asked.get(RELAXATION), poses=asked.get(POSEBUSTERS))


def _write(csv: Path | None, store: "Store", parts: Parts | None) -> Written | None:
    if csv is None or parts is None:
        return None
    if csv == STDOUT:
        return evaluate_table.print_table(sys.stdout, store, parts)
    return evaluate_table.write_table(csv, store, parts)


def _warn(result: "Evaluation", output: Output) -> None:
    if result.records is None:
        return
    if not result.records.has_hydrogens:
        output.note(NO_HYDROGENS)
    note_of_formulas((formula for piece in result.records.formulas for formula in piece), output)


def _subject(job: Job) -> Subject:
    """The user's molecules for what looks at a sample of them."""

    def molecules() -> "Charged":
        from gaga.evaluation.molecule_set import molecule_set

        found = molecule_set(job.given.path)
        return found.molecules, found.charges

    given = job.given
    return Subject(
        label=given.label,
        name=job.name or f"{given.stem}_{given.digest[:8]}",
        inputs={given.label: given.digest},
        molecules=molecules,
    )


def _limit(protocol: str, time_limit: float | None) -> float | None:
    """Seconds for one molecule."""
    return STRICT_TIME_LIMIT if time_limit is None and protocol == "strict" else time_limit


def _check_protocol(typed: str) -> str:
    if typed.lower() not in PROTOCOLS:
        raise usage_error(f"invalid value for --protocol: {typed!r}; choose from {', '.join(PROTOCOLS)}")
    return typed.lower()
