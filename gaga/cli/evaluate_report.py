"""What `gaga evaluate` shows: tables for people, and the JSON object."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli.render import MISSING, Table, skipped_parts, stored, stored_line
from gaga.core.text import counted

if TYPE_CHECKING:
    from gaga.core.statistics import Interval
    from gaga.evaluation import Evaluation, Rate, Rates, ReferenceRow
    from gaga.evaluation.distances import Distances
    from gaga.evaluation.sampled_checks import PoseChecks, Relaxation
    from gaga.runs.evaluate import Evaluated, SampledCheck

SHOWN_REASONS = 5
_RELAXATION = {
    "median energy, kcal/mol": "median_energy",
    "mean energy, kcal/mol": "mean_energy",
    "median RMSD, Å": "median_rmsd",
    "mean RMSD, Å": "mean_rmsd",
}


def payload(found: "Evaluated", store: Path) -> dict[str, Any]:
    """What was found, as JSON has it."""
    checks = {check.kind: _check_object(check, store) for check in found.checks}
    return {**_evaluation_object(found.evaluation.result), "posebusters": None, "relaxation": None, **checks}


def tables(found: "Evaluated", store: Path, *, charges: bool) -> Iterator[Table | str]:
    """What was found, as tables and sentences; with `charges`, how many molecules have a total charge."""
    yield from _evaluation_tables(found.evaluation.result, found.label, charges=charges)
    yield stored_line(found.evaluation.entry, store, found=found.evaluation.found)
    for check in found.checks:
        make: Any = _poses_tables if check.kind == "posebusters" else _relaxation_tables
        real = check.real.result if check.real else None
        yield from make(check.outcome.result, real, found.label, check.real_label)
        yield stored_line(check.outcome.entry, store, found=check.outcome.found)
        yield ""


def _check_object(check: "SampledCheck", store: Path) -> dict[str, Any]:
    describe: Any = _poses_object if check.kind == "posebusters" else _relaxation_object
    return {
        "stored": stored(check.outcome.entry, store, found=check.outcome.found),
        **describe(check.outcome.result),
        "real_data": check.real and describe(check.real.result),
    }


def _poses_object(result: "PoseChecks") -> dict[str, Any]:
    return {
        "drawn": len(result.indices),
        "passes_all": rate_object(result.passes_all),
        "checks": [
            {"check": check, **rate_object(rate)} for check, rate in zip(result.checks, result.rates, strict=True)
        ],
        "version": result.posebusters,
    }


def _relaxation_object(result: "Relaxation") -> dict[str, Any]:
    return {
        "drawn": len(result.indices),
        "relaxed": rate_object(result.relaxed),
        **{name: asdict(getattr(result, name)) for name in _RELAXATION.values()},
    }


def _evaluation_object(result: "Evaluation") -> dict[str, Any]:
    data = result.real_data
    return {
        "protocol": result.protocol,
        "molecules": result.n_molecules,
        "unreadable": result.n_unreadable,
        "skipped": list(_skipped(result)),
        "without_charge": result.records and result.records.n_without_charge,
        "rates": _rates(result.rates),
        "failures": [{"reason": reason, "molecules": n} for reason, n in _failures(result)],
        "bond_lengths": _distances(result.bond_lengths),
        "bond_angles": _distances(result.bond_angles),
        "sizes": result.sizes,
        "real_data": data and _real_data(result.reference, data),
        "rdkit": result.rdkit,
    }


def _skipped(result: "Evaluation") -> Iterator[dict[str, Any]]:
    """The records that were skipped: which, why, where, and what was found there."""
    if result.records is None:  # of an earlier version
        return
    skipped = result.records.skipped
    texts = (chain.from_iterable(column) for column in (skipped.reasons, skipped.where, skipped.details))
    for index, reason, where, detail in zip(skipped.indices.tolist(), *texts, strict=True):
        yield {"index": index, "reason": str(reason), "where": str(where), "detail": str(detail)}


def _rates(rates: "Rates") -> dict[str, Any]:
    return {name: rate_object(rate) for name, rate in rates.items()}


def rate_object(rate: "Rate") -> dict[str, Any]:
    """A rate as JSON has it."""
    names = ("numerator", "denominator", "of", "low", "high", "level")
    return {"value": rate.value, **{name: getattr(rate, name) for name in names}}


def _failures(result: "Evaluation") -> list[tuple[str, int]]:
    """Why molecules are not valid or not stable, most frequent first."""
    found = Counter(reason for reason in result.verdicts.reasons if reason)
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _distances(distances: "Distances") -> dict[str, Any]:
    columns = (distances.kinds, distances.distances, distances.counts, distances.shares)
    kinds = [
        {"kind": kind, "distance": distance, "count": count, "share": share}
        for kind, distance, count, share in zip(*columns, strict=True)
    ]
    return {"mean": distances.mean, "kinds": kinds}


def _real_data(name: str, row: "ReferenceRow") -> dict[str, Any]:
    return {
        "name": name,
        "description": row.description,
        "molecules": row.n_molecules,
        "train": row.n_train,
        "train_in_all": row.n_train_in_all,
        "rates": _rates(row.rates),
        "bond_lengths": row.bond_lengths,
        "bond_angles": row.bond_angles,
        "sizes": row.sizes,
    }


def _evaluation_tables(result: "Evaluation", file: str, *, charges: bool) -> Iterator[Table | str]:
    data = result.real_data
    real = dict(data.rates.items()) if data else {}
    rows = [
        (name.replace("_", " "), percent(rate), interval(rate), fraction(rate), percent(real.get(name)))
        for name, rate in result.rates.items()
    ]
    yield Table(
        columns=("%", file, "95 % interval", "counted", f"{result.reference or 'real data'} itself"),
        rows=rows,
        title=f"{counted(result.n_molecules, 'molecule')} by protocol {result.protocol}",
    )
    failures = _failures(result)
    if failures:
        yield Table(
            columns=("not valid or not stable", "molecules"),
            rows=[*failures[:SHOWN_REASONS], *_others(failures[SHOWN_REASONS:])],
        )
    if data:
        yield Table(
            columns=(f"distance to {result.reference}'s", file, f"{result.reference} itself"),
            rows=[
                ("bond lengths, Å", result.bond_lengths.mean, data.bond_lengths),
                ("bond angles, degrees", result.bond_angles.mean, data.bond_angles),
                ("numbers of atoms", result.sizes, data.sizes),
            ],
        )
        n = counted(data.n_molecules, "molecule")
        yield f"{result.reference} itself: {data.description}, {n}. Distances are Wasserstein-1 of frequent kinds."
        if data.n_train < data.n_train_in_all:
            yield (
                f"Known molecules are {data.n_train:,} of the {data.n_train_in_all:,} of the training split, so that "
                "novel is an upper bound."
            )
    if charges and result.records is not None:
        yield _charges_line(result.n_molecules - result.n_unreadable, result.records.n_without_charge)
    if result.n_unreadable:
        yield from _skipped_parts(result)


def _charges_line(n_molecules: int, without: int) -> str:
    rest = f"; 0 for {without:,} of {counted(n_molecules, 'molecule')} without one" if without else ""
    return f"Total charge: as the file gives it{rest}."


def _skipped_parts(result: "Evaluation") -> Iterator[Table | str]:
    """How many records were skipped and why, in the words of other commands, and the first of them."""
    reasons = Counter(row["reason"] for row in _skipped(result))
    why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
    what = f": {why}." if why else "."
    yield f"Skipped {counted(result.n_unreadable, 'record')}, counted as failures{what}"
    yield from skipped_parts(_skipped(result), result.n_unreadable)


def _others(failures: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """All other reasons in one row, if there are any."""
    return [(counted(len(failures), "other reason"), sum(n for _, n in failures))] if failures else []


def percent(rate: "Rate | None") -> str:
    """A rate in percent."""
    return f"{100 * rate.value:.2f}" if rate is not None and rate.denominator else MISSING


def interval(rate: "Rate") -> str:
    """Its interval in percent."""
    return f"{100 * rate.low:.2f} – {100 * rate.high:.2f}" if rate.denominator else MISSING


def fraction(rate: "Rate") -> str:
    """What was counted, of what."""
    return f"{rate.numerator:,} of {rate.denominator:,} {rate.of}" if rate.denominator else MISSING


def _poses_tables(result: "PoseChecks", real: "PoseChecks | None", file: str, real_label: str) -> Iterator[Table | str]:
    beside = dict(zip(real.checks, real.rates, strict=True)) if real else {}
    rows = [("all checks", result.passes_all, real.passes_all if real else None)]
    rows += [
        (check.replace("_", " "), rate, beside.get(check))
        for check, rate in zip(result.checks, result.rates, strict=True)
    ]
    yield Table(
        columns=("passes, %", file, "95 % interval", "counted", f"{real_label} itself"),
        rows=[(name, percent(rate), interval(rate), fraction(rate), percent(other)) for name, rate, other in rows],
        title=f"PoseBusters {result.posebusters} on {_drawn(result)}",
    )


def _relaxation_tables(
    result: "Relaxation", real: "Relaxation | None", file: str, real_label: str
) -> Iterator[Table | str]:
    rows = [
        (label, *_estimate(getattr(result, name)), _estimate(getattr(real, name))[0] if real else MISSING)
        for label, name in _RELAXATION.items()
    ]
    yield Table(
        columns=("given to relaxed", file, "95 % interval", f"{real_label} itself"),
        rows=rows,
        title=f"GFN2-xTB relaxation of {_drawn(result)}",
    )
    yield f"Relaxed: {fraction(result.relaxed)}; the numbers are of these."
    reasons = sorted({reason for reason in result.reasons if reason})
    if reasons:
        counts = ", ".join(f"{result.reasons.count(reason):,} x {reason}" for reason in reasons)
        yield f"Not relaxed: {counts}."


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
