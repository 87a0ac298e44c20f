"""`gaga tstar`: the step from which noised molecules are Gaussian enough, from stored Gaussianity results.

Example:
    gaga tstar identity_to_gaussian_qm9 --plot tstar.png
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import gaussianity, gaussianity_options, options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import MISSING, Output, Table, header, stored, stored_line
from gaga.cli.results import Key, Outcome, compute_once, open_store, slug
from gaga.core.errors import Conflict
from gaga.stats.config import TstarConfig

if TYPE_CHECKING:
    from gaga.stats.tstar import Calibrated, StepEstimate, TstarResult
    from gaga.storage.store import Entry, Store

app = new_app()

KIND, PREFIX = "tstar", "tstar_"
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
    device: gaussianity_options.Device = gaussianity.Request.device,
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """T* by three estimators, each with an interval and beside what true Gaussians score.

    Results of QM9 ship with gaga. Where NAME is not stored, but names a data set that gaga knows, its Gaussianity
    is computed first.
    """
    options.use_threads(threads)
    if plot is not None:
        check_plot(plot, overwrite=overwrite)
    output = Output(json=json)
    results = open_store(store)
    request = gaussianity.Request(seed=seed, threads=threads, device=device, cache=cache)
    entry = _source(results, source, request, output)
    outcome = _compute(results, entry, given, name=name, replace=replace, seed=seed)
    if plot is not None:
        _draw(results, entry, outcome.result, plot, output)
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


def stored_tstar(results: "Store", name: str) -> "tuple[Entry, TstarResult]":
    """The stored T* of that name.

    Raises:
        NotFound: there is none.
    """
    from gaga.stats.tstar import TstarResult

    entry = results.require(KIND, name)
    return entry, results.get(KIND, name, TstarResult)


def default_tstar(results: "Store", dataset: str, *, cache: Path | None, output: Output) -> "tuple[Entry, TstarResult]":
    """T* of a data set: the stored one of its name, else computed by default settings, with what that lacks.

    Raises:
        Conflict: the stored Gaussianity of that name is of other molecules, or of other type columns.
    """
    from gaga.cli.data import read_dataset
    from gaga.stats.tstar import TstarResult

    data = read_dataset(dataset, output, cache=cache)
    request = gaussianity.Request(dataset=dataset, cache=cache)
    measured = f"{gaussianity.PREFIX}{slug(data.name)}"
    source = results.find(gaussianity.KIND, measured) or gaussianity.run(request, results.path, output)[0].entry
    if source.inputs.get(data.name) != data.fingerprint:
        raise Conflict(
            f"the stored {gaussianity.KIND}/{source.name} is of other molecules than {dataset} holds now",
            remedy=f"run gaga gaussianity --dataset {dataset} --replace",
        )
    columns = source.config.get("vocabulary", list(data.vocabulary))
    if list(columns) != list(data.vocabulary):
        raise Conflict(
            f"the stored {gaussianity.KIND}/{source.name} has the type columns of another vocabulary than {dataset}",
            remedy=f"run gaga gaussianity --dataset {dataset} --replace",
        )
    output.note(f"T* from {gaussianity.KIND}/{source.name}, measured on {_measured_on(source.config)} {data.name}.")
    there = results.find(KIND, f"{PREFIX}{slug(data.name)}")
    if there is not None and there.inputs.get(f"{source.kind}/{source.name}") == source.digest:
        return there, results.get(KIND, there.name, TstarResult)
    outcome = _compute(results, source, {}, name=None, replace=there is not None, seed=0)
    return outcome.entry, outcome.result


def _measured_on(config: Mapping[str, Any]) -> str:
    """Such as "2 % of"."""
    share = f"{100 * config.get('fraction', 1.0):.3g} % of"
    return f"what it takes to know it to ± {config['until']:g}, within {share}" if "until" in config else share


def _source(results: "Store", name: str, request: gaussianity.Request, output: Output) -> "Entry":
    """The Gaussianity result of that name, computed where it is not there and its name says of which data set."""
    from dataclasses import replace

    from gaga.data.loading import NAMES

    entry = results.find(gaussianity.KIND, name)
    dataset = name.casefold().removeprefix(gaussianity.PREFIX)
    if entry is None and dataset in NAMES and dataset != name.casefold():
        output.note(f"No gaussianity result {name} yet: computing it, as gaga gaussianity --dataset {dataset} does.")
        entry = gaussianity.run(replace(request, dataset=dataset, name=name), results.path, output)[0].entry
    entry = entry or results.require(gaussianity.KIND, name)
    if entry.shipped:
        output.note(f"Read gaussianity/{entry.name} from the results that ship with gaga.")
    return entry


def _compute(
    results: "Store", entry: "Entry", changes: dict[str, Any], *, name: str | None, replace: bool, seed: int
) -> "Outcome[TstarResult]":
    from gaga.stats.gaussianity import GaussianityResult
    from gaga.stats.tstar import TstarResult
    from gaga.stats.tstar import tstar as compute

    config = TstarConfig(**changes)
    key = Key(
        kind=KIND,
        name=name or _default_name(entry, config),
        config=asdict(config),
        inputs={f"{entry.kind}/{entry.name}": entry.digest},
        seed=seed,
    )

    def work() -> TstarResult:
        return compute(results.get(entry.kind, entry.name, GaussianityResult), config, seed=seed)

    return compute_once(results, key, TstarResult, work, replace=replace)


def _default_name(entry: "Entry", config: "TstarConfig") -> str:
    """tstar_qm9, and with settings that differ from the defaults their hash behind it."""
    import hashlib

    plain = f"{PREFIX}{entry.name.removeprefix(gaussianity.PREFIX)}"
    return plain if config == TstarConfig() else f"{plain}_{hashlib.sha256(repr(config).encode()).hexdigest()[:6]}"


def check_plot(path: Path, *, overwrite: bool) -> None:
    """Refuse before the work a plot that could not be written after it."""
    from gaga.core.errors import InvalidInput, NotFound
    from gaga.storage.files import refuse_to_overwrite, require_writable

    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InvalidInput("a plot is a .png, .pdf or .svg", received=path)
    if not path.absolute().parent.is_dir():
        raise NotFound("the folder of the plot does not exist", received=path.parent, remedy="create it first")
    refuse_to_overwrite(path, overwrite=overwrite)
    require_writable(path)


def _draw(results: "Store", entry: "Entry", result: "TstarResult", path: Path, output: Output) -> None:
    from gaga.stats.gaussianity import GaussianityResult
    from gaga.stats.plots import plot_tstar

    curves: GaussianityResult = results.get(entry.kind, entry.name, GaussianityResult)
    plot_tstar(result, curves, path)
    output.note(f"Drew {path}.")


def _payload(result: "TstarResult") -> dict[str, Any]:
    names = (
        "tstar",
        "T",
        "schedule",
        "estimator",
        "reference",
        "reason",
        "resolution",
        "consecutive",
        "quantile_level",
        "eps_dependence",
        "eps_distance",
    )
    return {
        **{name: getattr(result, name) for name in names},
        "estimates": {name: asdict(getattr(result, name)) for name in ESTIMATES},
        "table": list(_eps_rows(result)),
    }


def _eps_rows(result: "TstarResult") -> Iterator[dict[str, Any]]:
    """T* by thresholds; None where no step passes."""
    table = asdict(result.table)
    for i in range(len(result.table.tstar)):
        row = {name: column[i].item() for name, column in table.items()}
        yield {name: None if value < 0 else value for name, value in row.items()}


def _tables(result: "TstarResult") -> Iterator[Table | str]:
    yield Table(
        title="T*, each estimator beside what true Gaussians of the same sizes score (null)",
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
