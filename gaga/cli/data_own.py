"""`gaga data prepare` of the user's own molecules: which are taken, how geometries are made, and what became of them.

Example:
    gaga data prepare mine.csv --embed --neutral --max-atoms 60 --out mine.h5
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, Table
from gaga.cli.resuming import NOTHING_KEPT, starts_over, told
from gaga.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from gaga.data import Dataset
    from gaga.data.own import UserDataOptions
    from gaga.data.preparation import Preparation
    from gaga.storage.partial import PartialFile, PartialResults

_OWN = "Your own molecules"
_START_OVER = "start over with --overwrite"
_KEPT = "what was made is kept, and the same command with --resume goes on"

Embed = Annotated[
    bool,
    typer.Option(
        "--embed",
        rich_help_panel=_OWN,
        help="Make geometries of the SMILES in a .csv, .tsv, .smi or .txt: ETKDGv3, then MMFF94.",
    ),
]
Optimise = Annotated[
    str | None,
    typer.Option(
        "--optimise",
        metavar="xtb",
        rich_help_panel=_OWN,
        help="Relax every geometry at GFN2-xTB; needs the program xtb.",
    ),
]
SmilesColumn = Annotated[
    str | None,
    typer.Option(
        "--smiles-column",
        metavar="NAME",
        rich_help_panel=_OWN,
        help="Heading of a table's SMILES; smiles or canonical_smiles by default.",
    ),
]
LargestFragment = Annotated[
    bool,
    typer.Option(
        "--largest-fragment", rich_help_panel=_OWN, help="Of salts and mixtures take the largest piece, by bonds."
    ),
]
Elements = Annotated[
    str | None,
    typer.Option(
        "--elements", metavar="H,C,N,...", rich_help_panel=_OWN, help="Take molecules of these elements alone."
    ),
]
MinAtoms = Annotated[
    int | None,
    typer.Option(
        "--min-atoms",
        metavar="N",
        min=1,
        rich_help_panel=_OWN,
        help="Take molecules of at least N atoms, hydrogens counted.",
    ),
]
MaxAtoms = Annotated[
    int | None,
    typer.Option(
        "--max-atoms",
        metavar="N",
        min=1,
        rich_help_panel=_OWN,
        help="Take molecules of at most N atoms, hydrogens counted.",
    ),
]
Neutral = Annotated[
    bool,
    typer.Option(
        "--neutral",
        rich_help_panel=_OWN,
        help="Take neutral molecules alone: by the file's charges, or else by bonds that fit.",
    ),
]
NoDuplicates = Annotated[
    bool,
    typer.Option(
        "--no-duplicates",
        rich_help_panel=_OWN,
        help="Take the first of each molecule, by canonical SMILES, given or perceived.",
    ),
]
OneMoleculePerRecord = Annotated[
    bool,
    typer.Option(
        "--one-molecule-per-record",
        rich_help_panel=_OWN,
        help="Take no records for conformers of one molecule; by default equal SMILES, titles or bonds show them.",
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit",
        metavar="SECONDS",
        show_default=True,
        callback=options.positive,
        rich_help_panel=_OWN,
        help="For a molecule to be embedded; relaxing it may take ten times as long.",
    ),
]
DEFAULT_TIME_LIMIT = 60.0


def wanted_of(
    *,
    embed: bool,
    optimise: str | None,
    smiles_column: str | None,
    largest_fragment: bool,
    elements: str | None,
    min_atoms: int | None,
    max_atoms: int | None,
    neutral: bool,
    no_duplicates: bool,
    one_molecule_per_record: bool,
    time_limit: float,
    seed: int,
    threads: int | None,
) -> "UserDataOptions":
    """What these options ask for.

    Raises:
        UsageError: --optimise or --elements has a value that it cannot have, or no molecule has so many atoms.
    """
    from gaga.data.filters import Filters
    from gaga.data.geometries import GeometryOptions
    from gaga.data.own import UserDataOptions

    try:
        filters = Filters(
            largest_fragment=largest_fragment,
            elements=None if elements is None else _elements(elements),
            min_atoms=min_atoms,
            max_atoms=max_atoms,
            neutral=neutral,
            no_duplicates=no_duplicates,
        )
        program = None if optimise is None else optimise.lower()
        making = GeometryOptions(embed=embed, optimise=program, seed=seed, time_limit_s=time_limit)
    except InvalidInput as error:
        raise usage_error(f"these options cannot be: {error.line.rstrip('.')}") from error
    return UserDataOptions(
        filters=filters,
        making=making,
        smiles_column=smiles_column,
        workers=threads,
        one_molecule_per_record=one_molecule_per_record,
    )


def check_prepare(
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
        raise usage_error("--lean is not for GEOM-Drugs, which is always compressed")
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


def _elements(text: str) -> tuple[int, ...]:
    from gaga.chem.elements import number_of

    try:
        return tuple(sorted({number_of(symbol) for symbol in text.split(",")}))
    except InvalidInput as error:
        raise usage_error(f"invalid value for --elements: {text!r}; write symbols as in H,C,N,O,F") from error


@contextmanager
def kept_geometries(
    path: str, out: Path | None, wanted: "UserDataOptions", output: Output, *, resume: bool, overwrite: bool
) -> "Iterator[PartialResults]":
    """Where geometries are kept while the block runs; whoever ends it is told what is left.

    Raises:
        Conflict: an interrupted run is there and is not gone on with, or has other settings; or `out` is there.
        NotFound, Unavailable: there is nothing to read or no place to write.
    """
    from gaga.data.loading import is_own
    from gaga.storage.files import refuse_to_overwrite, require_writable
    from gaga.storage.locks import locked
    from gaga.storage.partial import NO_PARTIALS

    if out is None or not wanted.making.makes or not is_own(path):
        if resume:
            raise usage_error(
                "--resume goes on with --embed, --optimise, or geom --from PATH; other work is quickly done again"
            )
        with starts_over():
            yield NO_PARTIALS
        return
    refuse_to_overwrite(out, overwrite=overwrite)
    require_writable(out)
    place = out.with_name(f".{out.name}.unfinished")
    with locked(place):
        with _journal(place, _run(path, wanted), resume=resume, overwrite=overwrite) as journal:
            if len(journal):
                output.note(f"Going on with {out}, which was interrupted.")
            with _dropped_if_useless(place), told(lambda: _KEPT if len(journal) else "", otherwise=NOTHING_KEPT):
                yield journal
        place.unlink(missing_ok=True)


def _journal(place: Path, run: dict[str, Any], *, resume: bool, overwrite: bool) -> "PartialFile":
    from gaga.storage.partial import PartialFile, settle

    settle(place, resume=resume, start_over=overwrite, what="an earlier run", remedy=_START_OVER)
    return PartialFile(place, run, remedy=_START_OVER)


@contextmanager
def _dropped_if_useless(place: Path) -> Iterator[None]:
    """A file of molecules that was refused is refused again: nothing is gone on with, but with another vocabulary."""
    from gaga.data.loading import OutsideVocabulary

    try:
        yield
    except OutsideVocabulary:
        raise
    except InvalidInput:
        place.unlink(missing_ok=True)
        raise


def _run(path: str, wanted: "UserDataOptions") -> dict[str, Any]:
    """What the geometries belong to."""
    from gaga import __version__
    from gaga.data.own import programs
    from gaga.storage.files import expanded

    return {"input": _digest(expanded(Path(path))), **wanted.non_defaults(), **programs(wanted), "gaga": __version__}


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder."""
    from gaga.chem.io import has_smiles_only, molecule_files

    total = hashlib.sha256()
    if has_smiles_only(path) and not path.exists():
        raise NotFound("no such file or folder", received=path)
    for file in [path] if has_smiles_only(path) else molecule_files(path):
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


def account(dataset: "Dataset") -> list[Table]:
    """What became of a user's molecules, where anything was asked of them."""
    preparation = dataset.preparation
    if preparation is None or not preparation.asked:
        return []
    rows: list[tuple[str, object]] = [
        ("read", preparation.read),
        *((f"left out: {reason}", n) for reason, n in dataset.skipped.items()),
        ("kept", preparation.kept),
        *((f"  embedded with {name}", n) for name, n in preparation.force_fields.items()),
    ]
    return [Table(columns=("what went where", "molecules"), rows=rows), _asked(preparation)]


def _asked(preparation: "Preparation") -> Table:
    asked = [(f"--{name.replace('_', '-')}", value) for name, value in preparation.asked.items()]
    return Table(columns=("asked for", ""), rows=[*asked, *preparation.programs.items()])
