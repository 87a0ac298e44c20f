"""How a sampling run is shown: rates as a table and as JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli.render import Table

if TYPE_CHECKING:
    from gaga.models.sampling.record import SampleSummary


def payload(record: "SampleSummary") -> dict[str, Any]:
    """The record's counts and rates as JSON has them."""
    rates = {name: {"value": r.estimate, "low": r.low, "high": r.high} for name, r in record.rates().items()}
    return {
        "molecules": record.molecules,
        "written": record.written,
        "not_finite": record.not_finite,
        "products": record.products,
        "rates": rates,
        "by_seed": [{"seed": seed, **values} for seed, values in record.by_seed().items()],
    }


def summary(record: "SampleSummary", out: Path) -> Iterator[Table | str]:
    """A small table of rates, and what to do next."""
    rows = [(name.replace("_", " "), f"{100 * r.estimate:.1f}", f"{100 * r.low:.1f} – {100 * r.high:.1f}")
            for name, r in record.rates().items()]  # fmt: skip
    yield Table(columns=("%", out.name, "95 % interval"), rows=rows, title=f"{record.molecules:,} molecules drawn")
    seeds = record.by_seed()
    if len(seeds) > 1:
        names = list(next(iter(seeds.values())))
        by_seed = [(str(seed), *(f"{100 * values[name]:.1f}" for name in names)) for seed, values in seeds.items()]
        yield Table(columns=("seed", *(name.replace("_", " ") for name in names)), rows=by_seed, title="By seed, %")
    if record.not_finite:
        yield f"{record.not_finite:,} molecules were not finite; they count as failures."
    judge = f" Judge them: gaga evaluate {out}" if record.written and not out.name.lower().endswith(".smi") else ""
    yield f"Wrote {record.written:,} of {record.molecules:,} molecules to {out}.{judge}"
