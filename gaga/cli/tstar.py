"""`gaga tstar`: the step from which noised molecules are Gaussian enough, from stored results.

Example:
    gaga tstar identity_to_gaussian_qm9 --plot tstar.png
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, header, open_store, stored, stored_line
from gaga.cli.tstar_report import answer, payload, tables
from gaga.stats.config import TstarConfig

app = new_app()

Wanted = Annotated[str, typer.Argument(metavar="NAME", help="A result of gaga gaussianity or gaga price.")]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE.png", help="Draw the curves, the null and T* (.png, .pdf, .svg)."),
]
BySize = Annotated[
    bool, typer.Option("--by-size", help="Print T* of each number of atoms at the same price per molecule.")
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga tstar identity_to_gaussian_qm9",
        "gaga tstar identity_to_gaussian_qm9 --tolerance 0.3 --by-size",
        "gaga tstar identity_to_gaussian_qm9 --plot tstar.png",
        "gaga tstar identity_to_gaussian_qm9 --estimator paper    the rule of GAGA's paper",
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
    by_size: BySize = False,
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
    """The step from which noised molecules may be replaced by a Gaussian, by five rules, and what it means.

    By default the rule is price: T* is the first step from which a start from a Gaussian costs at most --tolerance
    nats a molecule. Beside it are effects (shape, nearest neighbours, marginals, coupling), paper, which is
    max(T_ID, T_DS), and the mean and the quantile of the published test; true Gaussians are put to the last three too.
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
    outcome = runs.run(entry, TstarConfig(**given), results, policy, name=name, seed=seed, report=output)
    if plot is not None:
        runs.draw(outcome.result, entry, results, plot, output)
    output.show(
        {
            "stored": stored(outcome.entry, store, found=outcome.found),
            "gaussianity": header(entry),
            **payload(outcome.result),
            "plot": plot,
        },
        *tables(outcome.result, by_size=by_size),
        stored_line(outcome.entry, store, found=outcome.found),
        *answer(outcome.result, entry.config),
    )
