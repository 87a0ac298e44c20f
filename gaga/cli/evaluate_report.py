"""What `gaga evaluate` shows: tables for people, and the JSON object."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli.class_report import class_tables, classes_object, rate_object, said_of_support
from gaga.cli.property_report import row_objects, row_table
from gaga.cli.render import MISSING, Table, attributes, by_row, skipped_parts, stored, stored_line
from gaga.core.text import counted

if TYPE_CHECKING:
    from gaga.core.statistics import Interval
    from gaga.evaluation import Evaluation, Rate, Rates, ReferenceRow
    from gaga.evaluation.distances import Distances
    from gaga.evaluation.extras import PoseChecks, Relaxation
    from gaga.evaluation.property_error import PropertyError
    from gaga.runs.evaluate import Evaluated

SHOWN_REASONS = 5
_RELAXATION = {
    "median energy, kcal/mol": "median_energy",
    "mean energy, kcal/mol": "mean_energy",
    "median RMSD, Å": "median_rmsd",
    "mean RMSD, Å": "mean_rmsd",
}


def payload(found: "Evaluated", store: Path, csv: Path | None, plot: Path | None) -> dict[str, Any]:
    """What was found, as JSON has it."""
    outcome, result = found.evaluation, found.evaluation.result
    return {
        "stored": stored(outcome.entry, store, found=outcome.found),
        **attributes(result, "protocol molecules=n_molecules unreadable=n_unreadable"),
        "skipped": list(_skipped(result)),
        "without_charge": result.records and result.records.n_without_charge,
        "rates": _rates(result.rates),
        "failures": [{"reason": reason, "molecules": n} for reason, n in _failures(result)],
        "bond_lengths": _distances(result.bond_lengths),
        "bond_angles": _distances(result.bond_angles),
        "sizes": result.sizes,
        "real_data": result.real_data and _real_data(result.reference, result.real_data),
        "classes": classes_object(result.classes),
        "support": result.support and asdict(result.support),
        "rdkit": result.rdkit,
        "posebusters": None,
        "relaxation": None,
        **{
            check.kind: {
                "stored": stored(check.outcome.entry, store, found=check.outcome.found),
                **_OBJECTS[check.kind](check.outcome.result),
                "real_data": check.real and _OBJECTS[check.kind](check.real.result),
            }
            for check in found.checks
        },
        "property": found.property
        and {
            "stored": stored(found.property.entry, store, found=found.property.found),
            **attributes(found.property.result, "property predictor"),
            "rows": row_objects(found.property.result.rows, found.property.result.unit),
        },
        "csv": found.table and {"out": str(csv), "rows": found.table.rows, "columns": found.table.columns},
        "plot": plot,
    }


def _real_data(name: str, row: "ReferenceRow") -> dict[str, Any]:
    return {
        "name": name,
        **attributes(
            row, "description molecules=n_molecules train=n_train train_in_all=n_train_in_all in_all=n_in_all"
        ),
        "rates": _rates(row.rates),
        **attributes(row, "bond_lengths bond_angles sizes"),
        "classes": classes_object(row.classes),
    }


def tables(found: "Evaluated", store: Path, csv: Path | None, *, charges: bool) -> Iterator[Table | str]:
    """What was found, as tables and sentences; with `charges`, how many molecules have a total charge."""
    yield from _evaluation_tables(found.evaluation.result, found.label)
    yield from _about_records(found.evaluation.result, charges=charges)
    yield stored_line(found.evaluation.entry, store, found=found.evaluation.found)
    for check in found.checks:
        heading = (found.label, "95 % interval", f"{check.real_label} itself")
        yield from _TABLES[check.kind](check.outcome.result, check.real and check.real.result, *heading)
        yield stored_line(check.outcome.entry, store, found=check.outcome.found)
        yield ""
    if found.property:
        yield from _property_tables(found.property.result)
        yield stored_line(found.property.entry, store, found=found.property.found)
        yield ""
    if found.table:
        yield f"Wrote a row for each of {counted(found.table.rows, 'molecule')} to {csv}."


def _poses_object(result: "PoseChecks") -> dict[str, Any]:
    rates = zip(result.checks, result.rates, strict=True)
    return {
        "drawn": len(result.indices),
        "passes_all": rate_object(result.passes_all),
        "checks": [{"check": check, **rate_object(rate)} for check, rate in rates],
        "version": result.posebusters,
    }


def _relaxation_object(result: "Relaxation") -> dict[str, Any]:
    estimates = {name: asdict(getattr(result, name)) for name in _RELAXATION.values()}
    return {"drawn": len(result.indices), "relaxed": rate_object(result.relaxed), **estimates}


def _skipped(result: "Evaluation") -> Iterator[dict[str, Any]]:
    """The records that were skipped: which, why, where, and what was found there."""
    if result.records is None:  # of an earlier version
        return
    skipped = result.records.skipped
    texts = (chain.from_iterable(column) for column in (skipped.reasons, skipped.where, skipped.details))
    for index, *found in zip(skipped.indices.tolist(), *texts, strict=True):
        yield {"index": index, **dict(zip(("reason", "where", "detail"), map(str, found), strict=True))}


def _rates(rates: "Rates") -> dict[str, Any]:
    return {name: rate_object(rate) for name, rate in rates.items()}


def _failures(result: "Evaluation") -> list[tuple[str, int]]:
    """Why molecules are not valid or not stable, most frequent first."""
    found = Counter(reason for reason in result.verdicts.reasons if reason)
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _distances(found: "Distances") -> dict[str, Any]:
    kinds = by_row(kind=found.kinds, distance=found.distances, count=found.counts, share=found.shares)
    return {"mean": found.mean, "kinds": kinds}


def _rate_table(
    title: str, columns: tuple[str, ...], rates: "Iterable[tuple[str, Rate]]", real: "dict[str, Rate]"
) -> Table:
    """Rates with their intervals and counts, and those of real data."""
    rows = [
        (name.replace("_", " "), percent(rate), interval(rate), fraction(rate), percent(real.get(name)))
        for name, rate in rates
    ]
    return Table(columns=columns, rows=rows, title=title)


def _evaluation_tables(result: "Evaluation", file: str) -> Iterator[Table | str]:
    name, data = result.reference, result.real_data
    yield _rate_table(
        f"{counted(result.n_molecules, 'molecule')} by protocol {result.protocol}",
        ("%", file, "95 % interval", "counted", f"{name or 'real data'} itself"),
        result.rates.items(),
        dict(data.rates.items()) if data else {},
    )
    yield from said_of_support(result)
    if failures := _failures(result):
        shown, others = failures[:SHOWN_REASONS], failures[SHOWN_REASONS:]
        rest = [(counted(len(others), "other reason"), sum(n for _, n in others))] if others else []
        yield Table(columns=("not valid or not stable", "molecules"), rows=[*shown, *rest])
    yield from class_tables(result.classes, data.classes if data else None, file, name)
    if data is None:
        return
    yield Table(
        columns=(f"distance to {name}'s", file, f"{name} itself"),
        rows=[
            ("bond lengths, Å", result.bond_lengths.mean, data.bond_lengths),
            ("bond angles, degrees", result.bond_angles.mean, data.bond_angles),
            ("numbers of atoms", result.sizes, data.sizes),
        ],
    )
    n = counted(data.n_molecules, "molecule")
    yield f"{name} itself: {data.description}, {n}. Distances are Wasserstein-1 of frequent kinds."
    if data.n_train < data.n_train_in_all:
        yield (
            f"Known molecules are {data.n_train:,} of the {data.n_train_in_all:,} of the training split, so that "
            "novel is an upper bound."
        )


def _about_records(result: "Evaluation", *, charges: bool) -> Iterator[Table | str]:
    """How many molecules have no charge; how many records were skipped and why, and the first of them."""
    if charges and result.records is not None:
        without, n = result.records.n_without_charge, result.n_molecules - result.n_unreadable
        rest = f"; 0 for {without:,} of {counted(n, 'molecule')} without one" if without else ""
        yield f"Total charge: as the file gives it{rest}."
    if result.n_unreadable:
        reasons = Counter(row["reason"] for row in _skipped(result))
        why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
        yield f"Skipped {counted(result.n_unreadable, 'record')}, counted as failures{f': {why}' if why else ''}."
        yield from skipped_parts(_skipped(result), result.n_unreadable)


def percent(rate: "Rate | None") -> str:
    """A rate in percent."""
    return f"{100 * rate.value:.2f}" if rate is not None and rate.denominator else MISSING


def interval(rate: "Rate") -> str:
    """Its interval in percent."""
    return f"{100 * rate.low:.2f} – {100 * rate.high:.2f}" if rate.denominator else MISSING


def fraction(rate: "Rate") -> str:
    """What was counted, of what."""
    return f"{rate.numerator:,} of {rate.denominator:,} {rate.of}" if rate.denominator else MISSING


def _poses_tables(
    result: "PoseChecks", real: "PoseChecks | None", file: str, level: str, itself: str
) -> Iterator[Table | str]:
    of_data, of_sample = (
        {"all checks": each.passes_all, **dict(zip(each.checks, each.rates, strict=True))} if each else {}
        for each in (real, result)
    )
    title = f"PoseBusters {result.posebusters} on {_drawn(result)}"
    yield _rate_table(title, ("passes, %", file, level, "counted", itself), of_sample.items(), of_data)


def _relaxation_tables(
    result: "Relaxation", real: "Relaxation | None", file: str, level: str, itself: str
) -> Iterator[Table | str]:
    rows = [
        (label, *_estimate(getattr(result, name)), _estimate(getattr(real, name))[0] if real else MISSING)
        for label, name in _RELAXATION.items()
    ]
    title = f"GFN2-xTB relaxation of {_drawn(result)}"
    yield Table(columns=("given to relaxed", file, level, itself), rows=rows, title=title)
    yield f"Relaxed: {fraction(result.relaxed)}; the numbers are of these."
    reasons = sorted({reason for reason in result.reasons if reason})
    if reasons:
        counts = ", ".join(f"{result.reasons.count(reason):,} x {reason}" for reason in reasons)
        yield f"Not relaxed: {counts}."


def _property_tables(result: "PropertyError") -> Iterator[Table | str]:
    by = f", predicted by a network trained on {result.predictor}" if result.predictor else ""
    yield row_table(result.rows, result.unit, f"Mean absolute errors of {result.property}{by}")
    asked = result.rows[0].n if result.predictor else 0
    if result.predictor and asked < result.n_molecules:
        yield f"{result.n_molecules - asked:,} of {counted(result.n_molecules, 'molecule')} have no atoms or no target."


def _drawn(result: "PoseChecks | Relaxation") -> str:
    n = len(result.indices)
    if n == result.n_molecules:
        return counted(n, "molecule")
    return f"{n:,} of {counted(result.n_molecules, 'molecule')}, drawn with seed {result.seed}"


def _estimate(estimate: "Interval") -> tuple[str, str]:
    """A number and its interval; dashes for nothing."""
    if estimate.estimate != estimate.estimate:  # NaN
        return MISSING, MISSING
    return f"{estimate.estimate:.3f}", f"{estimate.low:.3f} – {estimate.high:.3f}"


_OBJECTS: dict[str, Any] = {"posebusters": _poses_object, "relaxation": _relaxation_object}
_TABLES: dict[str, Any] = {"posebusters": _poses_tables, "relaxation": _relaxation_tables}
