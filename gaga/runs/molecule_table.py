"""One CSV with a row for each molecule of a stored evaluation: what it is, every verdict, and the checks of a sample.

`gaga evaluate --csv` and `gaga store export` of an evaluation write it. It is made from results as they lie in the
store, a piece at a time; no column is in memory as a whole.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaga.chem.classes import RING_SIZES
from gaga.core.errors import InvalidInput
from gaga.evaluation.molecule_set import NO_SEED
from gaga.evaluation.rates import first_occurrences
from gaga.storage.blocks import Blocks
from gaga.storage.files import atomic_write, refuse_to_overwrite, require_writable
from gaga.storage.serialise import Tree
from gaga.storage.store import Entry, Store

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

COLUMNS = (
    "index", "name", "seed", "smiles", "formula", "n_atoms", "charge",
    "protocol", "stable", "stable_atoms", "valid", "connected", "unique", "novel", "reason",
    "stable_edm", "valid_strict",
    "aromatic", "triple_bond", "sp_carbon", "rings", "rings_3", "rings_4", "rings_5", "rings_6", "rings_larger",
    "heavy_atoms", "odd_electrons", "smiles_stereo", "torsions", "torsions_near_0", "torsions_near_180",
    "radius_of_gyration",
)  # fmt: skip
"""In every table; cells are empty if a value is not known. docs/FORMAT.md says what each is."""

_N_CLASSES = COLUMNS.index("smiles_stereo") - COLUMNS.index("aromatic")

RELAXATION_COLUMNS = ("relaxation_energy_kcal_mol", "relaxation_rmsd_angstrom", "relaxation_reason")
POSES = "posebusters_"
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"), full-width forms included.
_FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")

_BYTE_ORDER_MARK = "\ufeff"  # by which a spreadsheet knows UTF-8
Row = list[str]


@dataclass(frozen=True, kw_only=True)
class TableParts:
    """Stored results of the same molecules that one table is made of.

    Attributes:
        evaluation: the verdicts.
        other: the verdicts by the other protocol, None if there are none.
        relaxation, posebusters: of a sample of the molecules, None if there are none.
        property: what was asked of them and predicted, None if nothing was.
    """

    evaluation: Entry
    other: Entry | None = None
    relaxation: Entry | None = None
    posebusters: Entry | None = None
    property: Entry | None = None


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
        posebusters=newest("posebusters", of="file"),
        property=newest("property"),
    )


def _same_file(entry: Entry, evaluation: Entry) -> bool:
    """Whether a result is of the very file that was evaluated."""
    digest = evaluation.inputs.get(str(evaluation.config.get("file")))
    return digest is not None and digest in entry.inputs.values()


def write_table(out: "Path | SupportsWrite[str]", store: Store, parts: TableParts) -> Written:
    """Write the table to a path, all of it or nothing, or to an open file, row by row.

    Raises:
        NotFound, Unavailable: it cannot be written.
    """
    with _opened(store, parts) as (heading, rows, is_ascii):
        if not isinstance(out, Path):
            return _write(out, heading, rows)
        with atomic_write(out) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            file.write("" if is_ascii else _BYTE_ORDER_MARK)
            return _write(file, heading, rows)


def _write(file: "SupportsWrite[str]", heading: Row, rows: Iterator[Row]) -> Written:
    writer, n = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(heading)
    for n, row in enumerate(rows, start=1):  # noqa: B007 - the last number is how many there are
        writer.writerow(row)
    return Written(rows=n, columns=heading)


@contextmanager
def _opened(store: Store, parts: TableParts) -> Iterator[tuple[Row, Iterator[Row], bool]]:
    """The heading, the rows, and whether all text is ASCII, while the store is open."""
    with ExitStack() as files:

        def opened(entry: Entry | None) -> Any:
            return entry and files.enter_context(store.opened(entry.kind, entry.name))

        evaluation = opened(parts.evaluation)
        others = map(opened, (parts.other, parts.relaxation, parts.posebusters, parts.property))
        # A file that was read otherwise by an earlier version has other records.
        other, relaxation, poses, asked = (
            tree if tree and tree["n_molecules"] == evaluation["n_molecules"] else None for tree in others
        )
        samples = [_relaxation(relaxation), _poses(poses), _property(asked)]
        rows = (
            row + [text for columns, of_sample in samples for text in of_sample.get(i, [""] * len(columns))]
            for i, row in enumerate(_molecules(evaluation, other))
        )
        names = (evaluation.get("records") or {}).get("names", [])  # the only text that files give
        is_ascii = all(name.isascii() for piece in names for name in piece.tolist())
        yield [*COLUMNS, *(column for columns, _ in samples for column in columns)], rows, is_ascii


def _molecules(evaluation: Tree, other: Tree | None) -> Iterator[Row]:
    """The cells of COLUMNS."""
    verdicts, records = evaluation["verdicts"], evaluation.get("records") or {}
    protocol, n = evaluation["protocol"], evaluation["n_molecules"]
    by = {protocol: verdicts} | ({other["protocol"]: other["verdicts"]} if other else {})
    edm, strict = by.get("edm", {}), by.get("strict", {})

    def of(tree: Tree, name: str) -> Iterator[Any]:
        return repeat(None, n) if tree.get(name) is None else _values(tree[name])

    classes = strict.get("classes") or edm.get("classes")
    columns: tuple[Iterable[Any], ...] = (
        range(n), of(records, "names"), map(_seed, of(records, "seeds")), of(verdicts, "smiles"),
        of(records, "formulas"), of(verdicts, "n_atoms"), of(records, "charges"), repeat(protocol, n),
        of(verdicts, "stable"), of(verdicts, "n_stable_atoms"), of(verdicts, "valid"), of(verdicts, "connected"),
        _unique(verdicts), of(verdicts, "novel"), of(verdicts, "reasons"), of(edm, "stable"), of(strict, "valid"),
        *_classes(classes, n), of(strict, "stereo"), *_shape(classes, n),
    )  # fmt: skip
    return (list(map(cell, row)) for row in zip(*columns, strict=True))


def _classes(found: Tree | None, n: int) -> list[Iterable[Any]]:
    """The columns of classes, of n molecules; empty if they are not known."""
    if found is None:
        return [repeat(None, n) for _ in range(_N_CLASSES)]

    def of(name: str) -> Iterator[Any]:
        return _values(found[name])

    return [
        *(_only(of("known"), of(name)) for name in ("aromatic", "triple_bond", "sp_carbon")),
        _only(of("known"), map(sum, of("rings"))),
        *(_only(of("known"), map(itemgetter(size), of("rings"))) for size in range(len(RING_SIZES))),
        *(_only(map(any, of("elements")), of(name)) for name in ("heavy_atoms", "odd_electrons")),
    ]


def _shape(found: Tree | None, n: int) -> list[Iterable[Any]]:
    """The columns of torsions and the radius of gyration; empty if an earlier version did not know them."""
    if found is None or found.get("torsions") is None:
        return [repeat(None, n) for _ in COLUMNS[COLUMNS.index("torsions") :]]
    bins = (sum, itemgetter(0), itemgetter(-1))
    of_torsions = [_only(_values(found["known"]), map(of, _values(found["torsions"]))) for of in bins]
    return [*of_torsions, (radius and float(f"{radius:.5g}") for radius in _values(found["radius"]))]


def _only(looked_at: Iterable[Any], values: Iterable[Any]) -> Iterator[Any]:
    """The values of what was looked at, and None for the others."""
    return (value if yes else None for value, yes in zip(values, looked_at, strict=True))


def _seed(seed: int | None) -> int | None:
    return None if seed == NO_SEED else seed


def _unique(verdicts: Tree) -> Iterator[Any]:
    """Which are unique; from the SMILES of a result of an earlier version, which does not have it."""
    stored = verdicts.get("unique")
    return _values(first_occurrences(tuple(_values(verdicts["smiles"]))) if stored is None else stored)


def _values(column: Any) -> Iterator[Any]:
    """The values of a column one by one."""
    pieces = column if isinstance(column, Blocks) else [np.asarray(column)]
    return (value for piece in pieces for value in piece.tolist())


def _relaxation(found: Tree | None) -> tuple[Row, Mapping[int, Row]]:
    """Columns of relaxation, and rows by the number of the molecule."""
    if found is None:
        return [], {}
    values = zip(*(_values(found[name]) for name in ("energies", "rmsds", "reasons")), strict=True)
    rows = (list(map(cell, row)) for row in values)
    return list(RELAXATION_COLUMNS), dict(zip(_values(found["indices"]), rows, strict=True))


def _poses(found: Tree | None) -> tuple[Row, Mapping[int, Row]]:
    """Columns of PoseBusters' checks, and rows by the number of the molecule."""
    if found is None:
        return [], {}
    checks = [f"{POSES}{check}" for check in _values(found["checks"]) if isinstance(check, str)]
    rows = ([cell(bool(checks) and all(row)), *map(cell, row)] for row in _values(found["passed"]))
    return [f"{POSES}passes_all", *checks], dict(zip(_values(found["indices"]), rows, strict=True))


def _property(found: Tree | None) -> tuple[Row, Mapping[int, Row]]:
    """Columns of a property, and rows by the number of the molecule; none if there was no predictor."""
    if found is None or not found["predictor"]:
        return [], {}
    name = found["property"]
    values = zip(_values(found["targets"]), _values(found["predicted"]), strict=True)
    return [f"target_{name}", f"predicted_{name}"], dict(enumerate(list(map(cell, row)) for row in values))


def cell(value: Any) -> str:
    """A value as a cell: nothing for None and NaN, true or false, numbers in full, text that is no formula.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, and is shown without it there.
    """
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    return repr(value)
