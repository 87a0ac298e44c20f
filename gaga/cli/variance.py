"""`gaga variance`: the variance of molecules, in every convention, each under its own name.

Example:
    gaga variance --dataset qm9
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, Table, attributes, by_row, open_store, stored, stored_line
from gaga.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gaga.stats.variance import MolecularStatistic, VarianceResult

app = new_app()

STATISTICS = (
    "standard_deviation_biased",
    "standard_deviation_unbiased",
    "standard_deviation_subspace",
    "variance_biased",
    "variance_unbiased",
    "variance_subspace",
)
EXPLANATION = (
    "Biased divides by d, the number of entries; unbiased by d - 1; subspace by N - 1 per column, which\n"
    "suits data of zero mean. What papers print as a variance, 0.848 for QM9 and 0.952 for GEOM-Drugs, is the\n"
    "mean of standard_deviation_biased, all columns."
)


@app.command(
    cls=Command,
    epilog=examples(
        "gaga variance --dataset qm9",
        "gaga variance --dataset mine.sdf.gz --by-size",
        "gaga variance --dataset qm9 --split train --name variance_qm9_train --json",
    ),
)
def variance(
    dataset: options.Dataset = "qm9",
    split: options.Split = "all",
    fraction: options.Fraction = 1.0,
    charges: Annotated[
        bool, typer.Option("--charges", help="Count nuclear charges as a third block, as EDM's models do.")
    ] = False,
    uncentred_types: Annotated[
        bool, typer.Option("--uncentred-types", help="Leave types as they are, as EDM's models do.")
    ] = False,
    by_size: Annotated[bool, typer.Option("--by-size", help="Print means by number of atoms too.")] = False,
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Variance and standard deviation of each molecule's positions, types and all columns.

    Biased, unbiased and on the zero-mean subspace: mean, spread and range over molecules, by number of atoms
    too. The per-molecule values are stored.
    """
    options.use_threads(threads)
    from gaga.runs import variance as runs
    from gaga.runs.once import Policy

    request = runs.VarianceRequest(
        dataset=dataset, split=split, fraction=fraction, include_charges=charges, centred_features=not uncentred_types,
        name=name, seed=seed, threads=threads, cache=cache,
    )  # fmt: skip
    output = Output(json=json)
    outcome = runs.run(request, open_store(store), Policy(replace=replace), output)
    published = runs.published(outcome)
    output.show(
        {
            "stored": stored(outcome.entry, store, found=outcome.found),
            **_payload(outcome.result),
            "published": published,
        },
        *_tables(outcome.result, published, by_size=by_size),
        EXPLANATION,
        stored_line(outcome.entry, store, found=outcome.found),
    )


def _statistics_table(result: "VarianceResult", published: "Mapping[str, float]") -> Table:
    """Every statistic and block; with the papers' numbers of this data set, if there are any, in the rows of theirs."""
    rows = [
        (name, block, s.mean[i], s.spread[i], s.minimum[i], s.maximum[i], *_printed(published, name, block))
        for name in STATISTICS
        for i, block in enumerate(result.blocks)
        for s in [getattr(result, name)]
    ]
    columns = ("per molecule", "block", "mean", "spread", "minimum", "maximum", 'published as "variance"')
    return Table(
        columns=columns if published else columns[:-1],
        rows=rows,
        title=f"Over {counted(result.n_molecules, 'molecule')}",
        digits=5,
    )


def _printed(published: "Mapping[str, float]", name: str, block: str) -> tuple[str, ...]:
    """The cell of what papers print, with their digits; none if they print nothing of this data set."""
    if not published:
        return ()
    return (f"{published[block]:.3f}" if name == STATISTICS[0] and block in published else "",)


def _payload(result: "VarianceResult") -> dict[str, Any]:
    return {
        "molecules": result.n_molecules,
        "blocks": result.blocks,
        "statistics": {name: _summaries(getattr(result, name), result.blocks) for name in STATISTICS},
        "by_size": [_size_row(result, i) for i in range(len(result.sizes))],
    }


def _summaries(statistic: "MolecularStatistic", blocks: tuple[str, ...]) -> dict[str, Any]:
    rows = by_row(**attributes(statistic, "mean spread minimum maximum molecules=counted"))
    return dict(zip(blocks, rows, strict=True))


def _size_row(result: "VarianceResult", i: int) -> dict[str, Any]:
    means = {name: dict(zip(result.blocks, getattr(result, name).mean_by_size[i], strict=True)) for name in STATISTICS}
    return {"n_atoms": result.sizes[i], "molecules": result.molecules_by_size[i], "statistics": means}


def _tables(result: "VarianceResult", published: "Mapping[str, float] | None", *, by_size: bool) -> Iterator[Table]:
    yield _statistics_table(result, published or {})
    if by_size:
        sizes = zip(result.sizes, result.molecules_by_size, result.variance_subspace.mean_by_size, strict=True)
        rows = [(n, count, *mean) for n, count, mean in sizes]
        head = ("atoms", "molecules", *result.blocks)
        yield Table(columns=head, rows=rows, title="Mean variance_subspace by size", digits=5)
