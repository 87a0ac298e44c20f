"""One CSV of molecules: what `gaga evaluate --csv` and `gaga store export` of an evaluation write."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.core.errors import InvalidInput
from gaga.evaluation.table import table
from gaga.storage.files import atomic_write, refuse_to_overwrite, require_writable
from gaga.storage.store import Entry, Store

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_BYTE_ORDER_MARK = "\ufeff"  # by which a spreadsheet knows UTF-8


@dataclass(frozen=True, kw_only=True)
class TableParts:
    """Stored results of the same molecules that one table is made of.

    Attributes:
        evaluation: the verdicts.
        other: the verdicts by the other protocol, None if there are none.
        relaxation, poses: of a sample of the molecules, None if there are none.
    """

    evaluation: Entry
    other: Entry | None = None
    relaxation: Entry | None = None
    poses: Entry | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a table holds: number of rows, and its columns."""

    rows: int
    columns: list[str]


def check_csv(path: Path, *, overwrite: bool) -> None:
    """Reject, before the work, a table that could not be written after it.

    Raises:
        InvalidInput: the name does not end in .csv.
        Conflict: the file exists, and `overwrite` is false.
        NotFound, Unavailable: it cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise InvalidInput("the table of molecules is a CSV file", received=path, remedy="end its name in .csv")
    refuse_to_overwrite(path, overwrite=overwrite)
    require_writable(path)


def parts_of(store: Store, evaluation: Entry) -> TableParts:
    """An evaluation and what the store has of the same file; of several results, the newest."""

    def newest(kind: str, **config: str) -> Entry | None:
        fitting = [
            entry
            for entry in store.entries(kind)
            if _same_file(entry, evaluation) and all(entry.config.get(key) == value for key, value in config.items())
        ]
        return max(fitting, key=lambda entry: entry.created, default=None)

    other = "strict" if evaluation.config.get("protocol") == "edm" else "edm"
    return TableParts(
        evaluation=evaluation,
        other=newest("evaluation", protocol=other),
        relaxation=newest("relaxation", of="file"),
        poses=newest("posebusters", of="file"),
    )


def _same_file(entry: Entry, evaluation: Entry) -> bool:
    """Whether a result is of the very file that was evaluated."""
    digest = evaluation.inputs.get(str(evaluation.config.get("file")))
    return digest is not None and digest in entry.inputs.values()


def write_table(path: Path, store: Store, parts: TableParts) -> Written:
    """Write the table to a file, all of it or nothing.

    Raises:
        NotFound, Unavailable: it cannot be written.
    """
    with (
        _opened(store, parts) as (heading, rows, is_ascii),
        atomic_write(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write("" if is_ascii else _BYTE_ORDER_MARK)
        return _write(file, heading, rows)


def print_table(file: "SupportsWrite[str]", store: Store, parts: TableParts) -> Written:
    """Write the table to an open file, row by row."""
    with _opened(store, parts) as (heading, rows, _):
        return _write(file, heading, rows)


def _write(file: "SupportsWrite[str]", heading: list[str], rows: Iterator[list[str]]) -> Written:
    writer, n = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(heading)
    for n, row in enumerate(rows, start=1):  # noqa: B007 - the last number is how many there are
        writer.writerow(row)
    return Written(rows=n, columns=heading)


@contextmanager
def _opened(store: Store, parts: TableParts) -> Iterator[tuple[list[str], Iterator[list[str]], bool]]:
    """The heading, the rows, and whether all text is ASCII, while the store is open."""
    with ExitStack() as files:

        def opened(entry: Entry | None) -> Any:
            return entry and files.enter_context(store.opened(entry.kind, entry.name))

        evaluation = opened(parts.evaluation)
        others = (opened(parts.other), opened(parts.relaxation), opened(parts.poses))
        # A file that was read otherwise by an earlier version has other records.
        other, relaxation, poses = (
            tree if tree and tree["n_molecules"] == evaluation["n_molecules"] else None for tree in others
        )
        heading, rows = table(evaluation, other=other, relaxation=relaxation, poses=poses)
        names = (evaluation.get("records") or {}).get("names", [])  # the only text that files give
        yield heading, rows, all(name.isascii() for piece in names for name in piece.tolist())
