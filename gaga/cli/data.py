"""`gaga data`: which data sets there are, preparing them, and what is in them.

Example:
    gaga data info mine.sdf.gz
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import data_geom, data_own, options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.data_report import summary, tables
from gaga.cli.render import Output, Table, skipped_parts
from gaga.cli.standard_input import Format, named_input
from gaga.core.text import counted, human_bytes

if TYPE_CHECKING:
    from gaga.data import Dataset
    from gaga.data.own import UserDataOptions

app = new_app(group=True)

HYDROGEN = 1
NO_HYDROGENS = "No molecule has a hydrogen; stability and validity need them explicit, so add them first."

Wanted = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PATH", help="qm9, geom, or .sdf, .mol, .xyz, an archive or folder, a prepared .h5; - for stdin."
    ),
]
WantedOrSmiles = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PATH", help="qm9, geom, .sdf, .xyz, a folder of them; .csv or .smi with --embed; - for stdin."
    ),
]
SplitSeed = Annotated[
    int | None, typer.Option("--split-seed", min=0, help="Draw the split anew; by default the published one.")
]


@app.callback(epilog=examples("gaga data list", "gaga data info mine.sdf.gz"))
def group() -> None:
    """List, prepare or describe data sets."""


@app.command("list", cls=Command, epilog=examples("gaga data list", "gaga data list --json"))
def list_datasets(cache: options.Cache = None, json: options.Json = False) -> None:
    """List the named data sets and whether they are ready on this machine."""
    from gaga.data.loading import NAMES

    found = [describe_named(name, cache) for name in NAMES]
    rows = [(d["name"], d["state"], d["size"] and human_bytes(d["size"]), d["path"]) for d in found]
    Output(json=json).show(
        {"datasets": found},
        Table(columns=("data set", "state", "size", "path"), rows=rows),
        "Any command also takes your own molecules: --dataset mine.sdf, .sdf.gz, .mol, .xyz, or a folder of them.",
        "Those that are SMILES get their geometries once: gaga data prepare mine.csv --embed --out mine.h5",
    )


def describe_named(name: str, cache: Path | None) -> dict[str, Any]:
    """State of a named data set: prepared in the cache, at hand in a package, or to be downloaded."""
    from gaga.data import found_prepared
    from gaga.data.qm9 import installed_qm9pack

    prepared = found_prepared(name, cache)
    if prepared is not None:
        return {"name": name, "state": "prepared", "path": str(prepared), "size": prepared.stat().st_size}
    if name == "geom":
        return {
            "name": name,
            "state": "to be prepared from your copy: gaga data prepare geom --from PATH",
            "path": None,
            "size": None,
        }
    source = installed_qm9pack()
    if source is not None:
        return {"name": name, "state": "installed, prepared at first use", "path": str(source), "size": None}
    return {"name": name, "state": "downloaded at first use", "path": None, "size": None}


@app.command(
    "prepare",
    cls=Command,
    epilog=examples(
        "gaga data prepare qm9",
        "gaga data prepare qm9 --from dsgdb9nsd.xyz.tar.bz2",
        "gaga data prepare qm9 --lean --out qm9_lean.h5",
        "gaga data prepare mine.sdf.gz --out mine.h5",
        "gaga data prepare mine.csv --embed --out mine.h5",
        "gaga data prepare salts.smi --embed --largest-fragment --neutral --no-duplicates --out parents.h5",
        "gaga data prepare mine.sdf --optimise xtb --max-atoms 60 --elements H,C,N,O,F --out small.h5",
        "gaga data prepare mine.sdf.gz --vocabulary geom --out mine.h5",
        "gaga data prepare geom --from geom_drugs_30.npy",
        "gaga data prepare geom --from rdkit_folder.tar.gz --conformers 5 --out geom5.h5 --resume",
    ),
)
def prepare_dataset(
    name: WantedOrSmiles,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.h5", help="Where to; named data sets go to the cache by default."),
    ] = None,
    lean: Annotated[
        bool, typer.Option("--lean", help="Positions, elements and split alone, compressed; needs --out.")
    ] = False,
    vocabulary: data_geom.Vocabulary = None,
    conformers: data_geom.Conformers = None,
    split_file: data_geom.SplitFile = None,
    source: options.Source = None,
    split_seed: SplitSeed = None,
    embed: data_own.Embed = False,
    optimise: data_own.Optimise = None,
    smiles_column: data_own.SmilesColumn = None,
    largest_fragment: data_own.LargestFragment = False,
    elements: data_own.Elements = None,
    min_atoms: data_own.MinAtoms = None,
    max_atoms: data_own.MaxAtoms = None,
    neutral: data_own.Neutral = False,
    no_duplicates: data_own.NoDuplicates = False,
    one_molecule_per_record: data_own.OneMoleculePerRecord = False,
    input_format: Format = None,
    time_limit: data_own.TimeLimit = data_own.DEFAULT_TIME_LIMIT,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Read a data set once and keep it packed, so that it opens in under a second.

    Of your own molecules only those that you ask for are taken; SMILES become molecules in 3D. GEOM-Drugs is read as a
    stream, from any form in which people have it. What was made or read of either survives an interruption.
    """
    from gaga.data import load_dataset, prepare

    options.use_threads(1)  # of each of the processes, which are as many as --threads says
    output, is_geom = Output(json=json), name.lower() == "geom"
    own = data_own.wanted_of(
        embed=embed,
        optimise=optimise,
        smiles_column=smiles_column,
        largest_fragment=largest_fragment,
        elements=elements,
        min_atoms=min_atoms,
        max_atoms=max_atoms,
        neutral=neutral,
        no_duplicates=no_duplicates,
        one_molecule_per_record=one_molecule_per_record,
        time_limit=time_limit,
        seed=seed,
        threads=threads,
    )
    data_own.check_prepare(
        needs_out=lean or vocabulary is not None or split_seed is not None, out=out, vocabulary=vocabulary, lean=lean,
        streams=conformers is not None or split_file is not None, is_streamed=is_geom and source is not None, own=own,
        nameless_source=source is not None and not is_geom and name.lower() != "qm9",
    )  # fmt: skip
    if is_geom and source is not None:
        data_geom.prepare(
            source, out, output, cache=cache, conformers=conformers, vocabulary=vocabulary or "geom",
            split_file=split_file, split_seed=split_seed, resume=resume, overwrite=overwrite,
        )  # fmt: skip
        return
    with (
        named_input(name, input_format) as read,
        data_own.kept_geometries(read, out, own, output, resume=resume, overwrite=overwrite) as pieces,
        output.progress(f"preparing {name}") as progress,
    ):
        path = prepare(
            read,
            out=out,
            lean=lean,
            overwrite=overwrite,
            vocabulary=vocabulary,
            source=source,
            cache_dir=cache,
            split_seed=split_seed,
            own=own,
            pieces=pieces,
            progress=progress,
        )
    dataset = load_dataset(path)
    size = path.stat().st_size
    output.show(
        {"path": str(path), "size": size, **summary(dataset), "rule": None},
        f"Prepared {counted(len(dataset), 'molecule')} of {dataset.name} in {path} ({human_bytes(size)}).",
        *(data_own.account(dataset) or _skipped_lines(dataset)),
        *_notes(dataset),
    )


