"""`gaga quickstart`: the whole way on the real QM9, in minutes.

Example:
    gaga quickstart
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, Table
from gaga.cli.results import open_store

if TYPE_CHECKING:
    from gaga.models.sampling.record import SampleSummary
    from gaga.stats.tstar import TstarResult
    from gaga.stats.variance import VarianceResult
    from gaga.storage.store import Store

app = new_app()

FRACTION = 0.01
TIMESTEPS = "50:1000:50"


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What quickstart writes."""

    molecules: Path
    plot: Path
    store: Path


@app.command(cls=Command, epilog=examples("gaga quickstart", "gaga quickstart --n 50 --folder first_look"))
def quickstart(
    n: Annotated[
        int, typer.Option("--n", metavar="N", min=1, max=1000, show_default=True, help="How many molecules.")
    ] = 20,
    folder: Annotated[
        Path,
        typer.Option("--folder", metavar="FOLDER", show_default=True, help="Where files are written; made if missing."),
    ] = Path(),
    device: options.Device = "auto",
    store: Annotated[
        Path | None,
        typer.Option("--store", envvar="GAGA_STORE", metavar="FILE", help="Results.  [default: gaga.h5 in the folder]"),
    ] = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Statistics of the real QM9, T*, then molecules from the shipped model and how good they are.

    Writes mols.sdf, tstar.png and gaga.h5. Gaussianity is measured on 1 % of QM9; the whole of it ships with gaga.
    """
    options.use_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    files = _Files(molecules=folder / "mols.sdf", plot=folder / "tstar.png", store=store or folder / "gaga.h5")
    _check(files, overwrite=overwrite)
    output, results = Output(json=json), open_store(files.store)
    output.note("1/4  Variance of QM9: every convention, all 130,831 molecules.")
    variance = _variance(results, output, cache)
    output.note(f"2/4  Gaussianity under noise, on {FRACTION:.0%} of QM9, and T*.")
    tstar = _tstar(results, files, output, seed=seed, threads=threads, device=device, cache=cache)
    output.note(f"3/4  {n} molecules from the shipped model, which was trained to the paper's T* of 550.")
    record = _sample(results, files, n, output, seed=seed, device=device)
    output.note("4/4  How good they are, beside real molecules.")
    rates, real = _rates(files.molecules, seed)
    output.show(
        {
            "variance": variance,
            "tstar": {"value": tstar.tstar, "T": tstar.T, "estimator": tstar.estimator, "reference": tstar.reference},
            "molecules": record.molecules,
            "rates": rates,
            "real_data": real,
            "files": {"molecules": files.molecules, "plot": files.plot, "store": files.store},
        },
        Table(columns=("of QM9, mean over molecules", "value"), rows=list(variance.items())),
        _tstar_line(tstar),
        "",
        Table(
            columns=("%", f"{n} new molecules", "real QM9"),
            rows=[(name.replace("_", " "), f"{100 * rates[name]:.1f}", f"{100 * real[name]:.1f}") for name in rates],
            title="Quality by EDM's protocol",
        ),
        f"Open {files.molecules} in any viewer; {files.plot} shows the curves; gaga store list --store {files.store} "
        "shows what was kept.",
        "Next: gaga sample --n 1000 --out more.sdf, gaga train --dataset mine.sdf --max-t auto, gaga --help.",
    )


def _check(files: _Files, *, overwrite: bool) -> None:
    from gaga.storage.files import refuse_to_overwrite

    for path in (files.molecules, files.plot):
        refuse_to_overwrite(path, overwrite=overwrite)


def _variance(results: "Store", output: Output, cache: Path | None) -> dict[str, float]:
    from gaga.cli.data import read_dataset
    from gaga.cli.results import Key, compute_once
    from gaga.data.features import FeatureSpace
    from gaga.stats import variance as stats

    data = read_dataset("qm9", output, cache=cache)
    space = FeatureSpace(vocabulary=data.vocabulary)
    key = Key(kind="variance", name="quickstart", config={"split": "all"}, inputs={data.name: data.fingerprint})
    with output.progress("variance") as progress:
        outcome = compute_once(
            results, key, stats.VarianceResult, lambda: stats.variance(data.molecules, space, progress=progress),
            replace=True,
        )  # fmt: skip
    return _published_and_true(outcome.result)


def _published_and_true(result: "VarianceResult") -> dict[str, float]:
    everything = result.blocks.index("all")
    rows = {
        "standard deviation of all columns (published as the variance)": (result.standard_deviation_biased, everything)
    }
    rows |= {
        f"variance of {block} on the zero-mean subspace": (result.variance_subspace, i)
        for i, block in enumerate(result.blocks)
    }
    return {name: float(statistic.mean[i]) for name, (statistic, i) in rows.items()}


def _tstar(
    results: "Store", files: _Files, output: Output, *, seed: int, threads: int | None, device: str, cache: Path | None
) -> "TstarResult":
    from gaga.cli import gaussianity
    from gaga.stats.config import TstarConfig
    from gaga.stats.gaussianity import GaussianityResult
    from gaga.stats.plots import plot_tstar
    from gaga.stats.tstar import tstar as compute

    request = gaussianity.Request(
        fraction=FRACTION,
        timesteps=TIMESTEPS,
        name="quickstart",
        replace=True,
        seed=seed,
        threads=threads,
        # MPS has the network's float32, but not the statistics' float64.
        device="cpu" if device.lower() == "mps" else device,
        cache=cache,
        changes={"n_null": 1000},
    )
    measured = gaussianity.run(request, results.path, output)[0].result
    if not isinstance(measured, GaussianityResult):
        raise TypeError(type(measured).__name__)
    result = compute(measured, TstarConfig(), seed=seed)
    results.put("tstar", "quickstart", result, config={"of": "gaussianity/quickstart"}, seed=seed, replace=True)
    plot_tstar(result, measured, files.plot)
    return result


def _tstar_line(result: "TstarResult") -> str:
    found = (
        "no step passes"
        if result.tstar is None
        else f"T* = {result.tstar} of {result.T} (to {result.resolution} steps)"
    )
    return f"{found}, by {result.estimator}: {result.reason}"


def _sample(results: "Store", files: _Files, n: int, output: Output, *, seed: int, device: str) -> "SampleSummary":
    from gaga.cli.devices import torch_device
    from gaga.cli.sample import open_model
    from gaga.cli.sample_checks import Job
    from gaga.cli.sample_run import Source, run
    from gaga.models.api import SHIPPED_CHECKPOINT
    from gaga.models.checkpoint import file_digest
    from gaga.models.sampling.config import SampleConfig

    source = Source(path=SHIPPED_CHECKPOINT, why="shipped", digest=file_digest(SHIPPED_CHECKPOINT))
    model, source = open_model(
        source, device=torch_device(device), kernel="auto", precision="auto", dataset=None, cache=None, output=output
    )
    job = Job(out=files.molecules, n=n, seed=seed, repeats=1, keep="all", trajectory=0)
    done = run(job, SampleConfig(), model, source, results, output, overwrite=True, name="quickstart")
    assert done is not None  # noqa: S101 - cannot happen: this process is the only one
    return done.summary


def _rates(molecules: Path, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    from gaga.evaluation import evaluate

    result = evaluate(molecules, workers=1, seed=seed)
    real: Any = result.real_data
    names = ("atom_stable", "molecule_stable", "valid", "connected", "valid_and_unique", "novel")
    rates, of_data = dict(result.rates.items()), dict(real.rates.items())
    measured = {name: rates[name].value for name in names if rates[name].denominator}
    return measured, {name: of_data[name].value for name in measured}
