"""What a command shows: tables on stdout and notes on stderr; with --json, one object on stdout."""

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli import streams
from gaga.cli.errors import with_options
from gaga.cli.progress import progress_bar
from gaga.core.progress import Progress, Reporter
from gaga.core.text import printable

if TYPE_CHECKING:
    from gaga.storage.store import Entry, Store

MISSING = "–"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under headings, which may all be empty; numbers to the right, with `digits` significant digits."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    digits: int = 4


@dataclass(frozen=True, kw_only=True)
class Output(Reporter):
    """Where a command's words go.

    Attributes:
        json: whether stdout carries one JSON object and nothing else.
        silent: whether another process speaks for this one.
    """

    json: bool = False
    silent: bool = False

    def note(self, line: str) -> None:
        """A line for the reader on stderr."""
        if not self.silent:
            streams.note(with_options(line))

    def progress(self, label: str, *, first: bool = False) -> AbstractContextManager[Progress]:
        """How far the block is, on stderr: a bar, or without a terminal or with --json a line a minute.

        With `first` a line is written at the first report too.
        """
        return progress_bar(label, quiet=self.silent, bar=not self.json, first=first)

    def show(self, payload: Mapping[str, object], *parts: Table | str) -> None:
        """The payload as JSON, or else the tables and sentences."""
        if self.silent:
            return
        if self.json:
            sys.stdout.write(json.dumps(plain(payload), indent=2, allow_nan=False) + "\n")
            return
        for part in parts:
            sys.stdout.write(
                format_table(part) if isinstance(part, Table) else f"{printable(with_options(part), lines=True)}\n"
            )


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays become lists, dataclasses objects, and what is not finite null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple | range):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value) if isinstance(value, Path) else value


def format_table(table: Table) -> str:
    """The table as aligned lines, with an empty line after it; nothing is cut off or wrapped."""
    cells = [[text(value, table.digits) for value in row] for row in table.rows]
    columns = [printable(column) for column in table.columns]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    right = [all(_is_number(row[i]) for row in table.rows) for i in range(len(widths))]
    lines = [_bold(printable(table.title))] if table.title else []
    if any(columns):
        lines.append(_align(columns, widths, right))
        lines.append("  ".join("─" * width for width in widths))
    lines.extend(_align(row, widths, right) for row in cells)
    return "\n".join(line.rstrip() for line in lines) + "\n\n"


def markdown_table(table: Table) -> str:
    """The table as Markdown."""
    cells = [table.columns, *([text(value, table.digits) for value in row] for row in table.rows)]
    head, *rows = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
    return "\n".join([f"### {table.title}", "", head, "|" + "---|" * len(table.columns), *rows])


def text(value: object, digits: int = 4) -> str:
    """A cell: a number to `digits` significant digits, yes or no, a dash for nothing."""
    if value is None or (isinstance(value, Real) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.{digits}g}"
    return printable(str(value))


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))


def _align(cells: Iterable[str], widths: Iterable[int], right: Iterable[bool]) -> str:
    return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))


def _bold(line: str) -> str:
    return line if streams.is_plain(sys.stdout) or os.environ.get("NO_COLOR") else f"\033[1m{line}\033[0m"


SHOWN_SKIPPED = 5


def skipped_parts(records: Iterable[Mapping[str, Any]], total: int) -> Iterator[Table | str]:
    """The first records that were skipped, one a row: where, why, and what was found there; and how many more."""
    rows = [(row["where"], row["reason"], row["detail"]) for row in islice(records, SHOWN_SKIPPED)]
    if not rows:
        return
    yield Table(columns=("skipped", "why", "found there"), rows=rows)
    if total > len(rows):
        yield f"{total - len(rows):,} more: --json lists all."


def attributes(of: object, names: str) -> dict[str, Any]:
    """These attributes as JSON has them; of `molecules=n_molecules` the first is the key, the second the attribute."""
    pairs = (name.partition("=") for name in names.split())
    return {key: getattr(of, own or key) for key, _, own in pairs}


def by_row(**columns: Iterable[Any]) -> list[dict[str, Any]]:
    """Columns of equal length as one object for each row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def header(entry: "Entry") -> dict[str, object]:
    """A stored result's header, the same keys in every command."""
    names = "kind name shipped created gaga_version format_version seed nbytes digest config inputs"
    return attributes(entry, names)


def open_store(path: Path) -> "Store":
    """The user's results, with the shipped ones behind them."""
    from gaga.storage.store import Store

    return Store(path)


def stored(entry: "Entry", path: Path, *, found: bool) -> dict[str, object]:
    """The JSON object that says where a result is: the same keys in every command.

    `found` says that it was there already, computed by the same command on the same inputs.
    """
    place = None if entry.shipped else str(path)
    head = {"store": place, **attributes(entry, "kind name shipped"), "found": found}
    return head | attributes(entry, "created gaga_version seed config inputs digest")


def stored_line(entry: "Entry", path: Path, *, found: bool) -> str:
    """A sentence that says where a result is, and whether it was found there."""
    place = "the results that ship with gaga" if entry.shipped else str(path)
    if found:
        return f"Found {entry.kind}/{entry.name} in {place}, made on {entry.created[:10]} by this command."
    return f"Stored as {entry.kind}/{entry.name} in {place}."
