"""`gaga quickstart`: the whole way on the real QM9, in minutes.

Example:
    gaga quickstart
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, Table

if TYPE_CHECKING:
    from gaga.stats.tstar import TstarResult

app = new_app()


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

    Writes mols.sdf, mols.html, tstar.png and gaga.h5. Gaussianity is measured on 1 % of QM9; that of the whole ships
    with gaga.
    """
    options.use_threads(threads)
    from gaga.runs import quickstart as runs

    folder.mkdir(parents=True, exist_ok=True)
    files = runs.Files(
        molecules=folder / "mols.sdf", plot=folder / "tstar.png", page=folder / "mols.html",
        store=store or folder / "gaga.h5",
    )  # fmt: skip
    output = Output(json=json)
    found = runs.run(files, output, n=n, seed=seed, threads=threads, device=device, overwrite=overwrite, cache=cache)
    tstar, rates, real = found.tstar, found.rates, found.real
    output.show(
        {
            "variance": found.variance,
            "tstar": {"value": tstar.tstar, "T": tstar.T, "estimator": tstar.estimator, "reference": tstar.reference},
            "molecules": found.drawn.molecules,
            "rates": rates,
            "real_data": real,
            "files": {"molecules": files.molecules, "plot": files.plot, "page": files.page, "store": files.store},
        },
        Table(columns=("of QM9, mean over molecules", "value"), rows=list(found.variance.items())),
        _tstar_line(tstar),
        "",
        Table(
            columns=("%", f"{n} new molecules", "real QM9"),
            rows=[(name.replace("_", " "), f"{100 * rates[name]:.1f}", f"{100 * real[name]:.1f}") for name in rates],
            title="Quality by EDM's protocol",
        ),
        f"Open {files.page} in a browser to see the molecules, which are in {files.molecules}; {files.plot} shows the "
        f"curves; gaga store list --store {files.store} shows what was kept.",
        "Next: gaga sample --n 1000 --out more.sdf, gaga train --dataset mine.sdf --max-t auto, gaga --help.",
    )


def _tstar_line(result: "TstarResult") -> str:
    to = "" if result.resolution == 1 else f" (to {result.resolution} steps)"
    found = "no step passes" if result.tstar is None else f"T* = {result.tstar} of {result.T}{to}"
    return f"{found}, by {result.estimator}: {result.reason}"
