"""What `gaga evaluate` looks at in a sample, where it is asked for: PoseBusters' checks and relaxation at GFN2-xTB."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli.evaluate_reference import CHARGES, SHIPPED, Held, inputs_of
from gaga.cli.evaluate_report import fraction, interval, percent, rate_object
from gaga.cli.render import MISSING, Output, Table, stored, stored_line
from gaga.cli.results import Key, Outcome, slug
from gaga.cli.resuming import Resumption, compute_resumably
from gaga.core.text import counted

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int16

    from gaga.core.molecules import PackedMolecules
    from gaga.core.statistics import Interval
    from gaga.evaluation.sampled_checks import PoseChecks, Relaxation
    from gaga.storage.partial import PartialFile
    from gaga.storage.store import Store

    Charged = tuple[PackedMolecules, Int16[np.ndarray, " M"]]

POSEBUSTERS, RELAXATION = "posebusters", "relaxation"
KINDS = (POSEBUSTERS, RELAXATION)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How molecules are drawn and looked at.

    Attributes:
        sample_size: molecules drawn, at most.
        time_limit: seconds for one; None for what each kind takes.
        seed: of the draw.
        threads: processes.
        resume, replace: what is done about an interrupted run and a different result of the same name.
    """

    sample_size: int
    time_limit: float | None
    seed: int
    threads: int | None
    resume: bool
    replace: bool


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Molecules that are looked at.

    Attributes:
        label: how tables name them. name: of their results. inputs: what they are, by name and hash.
        molecules: reads them, and their total charges.
        data: whether they are the data that the others are held against.
    """

    label: str
    name: str
    inputs: Mapping[str, str]
    molecules: "Callable[[], Charged]"
    data: bool = False


@dataclass(frozen=True, kw_only=True)
class Extra:
    """One kind's result, and that of the data beside it where there is one."""

    kind: str
    outcome: Outcome[Any]
    real: Outcome[Any] | None
    real_label: str


def require(kinds: tuple[str, ...]) -> None:
    """Stop before the work where what it needs is not installed.

    Raises:
        Unavailable: posebusters or xtb is not installed.
    """
    from gaga.chem import xtb
    from gaga.chem.poses import require_posebusters

    if POSEBUSTERS in kinds:
        require_posebusters()
    if RELAXATION in kinds:
        xtb.require()


def subject_of_data(held: Held, cache: Path | None, output: Output) -> Subject | None:
    """The data set's own molecules: those of the split that its row is of. None where there are none at hand."""
    from gaga.evaluation.molecule_set import charges_of
    from gaga.evaluation.reference import picked, row_split

    data = held.data
    if data is None and held.name == SHIPPED:
        from gaga.cli.data import read_dataset
        from gaga.data import found_prepared

        if found_prepared(SHIPPED, cache) is None:
            output.note(f"The row of {SHIPPED} itself needs its molecules: gaga data prepare {SHIPPED}")
            return None
        data = read_dataset(SHIPPED, output, cache=cache)
    if data is None:
        return None
    own, _ = picked(data, row_split(data), len(data))
    charges, _ = charges_of(data)
    return Subject(
        label=data.name,
        name=f"{slug(data.name)}_data_{data.fingerprint[:8]}",
        inputs=inputs_of(data),
        molecules=lambda: (data.molecules.take(own), charges[own]),
        data=True,
    )


def look_at(
    kinds: tuple[str, ...], mine: Subject, data: Subject | None, sampling: Sampling, store: "Store", output: Output
) -> list[Extra]:
    """Each kind's result on the user's molecules and on the data, from the store where it is there."""
    return [
        Extra(
            kind=kind,
            outcome=_look(kind, mine, sampling, store, output),
            real=_look(kind, data, sampling, store, output) if data else None,
            real_label=data.label if data else "real data",
        )
        for kind in kinds
    ]


def _look(kind: str, subject: Subject, sampling: Sampling, store: "Store", output: Output) -> Outcome[Any]:
    from gaga.evaluation import sampled_checks

    how_of: dict[str, tuple[type[Any], Callable[..., Any], float]] = {
        POSEBUSTERS: (sampled_checks.PoseChecks, sampled_checks.check_poses, sampled_checks.POSES_TIME_LIMIT),
        RELAXATION: (
            sampled_checks.Relaxation,
            sampled_checks.relax_molecules,
            sampled_checks.RELAXATION_TIME_LIMIT,
        ),
    }
    as_type, compute, usual = how_of[kind]
    limit = sampling.time_limit or usual
    key = Key(
        kind=kind,
        name=subject.name,
        config={
            "sample_size": sampling.sample_size,
            "time_limit": limit,
            "of": "data" if subject.data else "file",
            **CHARGES,
        },
        inputs=subject.inputs,
        seed=sampling.seed,
    )
    with output.progress(f"{kind}, {subject.label}") as progress:

        def work(pieces: "PartialFile") -> Any:
            molecules, charges = subject.molecules()
            return compute(
                molecules,
                charges=charges,
                sample_size=sampling.sample_size,
                seed=sampling.seed,
                workers=sampling.threads,
                time_limit=limit,
                progress=progress,
                pieces=pieces,
            )

        how = Resumption(
            resume=None if subject.data else sampling.resume,
            replace=subject.data or sampling.replace,
            engine=lambda: _engine(kind),
            note=output.note,
        )
        return compute_resumably(store, key, as_type, work, how)


def _engine(kind: str) -> str:
    if kind == RELAXATION:
        return "xtb"
    from gaga.chem.poses import require_posebusters

    return f"posebusters {require_posebusters()}"


def payload(extra: Extra, store: Path) -> dict[str, Any]:
    """The result as JSON has it."""
    describe: Any = _poses_object if extra.kind == POSEBUSTERS else _relaxation_object
    return {
        "stored": stored(extra.outcome.entry, store, found=extra.outcome.found),
        **describe(extra.outcome.result),
        "real_data": extra.real and describe(extra.real.result),
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
    from dataclasses import asdict

    names = ("median_energy", "mean_energy", "median_rmsd", "mean_rmsd")
    return {
        "drawn": len(result.indices),
        "relaxed": rate_object(result.relaxed),
        **{name: asdict(getattr(result, name)) for name in names},
    }


def tables(extra: Extra, file: str, store: Path) -> Iterator[Table | str]:
    """The result as tables and sentences."""
    real = extra.real.result if extra.real else None
    make: Any = _poses_tables if extra.kind == POSEBUSTERS else _relaxation_tables
    yield from make(extra.outcome.result, real, file, extra.real_label)
    yield stored_line(extra.outcome.entry, store, found=extra.outcome.found)
    yield ""


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
    names = {
        "median energy, kcal/mol": "median_energy",
        "mean energy, kcal/mol": "mean_energy",
        "median RMSD, Å": "median_rmsd",
        "mean RMSD, Å": "mean_rmsd",
    }
    rows = [
        (label, *_estimate(getattr(result, name)), _estimate(getattr(real, name))[0] if real else MISSING)
        for label, name in names.items()
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
