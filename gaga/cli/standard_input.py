"""Molecules from standard input: `-` for a path, and `--format` for what its suffix would say.

Example:
    obabel in.pdb -o sdf | gaga data info - --format sdf
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, cast

import typer

from gaga.cli.errors import usage_error

STANDARD = "-"
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="sdf|xyz|csv|smi", help="Format of the molecules on standard input, if PATH is -."
    ),
]


@contextmanager
def named_input(path: str, kind: str | None, *, smiles: bool = True) -> Iterator[str]:
    """The path, or that of a temporary file with what standard input holds while the block runs.

    Args:
        path: as it was given; `-` for standard input.
        kind: its format, as `--format` gives it.
        smiles: whether it may be a table of SMILES.

    Raises:
        UsageError: `-` without a format, a format without `-`, or an unknown one.
    """
    from gaga.chem.io import FORMATS, READ_SUFFIXES, file_of

    if path != STANDARD:
        if kind is not None:
            raise usage_error("--format is for standard input, which is -; a file says by its name what it is")
        yield path
        return
    formats = tuple(name for name in FORMATS if smiles or f".{name}" in READ_SUFFIXES)
    if kind is None or kind.lower().removeprefix(".") not in formats:
        wrong = "standard input needs --format" if kind is None else f"invalid value for --format: {kind!r}"
        raise usage_error(f"{wrong}; choose from {', '.join(formats)}")
    if sys.stdin is None or sys.stdin.isatty():
        raise usage_error("- reads standard input, and nothing is piped into it")
    with file_of(cast(io.BufferedIOBase, sys.stdin.buffer), kind) as file:
        yield str(file)
