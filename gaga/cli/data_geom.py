"""`gaga data prepare geom`: a copy of GEOM-Drugs in any of its forms becomes a prepared file, as a stream.

Example:
    gaga data prepare geom --from drugs_crude.msgpack
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli.render import Output
from gaga.cli.resuming import goes_on
from gaga.core.errors import GagaError
from gaga.core.text import counted, human_bytes

if TYPE_CHECKING:
    from gaga.data.streamed import Prepared

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


def prepare(
    source: Path,
    out: Path | None,
    output: Output,
    *,
    cache: Path | None,
    conformers: int | None,
    vocabulary: str,
    split_file: Path | None,
    split_seed: int | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Read it, write it, say what was done and which conformers were taken for one molecule."""
    from gaga.data.geom.prepare import CONFORMERS, VOCABULARIES, prepare_geom

    path = out or _in_cache(cache)
    with goes_on(lambda: _is_unfinished(path)), output.progress(f"reading {source.name}") as progress:
        written, rule = prepare_geom(
            source,
            path,
            conformers=conformers or CONFORMERS,
            vocabulary=vocabulary,
            split_file=split_file,
            split_seed=split_seed or 0,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    size = path.stat().st_size
    payload = {"path": str(path), "size": size, **_summary(written, source), "rule": rule}
    skipped = ", ".join(f"{n:,} {reason}" for reason, n in written.skipped.items())
    apart = written.conformers - sum(written.splits.values())
    splits = ", ".join(f"{name} {n:,}" for name, n in written.splits.items())
    elements = "16 elements of GEOM-Drugs" if VOCABULARIES[vocabulary] else "elements that occur"
    output.show(
        payload,
        f"Prepared {counted(written.conformers, 'conformer')} of {counted(written.molecules, 'molecule')} "
        f"({written.atoms:,} atoms, {elements}) in {path} ({human_bytes(size)}).",
        rule,
        f"Split by molecule, conformers of each: {splits}{f'; in none of them {apart:,}' if apart else ''}.",
        *([f"Skipped {counted(sum(written.skipped.values()), 'conformer')}: {skipped}."] if skipped else []),
    )


def _summary(written: "Prepared", source: Path) -> dict[str, Any]:
    from gaga.cli.data_report import described

    return described(
        name="geom", molecules=written.conformers, distinct=written.molecules, elements=written.elements,
        sizes=written.sizes, splits=written.splits, skipped=written.skipped, origin=source.name,
        fingerprint=written.fingerprint,
    )  # fmt: skip


def _in_cache(cache: Path | None) -> Path:
    """The place of GEOM-Drugs in the cache, whose folder is made."""
    from gaga.data import prepared_path
    from gaga.storage.files import unwritable

    path = prepared_path("geom", cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def _is_unfinished(path: Path) -> bool:
    from gaga.data.streamed import unfinished
    from gaga.storage.files import target

    try:
        return unfinished(target(path)).is_file()
    except GagaError:
        return False
