"""Markdown tables of a study's rows, alone from the file of finished cells."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from gaga.evaluation import ReferenceRow, shipped_reference
from gaga.evaluation.reference import REFERENCES
from measuring.cells import Row
from measuring.pairs import PAIRED, difference

TITLES = {
    "atom_stable": "atoms stable",
    "molecule_stable": "molecules stable",
    "valid": "valid",
    "valid_and_unique": "valid × unique",
    "connected": "in one piece",
}
CLASSES = {"aromatic": "aromatic", "triple_bond": "triple bond"}
RINGS, MIXTURE = "smallest rings", "total variation"
Cells = list[str]


def tables(rows: Sequence[Row], study: str) -> str:
    """A table for each checkpoint (of `training`, for all), number of molecules and seed; a cell's last row counts."""
    mine = {(row["id"], tuple(row["rates"])): row for row in rows if row["study"] == study}
    latest = {row["id"]: row for row in sorted(mine.values(), key=lambda row: len(row["rates"]))}
    ordered = sorted(latest.values(), key=lambda row: _sheet(row, study))
    sheets = [list(group) for _, group in groupby(ordered, key=lambda row: _sheet(row, study))]
    return "\n\n".join(_table(sheet, study) for sheet in sheets) or f"No cell of {study} is there."


def _sheet(row: Row, study: str) -> tuple[str, int, int]:
    return "" if study == "training" else row["key"]["checkpoint"], row["key"]["n"], row["key"]["seed"]


def _table(rows: Sequence[Row], study: str) -> str:
    labels = list(dict.fromkeys(name for row in rows for name in row["labels"]))
    strict = any("strict" in row["rates"] for row in rows)
    paired = any(row["against"] for row in rows)
    columns = [*labels, *([] if "evaluations" in labels else ["evaluations"]), *TITLES.values()]
    classes = any(row.get("classes") for row in rows)
    columns += [*CLASSES.values(), RINGS, MIXTURE] * classes
    columns += ["valid, strict"] * strict + [f"Δ {TITLES[name]}" for name in PAIRED] * paired + ["s / molecule"]
    by_id = {row["id"]: row for row in rows}
    lines = [_line(row, by_id.get(row["against"]), columns, paired=paired, strict=strict) for row in rows]
    if study == "training":
        lines += _groups(rows, columns)
    lines += _data(rows[0], columns, strict=strict)
    body = [columns, ["---"] * len(columns), *lines]
    return _caption(rows, paired=paired) + "\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in body)


def _caption(rows: Sequence[Row], *, paired: bool) -> str:
    key, versions = rows[0]["key"], rows[0]["versions"]
    names = sorted({f"{row['checkpoint']} ({row['key']['checkpoint'][:12]})" for row in rows})
    said = f"{', '.join(names)}: {key['n']:,} molecules, seed {key['seed']}, protocol edm, %"
    said += ", with 95 % bootstrap intervals over molecules"
    if paired:
        said += "; Δ in points, paired by molecule key"
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{said}. On {', '.join(sorted({row['device'] for row in rows}))}; {made}."


def _line(row: Row, other: Row | None, columns: Sequence[str], *, paired: bool, strict: bool) -> Cells:
    cells = {**row["labels"], "evaluations": row["evaluations"]}
    cells |= {title: _percent(row["rates"]["edm"][name]) for name, title in TITLES.items()}
    if row.get("classes"):
        cells |= _classes(row["classes"])
    if strict and "strict" in row["rates"]:
        cells["valid, strict"] = _percent(row["rates"]["strict"]["valid"])
    if paired and other is not None:
        cells |= {f"Δ {TITLES[name]}": _points(row, other, name) for name in PAIRED}
    if row["seconds_per_molecule"] is not None:
        cells["s / molecule"] = f"{row['seconds_per_molecule']:.3g}"
    return _in_order(cells, columns)


def _classes(found: Mapping[str, Any]) -> dict[str, str]:
    """Shares of valid molecules in %, their mean smallest rings, and the distance of their mixture from the data's."""
    cells = {title: _percent(found[name]) for name, title in CLASSES.items()}
    rings, distance = found["rings"], found["distance"]
    if rings["denominator"]:
        cells[RINGS] = f"{value(rings):.2f} ({rings['low']:.2f} – {rings['high']:.2f})"
    if distance is not None:
        cells[MIXTURE] = f"{distance['value']:.3f} ({distance['low']:.3f} – {distance['high']:.3f})"
    return cells


def _in_order(cells: Mapping[str, Any], columns: Sequence[str]) -> Cells:
    return ["–" if cells.get(name) is None else str(cells[name]) for name in columns]


def _groups(rows: Sequence[Row], columns: Sequence[str]) -> Iterable[Cells]:
    """Mean and spread over the seeds of models of one name."""
    for name in dict.fromkeys(row["labels"]["model"] for row in rows):
        group = [row for row in rows if row["labels"]["model"] == name]
        if len(group) < 2:
            continue
        rates = [{key: value(row["rates"]["edm"][key]) for key in TITLES} for row in group]
        cells = {title: _spread([rate[key] for rate in rates]) for key, title in TITLES.items()}
        about = {"model": f"**{name}**, mean ± sd", "seed": f"{len(group)} seeds"}
        yield _in_order({**about, "T*": group[0]["labels"]["T*"], **cells}, columns)


def _data(row: Row, columns: Sequence[str], *, strict: bool) -> Iterable[Cells]:
    """The real data through the same code."""
    data = data_row(row)
    if data is None:
        return
    rates = dict(data.rates.items())
    cells = {title: f"{100 * rates[name].value:.1f}" for name, title in TITLES.items()}
    if data.classes is not None:
        shares = dict(data.classes.classes.items())
        cells |= {title: f"{100 * shares[name].value:.1f}" for name, title in CLASSES.items()}
        cells[RINGS] = f"{dict(data.classes.rings.items())['all'].value:.2f}"
    if strict:
        cells["valid, strict"] = f"{100 * shipped_reference(row['dataset'], 'strict').row.rates.valid.value:.1f}"
    yield _in_order({columns[0]: f"{data.description}, {data.n_molecules:,} molecules", **cells}, columns)


def data_row(row: Row) -> ReferenceRow | None:
    """The reference's own row by protocol edm, where the cell's data set has one."""
    return shipped_reference(row["dataset"], "edm").row if row["dataset"] in REFERENCES else None


def value(rate: Mapping[str, Any]) -> float:
    """A rate of a row as a share; NaN of nothing."""
    return rate["numerator"] / rate["denominator"] if rate["denominator"] else float("nan")


def _percent(rate: Mapping[str, Any]) -> str:
    if not rate["denominator"]:
        return "–"
    return f"{100 * value(rate):.1f} ({100 * rate['low']:.1f} – {100 * rate['high']:.1f})"


def _points(row: Row, other: Row, name: str) -> str:
    found = difference(row, other, name)
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} – {100 * found.high:+.1f})"


def _spread(values: Sequence[float]) -> str:
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"
