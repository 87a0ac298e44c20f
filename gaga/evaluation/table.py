"""One row for each molecule of a stored evaluation: what it is, every verdict, and what was looked at besides.

It is made from results as they lie in the store, a piece at a time; no column is in memory as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

import numpy as np

from gaga.evaluation.molecule_set import NO_SEED
from gaga.evaluation.rates import first_occurrences
from gaga.storage.blocks import Blocks
from gaga.storage.serialise import Tree

COLUMNS = (
    "index", "name", "seed", "smiles", "formula", "n_atoms", "charge",
    "protocol", "stable", "stable_atoms", "valid", "connected", "unique", "novel", "reason",
    "stable_edm", "valid_strict",
)  # fmt: skip
"""In every table; cells are empty if a value is not known. docs/FORMAT.md says what each is."""

RELAXATION_COLUMNS = ("relaxation_energy_kcal_mol", "relaxation_rmsd_angstrom", "relaxation_reason")
POSES = "posebusters_"
_RELAXATION_FIELDS = ("energies", "rmsds", "reasons")
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"), full-width forms included.
_FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")

Row = list[str]


def table(
    evaluation: Tree, *, other: Tree | None = None, relaxation: Tree | None = None, poses: Tree | None = None
) -> tuple[Row, Iterator[Row]]:
    """The heading and the rows, in the order of the molecules, as text for a CSV file.

    Args:
        evaluation: the result, its arrays as `Blocks` or in memory.
        other: the evaluation of the same molecules by the other protocol, None if there is none.
        relaxation: relaxation of a sample of them, None if there is none.
        poses: PoseBusters' checks of a sample of them, None if there is none.
    """
    samples = [_relaxation(relaxation), _poses(poses)]
    heading = [*COLUMNS, *(column for columns, _ in samples for column in columns)]
    return heading, (
        row + [text for columns, rows in samples for text in rows.get(i, [""] * len(columns))]
        for i, row in enumerate(_molecules(evaluation, other))
    )


def _molecules(evaluation: Tree, other: Tree | None) -> Iterator[Row]:
    """The cells of COLUMNS."""
    verdicts, records = evaluation["verdicts"], evaluation.get("records") or {}
    protocol, n = evaluation["protocol"], evaluation["n_molecules"]
    by = {protocol: verdicts} | ({other["protocol"]: other["verdicts"]} if other else {})
    edm, strict = by.get("edm", {}), by.get("strict", {})

    def of(tree: Tree, name: str) -> Iterator[Any]:
        return repeat(None, n) if tree.get(name) is None else _values(tree[name])

    columns: tuple[Iterable[Any], ...] = (
        range(n), of(records, "names"), map(_seed, of(records, "seeds")), of(verdicts, "smiles"),
        of(records, "formulas"), of(verdicts, "n_atoms"), of(records, "charges"), repeat(protocol, n),
        of(verdicts, "stable"), of(verdicts, "n_stable_atoms"), of(verdicts, "valid"), of(verdicts, "connected"),
        _unique(verdicts), of(verdicts, "novel"), of(verdicts, "reasons"), of(edm, "stable"), of(strict, "valid"),
    )  # fmt: skip
    return (list(map(cell, row)) for row in zip(*columns, strict=True))


def _seed(seed: int | None) -> int | None:
    return None if seed == NO_SEED else seed


def _unique(verdicts: Tree) -> Iterator[Any]:
    """Who is unique; from the SMILES of a result of an earlier version, which does not have it."""
    there = verdicts.get("unique")
    return _values(first_occurrences(tuple(_values(verdicts["smiles"]))) if there is None else there)


def _values(column: Any) -> Iterator[Any]:
    """The values of a column one by one."""
    pieces = column if isinstance(column, Blocks) else [np.asarray(column)]
    return (value for piece in pieces for value in piece.tolist())


def _relaxation(found: Tree | None) -> tuple[Row, Mapping[int, Row]]:
    """Columns of relaxation, and rows by the number of the molecule."""
    if found is None:
        return [], {}
    rows = zip(*(_values(found[name]) for name in _RELAXATION_FIELDS), strict=True)
    return list(RELAXATION_COLUMNS), dict(
        zip(_values(found["indices"]), (list(map(cell, r)) for r in rows), strict=True)
    )


def _poses(found: Tree | None) -> tuple[Row, Mapping[int, Row]]:
    """Columns of PoseBusters' checks, and rows by the number of the molecule."""
    if found is None:
        return [], {}
    checks = [f"{POSES}{check}" for check in _values(found["checks"]) if isinstance(check, str)]
    rows = ([cell(bool(checks) and all(row)), *map(cell, row)] for row in _values(found["passed"]))
    return [f"{POSES}passes_all", *checks], dict(zip(_values(found["indices"]), rows, strict=True))


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
