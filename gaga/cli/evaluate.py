"""`gaga evaluate`: how good molecules are, from their coordinates and elements alone.

Example:
    gaga evaluate mols.sdf --protocol strict
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaga.base.errors import InvalidInput, NotFound
from gaga.cli import evaluate_report as report
from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app, usage_error
from gaga.cli.evaluate_extras import (
    KINDS,
    POSEBUSTERS,
    RELAXATION,
    Sampling,
    Subject,
    look_at,
    require,
    subject_of_data,
)
from gaga.cli.evaluate_extras import payload as extra_payload
from gaga.cli.evaluate_extras import tables as extra_tables
from gaga.cli.evaluate_reference import Against, Held, hold, rdkit_version
from gaga.cli.one_element import note_of_file
from gaga.cli.render import Output, stored, stored_line
from gaga.cli.results import Key, Outcome, open_store, slug
from gaga.cli.resuming import Resumption, compute_resumably

if TYPE_CHECKING:
    from gaga.base.journal import Journal
    from gaga.base.molecules import PackedMolecules
    from gaga.evaluation import Evaluation
    from gaga.store import Store

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
        "gaga evaluate mols.sdf --resume                  go on where it was interrupted",
    ),
)
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Molecules: .sdf, .sdf.gz or multi-frame .xyz.")],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="edm|strict",
            show_default=True,
            help="edm, as papers count; strict, bonds and formal charges perceived, sanitised, in one piece.",
        ),
    ] = "edm",
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

    Bonds in the file are not trusted. Intervals are 95 % bootstrap intervals over molecules.
    """
    chosen = _check_protocol(protocol)
    digest = _digest(file)
    options.use_threads(1)  # of each of the processes, which are as many as --threads says
    output = Output(json=json)
    extras = tuple(kind for kind, asked in ((POSEBUSTERS, posebusters), (RELAXATION, relax)) if asked)
    require(extras)
    results = open_store(store)
    limit = STRICT_TIME_LIMIT if time_limit is None and chosen == "strict" else time_limit
    against = Against(
        typed=dataset, protocol=chosen, size=reference_size, time_limit=limit, threads=threads, cache=cache
    )
    held = hold(against, results, output)
    job = Job(file=file, digest=digest, name=name, resume=resume, replace=replace, seed=seed, threads=threads)
    outcome = _judged(job, against, held, results, output)
    sampling = Sampling(
        sample_size=sample_size, time_limit=time_limit, seed=seed, threads=threads, resume=resume, replace=replace
    )
    looks = look_at(extras, _subject(job), subject_of_data(held, cache, output), sampling, results, output)
    output.show(
        {
            "stored": stored(outcome.entry, store, found=outcome.found),
            **report.payload(outcome.result),
            **dict.fromkeys(KINDS),
            **{look.kind: extra_payload(look, store) for look in looks},
        },
        *report.tables(outcome.result, file.name),
        stored_line(outcome.entry, store, found=outcome.found),
        *(part for look in looks for part in extra_tables(look, file.name, store)),
    )


@dataclass(frozen=True, kw_only=True)
class Job:
    """The molecules' file and its hash, the name of their results, and how the run goes."""

    file: Path
    digest: str
    name: str | None
    resume: bool
    replace: bool
    seed: int
    threads: int | None


def _judged(job: Job, against: Against, held: Held, store: "Store", output: Output) -> "Outcome[Evaluation]":
    """The evaluation, from the store where it is there."""
    from gaga.base.molecules import of_one_element
    from gaga.evaluation import Evaluation
    from gaga.evaluation import evaluate as run
    from gaga.evaluation.evaluation import packed

    config = {"file": job.file.name, "protocol": against.protocol, "reference": held.name}
    key = Key(
        kind="evaluation",
        name=job.name or _default_name(job.file, against.protocol, held.name, job.digest),
        config={**config, "time_limit": against.time_limit, **held.config},
        inputs={job.file.name: job.digest, **held.inputs},
        seed=job.seed,
    )
    with output.progress("evaluating") as progress:

        def work(pieces: "Journal") -> Evaluation:
            molecules = packed(job.file)
            note_of_file(of_one_element(molecules), output)
            return run(
                molecules,
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


def _subject(job: Job) -> Subject:
    """The user's molecules for what looks at a sample of them."""

    def molecules() -> "PackedMolecules":
        from gaga.evaluation.evaluation import packed

        return packed(job.file)

    return Subject(
        label=job.file.name,
        name=job.name or f"{_stem(job.file)}_{job.digest[:8]}",
        inputs={job.file.name: job.digest},
        molecules=molecules,
    )


def _check_protocol(typed: str) -> str:
    if typed.lower() not in PROTOCOLS:
        raise usage_error(f"invalid value for --protocol: {typed!r}; choose from {', '.join(PROTOCOLS)}")
    return typed.lower()


def _digest(file: Path) -> str:
    if file.is_dir():
        raise InvalidInput("a file of molecules is needed, not a folder", received=file)
    if not file.exists():
        raise NotFound("no such file", received=file)
    if not file.is_file():
        raise InvalidInput("a file of molecules is needed, not a pipe or device", received=file)
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _default_name(file: Path, protocol: str, reference: str | None, digest: str) -> str:
    """The file's name, the protocol and its content: a file that was written anew is another result."""
    against = f"_vs_{slug(reference)}" if reference else ""
    return f"{_stem(file)}_{protocol}{against}_{digest[:8]}"


def _stem(file: Path) -> str:
    return slug(file.name.partition(".")[0])
