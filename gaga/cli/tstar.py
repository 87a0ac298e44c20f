"""`gaga tstar`: the step from which noised molecules are Gaussian enough, from stored Gaussianity results.

Example:
    gaga tstar identity_to_gaussian_qm9 --plot tstar.png
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import MISSING, Output, Table, attributes, by_row, header, open_store, stored, stored_line
from gaga.stats.config import TstarConfig

if TYPE_CHECKING:
    from gaga.stats.tstar import Calibrated, StepEstimate, TstarResult

app = new_app()

ESTIMATES = ("paper", "t_dependence", "t_distance", "mean", "quantile")

Wanted = Annotated[str, typer.Argument(metavar="NAME", help="A result of gaga gaussianity.")]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE.png", help="Draw the curves, the null and T* (.png, .pdf, .svg)."),
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga tstar identity_to_gaussian_qm9",
        "gaga tstar identity_to_gaussian_qm9 --plot tstar.png",
        "gaga tstar identity_to_gaussian_qm9 --eps-dep 0.02 --eps-ds 0.02 --name tstar_loose",
    ),
)
@takes(
    TstarConfig,
    spelled={"eps_dependence": "--eps-dep", "eps_distance": "--eps-ds"},
    without=("table", "n_resamples"),
)
def tstar(
    source: Wanted,
    *,
    given: dict[str, Any],
    plot: Plot = None,
    overwrite: options.Overwrite = False,
    device: options.StatisticsDevice = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """T* by three estimators, each with an interval and with what true Gaussians score.

    Results of QM9 ship with gaga. If NAME is not stored, but names a data set that gaga knows, its Gaussianity
    is computed first.
    """
    options.use_threads(threads)
    from gaga.runs import tstar as runs
    from gaga.runs.gaussianity import GaussianityRequest
    from gaga.runs.once import Policy
    from gaga.storage.images import check_plot

    output, results = Output(json=json), open_store(store)
    check_plot(plot, overwrite=overwrite)
    request = GaussianityRequest(seed=seed, threads=threads, device=device, cache=cache)
    entry = runs.find_or_measure(source, request, results, output)
    policy = Policy(replace=replace)
    outcome = runs.run(entry, TstarConfig(**given), results, policy, name=name, seed=seed)
    if plot is not None:
        runs.draw(outcome.result, entry, results, plot, output)
    output.show(
        {
            "stored": stored(outcome.entry, store, found=outcome.found),
            "gaussianity": header(entry),
            **_payload(outcome.result),
            "plot": plot,
        },
        *_tables(outcome.result),
        stored_line(outcome.entry, store, found=outcome.found),
    )


def _payload(result: "TstarResult") -> dict[str, Any]:
    names = "tstar T schedule estimator reference reason resolution consecutive quantile_level"
    return {
        **attributes(result, f"{names} eps_dependence eps_distance"),
        "estimates": {name: asdict(getattr(result, name)) for name in ESTIMATES},
        "table": _eps_rows(result),
    }


def _eps_rows(result: "TstarResult") -> list[dict[str, Any]]:
    """T* by thresholds; None if no step passes."""
    rows = by_row(**{name: column.tolist() for name, column in asdict(result.table).items()})
    return [{name: None if value < 0 else value for name, value in row.items()} for row in rows]


def _tables(result: "TstarResult") -> Iterator[Table | str]:
    yield Table(
        title="T*, each estimator with what true Gaussians of the same sizes score (null)",
        columns=("estimator", "T*", "interval", "never pass", "null", "null's interval", "null never pass"),
        rows=[_estimate_row(name, getattr(result, name)) for name in ESTIMATES],
    )
    rows = [tuple(row.values()) for row in _eps_rows(result)]
    yield Table(
        title=f"paper by its thresholds, reference {result.reference}",
        columns=("eps_dep, nats", "eps_DS", "T_ID", "T_DS", "T*"),
        rows=rows,
    )
    found = f"T* = {result.tstar} of {result.T}, to {result.resolution} steps" if result.tstar else "No step passes"
    yield f"{found}, by {result.estimator}: {result.reason}"


def _estimate_row(name: str, estimate: "Calibrated") -> tuple[object, ...]:
    label = {"t_dependence": "  T_ID", "t_distance": "  T_DS"}.get(name, name)
    return (label, *_cells(estimate.data), *_cells(estimate.null))


def _cells(step: "StepEstimate") -> tuple[object, ...]:
    low, high = ("later" if end is None else f"{end:.0f}" for end in (step.low, step.high))
    value = MISSING if step.value is None else f"{step.value:.0f}"
    return value, f"{low} – {high}", f"{100 * step.never:.1f} %"
