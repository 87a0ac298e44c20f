"""`gaga evaluate`: how good molecules are, from their coordinates and elements alone.

Example:
    gaga evaluate mols.sdf --protocol strict
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.base.errors import InvalidInput, NotFound
from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app, usage_error
from gaga.cli.render import MISSING, Output, Table, counted, stored, stored_line
from gaga.cli.results import Key, open_store, slug
from gaga.cli.resuming import Resumption, compute_resumably

if TYPE_CHECKING:
    from gaga.base.journal import Journal
    from gaga.evaluation import Evaluation
    from gaga.evaluation.distances import Distances
    from gaga.evaluation.rates import Rate, Rates
    from gaga.evaluation.reference import ReferenceRow

app = new_app()

PROTOCOLS = ("edm", "strict")
NO_REFERENCE = "none"


@app.command(
    cls=Command,
    epilog=examples(
        "gaga evaluate mols.sdf",
        "gaga evaluate mols.xyz --protocol strict",
        "gaga evaluate druglike.sdf.gz --reference none --json",
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
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="qm9|none",
            show_default=True,
            help="The data set that novelty, bond lengths, angles and sizes are held against.",
        ),
    ] = "qm9",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    resume: options.Resume = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Stability, validity, uniqueness, novelty, connectivity and geometry, beside the real data's own row.

    Bonds in the file are not trusted. Intervals are 95 % bootstrap intervals over molecules.
    """
    chosen = _check_protocol(protocol)
    held_against = None if reference.lower() == NO_REFERENCE else reference.lower()
    digest = _digest(file)
    options.use_threads(1)  # of each of the processes, which are as many as --threads says
    from gaga.evaluation import Evaluation
    from gaga.evaluation import evaluate as run

    output = Output(json=json)
    key = Key(
        kind="evaluation",
        name=name or _default_name(file, chosen, held_against, digest),
        config={"file": file.name, "protocol": chosen, "reference": held_against},
        inputs={file.name: digest},
        seed=seed,
    )
    with output.progress("evaluating") as progress:

        def work(pieces: "Journal") -> Evaluation:
            return run(
                file,
                protocol=chosen,
                workers=threads,
                seed=seed,
                reference=held_against,
                progress=progress,
                pieces=pieces,
            )

        how = Resumption(resume=resume, replace=replace, engine=_rdkit, note=output.note)
        outcome = compute_resumably(open_store(store), key, Evaluation, work, how)
    result = outcome.result
    output.show(
        {"stored": stored(outcome.entry, store, found=outcome.found), **_payload(result)},
        *_tables(result, file),
        stored_line(outcome.entry, store, found=outcome.found),
    )


def _rdkit() -> str:
    from rdkit import rdBase

    return f"rdkit {rdBase.rdkitVersion}"


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
    against = f"_vs_{reference}" if reference else ""
    return f"{slug(file.name.partition('.')[0])}_{protocol}{against}_{digest[:8]}"


def _payload(result: "Evaluation") -> dict[str, Any]:
    data = result.real_data
    return {
        "protocol": result.protocol,
        "molecules": result.n_molecules,
        "unreadable": result.n_unreadable,
        "rates": _rates(result.rates),
        "bond_lengths": _distances(result.bond_lengths),
        "bond_angles": _distances(result.bond_angles),
        "sizes": result.sizes,
        "real_data": data and _real_data(result.reference, data),
        "rdkit": result.rdkit,
    }


def _rates(rates: "Rates") -> dict[str, Any]:
    names = ("numerator", "denominator", "of", "low", "high", "level")
    return {
        name: {"value": rate.value, **{field: getattr(rate, field) for field in names}} for name, rate in rates.items()
    }


def _distances(distances: "Distances") -> dict[str, Any]:
    columns = (distances.kinds, distances.distances, distances.counts, distances.shares)
    kinds = [
        {"kind": kind, "distance": distance, "count": count, "share": share}
        for kind, distance, count, share in zip(*columns, strict=True)
    ]
    return {"mean": distances.mean, "kinds": kinds}


def _real_data(name: str, row: "ReferenceRow") -> dict[str, Any]:
    return {
        "name": name,
        "description": row.description,
        "molecules": row.n_molecules,
        "rates": _rates(row.rates),
        "bond_lengths": row.bond_lengths,
        "bond_angles": row.bond_angles,
        "sizes": row.sizes,
    }


def _tables(result: "Evaluation", file: Path) -> Iterator[Table | str]:
    data = result.real_data
    real = dict(data.rates.items()) if data else {}
    rows = [
        (name.replace("_", " "), _percent(rate), _interval(rate), _fraction(rate), _percent(real.get(name)))
        for name, rate in result.rates.items()
    ]
    yield Table(
        columns=("%", file.name, "95 % interval", "counted", f"{result.reference or 'real data'} itself"),
        rows=rows,
        title=f"{counted(result.n_molecules, 'molecule')} by protocol {result.protocol}",
    )
    if data:
        yield Table(
            columns=(f"distance to {result.reference}'s", file.name, f"{result.reference} itself"),
            rows=[
                ("bond lengths, Å", result.bond_lengths.mean, data.bond_lengths),
                ("bond angles, degrees", result.bond_angles.mean, data.bond_angles),
                ("numbers of atoms", result.sizes, data.sizes),
            ],
        )
        yield f"{result.reference} itself: {data.description}. Distances are Wasserstein-1 of frequent kinds."
    if result.n_unreadable:
        yield f"Not readable, counted as failures: {counted(result.n_unreadable, 'record')}."


def _percent(rate: "Rate | None") -> str:
    return f"{100 * rate.value:.2f}" if rate is not None and rate.denominator else MISSING


def _interval(rate: "Rate") -> str:
    return f"{100 * rate.low:.2f} – {100 * rate.high:.2f}" if rate.denominator else MISSING


def _fraction(rate: "Rate") -> str:
    return f"{rate.numerator:,} of {rate.denominator:,} {rate.of}" if rate.denominator else MISSING