@app.command(
    "info",
    cls=Command,
    epilog=examples(
        "gaga data info qm9",
        "gaga data info mine.sdf.gz --json",
        "gaga data info geom --verify",
        "gaga data info - --format xyz < ensemble.xyz",
    ),
)
def info(
    name: Wanted,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hold every position of a large prepared file against its fingerprint.")
    ] = False,
    source: options.Source = None,
    one_molecule_per_record: data_own.OneMoleculePerRecord = False,
    input_format: Format = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Describe a data set: molecules, elements, sizes, split, properties, and what was skipped."""
    from gaga.data.loading import verify as hold_against_fingerprint
    from gaga.data.own import UserDataOptions

    output, own = Output(json=json), UserDataOptions(one_molecule_per_record=one_molecule_per_record)
    with named_input(name, input_format) as read:
        dataset = read_dataset(read, output, cache=cache, source=source, own=own)
    if verify:
        hold_against_fingerprint(dataset)
    units = dataset.annotations.units
    properties = [{"name": p, "unit": units.get(p, "")} for p in dataset.properties]
    payload = {
        **summary(dataset),
        "skipped_records": [
            {"reason": record.reason, "where": record.where, "detail": record.detail}
            for record in dataset.skipped_records
        ],
        "has_smiles": dataset.annotations.smiles is not None,
        "properties": properties,
    }
    shown = skipped_parts(payload["skipped_records"], len(dataset.skipped_records))
    output.show(payload, *tables(payload), *data_own.account(dataset), *shown)


def read_dataset(
    name: str,
    output: Output,
    *,
    cache: Path | None = None,
    source: Path | None = None,
    own: "UserDataOptions | None" = None,
) -> "Dataset":
    """The data set of that name or path; what was skipped, and what was taken for what, goes to stderr."""
    from gaga.data import load_dataset
    from gaga.data.own import DEFAULTS

    with output.progress(f"reading {name}") as progress:
        dataset = load_dataset(name, source=source, cache_dir=cache, own=own or DEFAULTS, progress=progress)
    for line in (*_skipped_lines(dataset), *_notes(dataset)):
        output.note(line)
    if HYDROGEN not in dataset.vocabulary:
        output.note(NO_HYDROGENS)
    return dataset


def _skipped_lines(dataset: "Dataset") -> list[str]:
    if not dataset.skipped:
        return []
    reasons = ", ".join(f"{n} {reason}" for reason, n in dataset.skipped.items())
    return [f"Skipped {counted(sum(dataset.skipped.values()), 'molecule')}: {reasons}."]


def _notes(dataset: "Dataset") -> tuple[str, ...]:
    """What its files lack, and which records are conformers of one molecule."""
    return dataset.preparation.notes if dataset.preparation is not None else ()
