"""Molecules to standard output: `--out -`, and `--format` for what a file's suffix would say.

Example:
    gaga sample --n 10 --out - --format xyz | gzip > mols.xyz.gz
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gaga.cli.errors import usage_error
from gaga.cli.render import Table, format_table
from gaga.core.text import printable

STANDARD = Path("-")
_KEPT_NOWHERE = "what was to go to standard output is not kept; --out FILE can be resumed"
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="sdf|xyz|smi", help="Format of the molecules on standard output, with --out -."),
]


@contextmanager
def destination(out: Path, kind: str | None, refused: Mapping[str, bool]) -> Iterator[Path]:
    """The file to write; if `out` is `-`, a temporary one, which goes to standard output when the block ends well.

    Args:
        out: as it was given; `-` for standard output.
        kind: the format, as `--format` gives it.
        refused: options that standard output does not go with, and whether they were given.

    Raises:
        UsageError: `-` without a format or with such options, or a format without `-`.
    """
    from gaga.chem.writers import WRITTEN_SUFFIXES
    from gaga.runs.unfinished import explained

    if out != STANDARD:
        if kind is not None:
            raise usage_error("--format is for standard output, which is -; a file says by its name what it is")
        yield out
        return
    known = [suffix[1:] for suffix in WRITTEN_SUFFIXES]
    suffix = "" if kind is None else kind.lower().removeprefix(".")
    if suffix not in known:
        wrong = "standard output needs --format" if kind is None else f"invalid value for --format: {kind!r}"
        raise usage_error(f"{wrong}; choose from {', '.join(known)}")
    if given := [option for option, asked in refused.items() if asked]:
        raise usage_error(f"{' and '.join(given)} cannot go with --out -; name a file with --out")
    with tempfile.TemporaryDirectory(prefix="gaga-") as folder:
        path = Path(folder) / f"stdout.{suffix}"
        with explained(lambda: "", otherwise=_KEPT_NOWHERE):
            yield path
        if path.is_file():
            with path.open("rb") as written:
                shutil.copyfileobj(written, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def show_aside(*parts: Table | str) -> None:
    """Tables and sentences on stderr, as standard output has the molecules."""
    for part in parts:
        sys.stderr.write(format_table(part) if isinstance(part, Table) else f"{printable(part, lines=True)}\n")
