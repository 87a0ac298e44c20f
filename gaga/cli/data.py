"""`gaga data`: which data sets there are, preparing them, and what is in them.

Example:
    gaga data info mine.sdf.gz
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import data_report, options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, Table
from gaga.cli.standard_input import Format, named_input
from gaga.core.config import options_of
from gaga.core.errors import InvalidInput
from gaga.core.text import human_bytes
from gaga.runs.data_config import OwnConfig  # noqa: TID253 - loads nothing else

if TYPE_CHECKING:
    from gaga.data.own import UserDataOptions

app = new_app(group=True)

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


_GEOM = "GEOM-Drugs"
Conformers = Annotated[
    int | None,
    typer.Option(
        "--conformers",
        metavar="N",
        min=1,
        rich_help_panel=_GEOM,
        help="Of each molecule, lowest in energy; 30 by default.",
    ),
]
Vocabulary = Annotated[
    str | None,
    typer.Option(
        "--vocabulary",
        metavar="geom|data",
        help="Type columns: EDM's 16 elements of GEOM-Drugs (its default), or those that occur.",
    ),
]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--split-file",
        metavar="FILE",
        rich_help_panel=_GEOM,
        help='Who is trained on: JSON {"train": [...], "valid": [...], "test": [...]} or CSV molecule,split, by '
        "SMILES or number (from 0, of those that are kept); 80/10/10 by content by default.",
    ),
]


def _elements(text: str) -> tuple[int, ...]:
    from gaga.chem.elements import number_of

    try:
        return tuple(sorted({number_of(symbol) for symbol in text.split(",")}))
    except InvalidInput as error:
        raise usage_error(f"invalid value for --elements: {text!r}; write symbols as in H,C,N,O,F") from error


@app.callback(epilog=examples("gaga data list", "gaga data info mine.sdf.gz"))
def group() -> None:
    """List, prepare or describe data sets."""


@app.command("list", cls=Command, epilog=examples("gaga data list", "gaga data list --json"))
def list_datasets(cache: options.Cache = None, json: options.Json = False) -> None:
    """List the named data sets and whether they are ready on this machine."""
    from gaga.runs.data import named_data_sets

    found = named_data_sets(cache)
    rows = [(d["name"], d["state"], d["size"] and human_bytes(d["size"]), d["path"]) for d in found]
    Output(json=json).show(
        {"datasets": found},
        Table(columns=("data set", "state", "size", "path"), rows=rows),
        "Any command also takes your own molecules: --dataset mine.sdf, .sdf.gz, .mol, .xyz, or a folder of them.",
        "Those that are SMILES get their geometries once: gaga data prepare mine.csv --embed --out mine.h5",
    )


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
@takes(OwnConfig, parsers={"elements": _elements}, defaults=("time_limit",), among={"input_format": "time_limit"})
def prepare_dataset(
    name: WantedOrSmiles,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.h5", help="Where to; named data sets go to the cache by default."),
    ] = None,
    lean: Annotated[
        bool, typer.Option("--lean", help="Positions, elements and split alone, compressed; needs --out.")
    ] = False,
    vocabulary: Vocabulary = None,
    conformers: Conformers = None,
    split_file: SplitFile = None,
    source: options.Source = None,
    split_seed: SplitSeed = None,
    given: Any = None,
    input_format: Format = None,
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
    options.use_threads(1)  # in each of the processes; --threads is the number of processes
    from gaga.data import load_dataset
    from gaga.runs.data import makes_geometries, prepare_data, prepare_geom_drugs

    output, is_geom = Output(json=json), name.lower() == "geom"
    try:
        own = OwnConfig(**given).wanted(seed=seed, workers=threads)
    except InvalidInput as error:
        raise usage_error(f"these options cannot be: {error.line.rstrip('.')}") from error
    _check_prepare(
        needs_out=lean or vocabulary is not None or split_seed is not None, out=out, vocabulary=vocabulary, lean=lean,
        streams=conformers is not None or split_file is not None, is_streamed=is_geom and source is not None, own=own,
        nameless_source=source is not None and not is_geom and name.lower() != "qm9",
    )  # fmt: skip
    if is_geom and source is not None:
        path, written, rule = prepare_geom_drugs(
            source, out=out, cache=cache, conformers=conformers, vocabulary=vocabulary or "geom",
            split_file=split_file, split_seed=split_seed, resume=resume, overwrite=overwrite, report=output,
        )  # fmt: skip
        output.show(*data_report.prepared_geom(path, written, rule, source, vocabulary or "geom"))
        return
    with named_input(name, input_format) as read:
        if resume and not makes_geometries(read, out, own):
            raise usage_error(
                "--resume continues --embed, --optimise, or geom --from PATH; other work is quickly done again"
            )
        path = prepare_data(
            read, out=out, own=own, lean=lean, vocabulary=vocabulary, source=source, cache_dir=cache,
            split_seed=split_seed, resume=resume, overwrite=overwrite, report=output,
        )  # fmt: skip
    output.show(*data_report.prepared(path, load_dataset(path)))


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
@takes(OwnConfig, without=set(options_of(OwnConfig)) - {"one_molecule_per_record"})
def info(
    name: Wanted,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hold every position of a large prepared file against its fingerprint.")
    ] = False,
    source: options.Source = None,
    given: Any = None,
    input_format: Format = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Describe a data set: molecules, elements, sizes, split, properties, and what was skipped."""
    from gaga.data.loading import verify as verify_positions
    from gaga.runs.inputs import read_dataset

    output = Output(json=json)
    with named_input(name, input_format) as read:
        dataset = read_dataset(read, output, cache=cache, source=source, own=OwnConfig(**given).wanted())
    if verify:
        verify_positions(dataset)
    output.show(*data_report.described_in_full(dataset))


def _check_prepare(
    *,
    needs_out: bool,
    out: Path | None,
    vocabulary: str | None,
    lean: bool,
    streams: bool,
    is_streamed: bool,
    own: "UserDataOptions",
    nameless_source: bool,
) -> None:
    """Stop at options of `prepare` that do not go together.

    Raises:
        UsageError: so they do.
    """
    if vocabulary not in (None, "geom", "data"):
        raise usage_error(f"invalid value for --vocabulary: {vocabulary!r}; choose from geom, data")
    if is_streamed and lean:
        raise usage_error("--lean is not for GEOM-Drugs, which is written as it is read")
    if is_streamed and own.non_defaults():
        asked = ", ".join(f"--{name.replace('_', '-')}" for name in own.non_defaults())
        raise usage_error(f"{asked}: for your own molecules, and not for GEOM-Drugs")
    if nameless_source:
        raise usage_error("--from is for qm9 and geom; your own molecules are read from the path itself")
    if streams and not is_streamed:
        raise usage_error("--conformers and --split-file need gaga data prepare geom --from PATH")
    if needs_out and out is None and not is_streamed:
        raise usage_error(
            "--lean, --vocabulary and --split-seed need --out FILE.h5: the cache keeps whole data sets, as published"
        )
