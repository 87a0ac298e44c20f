"""Tables of SMILES: CSV and TSV with a heading, and .smi with a SMILES and perhaps a name in each line.

Rows are read without chemistry: whether a SMILES is one is found out by who needs it.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gaga.chem.records import UNREADABLE, Skipped
from gaga.core.errors import InvalidInput

COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles")
"""Headings of a CSV file's SMILES, in the order of preference; their case and spaces do not matter."""

NO_SMILES = "no SMILES"
_NAMES = ("name", "id", "title", "chembl_id", "zinc_id")
_DELIMITERS = ",;\t"
_SHOWN = 8  # headings in a complaint
_EXCEL = "sep="  # a first line that tells Excel what separates the columns


@dataclass(frozen=True)
class SmilesRow:
    """A row: its SMILES as it stands there, where it is, a name, and the other columns as text."""

    smiles: str
    where: str
    name: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


def has_columns(file: str) -> bool:
    """Whether a file of that name may have columns with headings."""
    return file.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".txt"))


def has_heading(file: str, begins: str, column: str | None = None) -> bool:
    """Whether a table of SMILES has headings: a `.csv` or `.tsv` has, a `.txt` may have.

    Args:
        file: its name.
        begins: how it begins.
        column: as of `parse_csv`.
    """
    if not file.lower().removesuffix(".gz").endswith(".txt"):
        return has_columns(file)
    try:
        heading, _, _ = _heading(begins.partition("\n")[0], file, column)
    except InvalidInput:
        return column is not None
    return len(heading) > 1


def parse_smi(lines: Iterable[str], file: str) -> Iterator[SmilesRow | Skipped]:
    """The rows of a .smi: SMILES, then after a blank a name. Empty lines, comments and a heading are no rows."""
    for n, line in enumerate(lines, start=1):
        smiles, _, name = line.strip().replace("\t", " ").partition(" ")
        if smiles and not smiles.startswith("#") and not (n == 1 and _folded(smiles) in COLUMNS):
            yield SmilesRow(smiles, f"{file}, line {n}", name.strip())


def parse_csv(lines: Iterable[str], file: str, *, column: str | None = None) -> Iterator[SmilesRow | Skipped]:
    """The rows of a CSV file, whose heading says what is where and is separated by commas, semicolons or tabs.

    A row of another number of columns than the heading is broken, and comes as a `Skipped`.

    Args:
        lines: of the file.
        file: its name, for complaints.
        column: the heading of the SMILES; None for one of `COLUMNS`.

    Raises:
        InvalidInput: there is no such column.
    """
    lines = iter(lines)
    first = next(lines, "")
    before = 1
    if first.lower().startswith(_EXCEL):
        first, before = next(lines, ""), 2
    heading, delimiter, place = _heading(first, file, column)
    reader = csv.reader(lines, delimiter=delimiter)
    n = 0
    while True:
        n += 1
        line = before + reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:  # a field without end, which the reader gives up at its own limit
            yield Skipped(UNREADABLE, f"{file}, row {n} (line {line})", str(error), file, line)
            continue
        if row is None:
            return
        if row:
            found = _row(row, heading, place, f"{file}, row {n} (line {line})")
            yield replace(found, file=file, line=line) if isinstance(found, Skipped) else found


def _row(row: list[str], heading: list[str], place: int, where: str) -> SmilesRow | Skipped:
    if len(row) != len(heading):
        return Skipped(UNREADABLE, where, f"{len(row)} columns instead of {len(heading)}")
    smiles = row[place].strip()
    if not smiles:
        return Skipped(NO_SMILES, where)
    others = {
        name: value.strip()
        for i, (name, value) in enumerate(zip(heading, row, strict=True))
        if i != place and name and value.strip()
    }
    name = next((value for key, value in others.items() if _folded(key) in _NAMES), "")
    return SmilesRow(smiles, where, name, others)


def _heading(line: str, file: str, column: str | None) -> tuple[list[str], str, int]:
    """The headings, what separates them, and which of them is the SMILES'."""
    split = {delimiter: _headings(line, delimiter) for delimiter in _DELIMITERS}
    for wanted in COLUMNS if column is None else (_folded(column),):
        for delimiter, headings in split.items():
            folded = [_folded(heading) for heading in headings]
            if wanted in folded:
                return headings, delimiter, folded.index(wanted)
    most = max(split.values(), key=len)
    named = f"column {column}" if column is not None else "column of SMILES"
    raise InvalidInput(
        f"{file} has no {named}",
        received=f"columns {', '.join(heading[:40] for heading in most[:_SHOWN])}",
        remedy="name the column with `smiles_column`; the first line has to be the headings",
    )


def _headings(line: str, delimiter: str) -> list[str]:
    try:
        return [heading.strip() for heading in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _folded(heading: str) -> str:
    return heading.strip().casefold().replace(" ", "_")
