"""`gaga view`: molecules as a page that any browser opens, or as a picture.

Example:
    gaga view mols.sdf --out mols.html
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, attributes, open_store
from gaga.core.text import counted, human_bytes
from gaga.page.config import ViewConfig  # noqa: TID253 - loads nothing else

if TYPE_CHECKING:
    from gaga.runs.view import Viewed

app = new_app()


def _atoms(text: str) -> tuple[int, ...]:
    what = options.Numbers("--highlight", "atoms", "1-9 or 1-6,8 (numbered from 1)")
    return options.parse_numbers(text.replace("-", ":"), what, last=100_000)


@app.command(
    cls=Command,
    epilog=examples(
        "gaga view mols.sdf                       writes mols.html, which any browser opens",
        "gaga view mols.sdf --out mols.png        a picture of the first ones; .svg too",
        "gaga view mols_trajectory_0.xyz          plays it",
        "gaga view qm9 --first 1000 --out qm9.html",
        "gaga view sample/mols --out mols.html    molecules that are kept in the store",
        "gaga view mols.sdf --out ring.png --highlight 1-6",
    ),
)
@takes(ViewConfig, parsers={"highlight": _atoms}, defaults=("protocol", "dataset", "columns"))
def view(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Molecules: .sdf, .xyz, a folder of them, a prepared .h5, qm9, geom, or sample/NAME."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.html", help="A page, .png or .svg; by default a page next to FILE."),
    ] = None,
    *,
    given: Any,
    overwrite: options.Overwrite = False,
    store: options.StorePath = options.DEFAULT_STORE,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Show molecules: a table to filter and sort, drawings, 3D models, trajectories, and histograms beside the data's.

    The page is one file that needs no network. Atoms of a fragment that gaga sample --scaffold kept are coloured.
    """
    options.use_threads(1)  # in each of the processes; --threads is the number of processes
    from gaga.runs import view as runs

    request = runs.ViewRequest(
        source=source, out=out, config=ViewConfig(**given), overwrite=overwrite, seed=seed, threads=threads, cache=cache
    )
    output = Output(json=json)
    found = runs.run(request, open_store(store), output)
    payload = attributes(found, "out=path bytes=n_bytes molecules more drawn trajectories")
    output.show(payload, *_words(found))


def _words(found: "Viewed") -> list[str]:
    n, first = found.molecules, "the first " if found.more else ""
    lines = [f"Wrote {first}{counted(n, 'molecule')} to {found.path} ({human_bytes(found.n_bytes)})."]
    if found.more:
        lines.append("There are more; --first N shows N of them.")
    if found.drawn < n:
        lines.append(f"{counted(n - found.drawn, 'molecule')} cannot be drawn, and the reason stands there instead.")
    if found.path.suffix.lower() == ".html":
        lines.append("Open it in a browser; it needs no network.")
    return lines
