"""`gaga price`: what starting at T* from a Gaussian costs, in nats per molecule, from the data alone.

Example:
    gaga price --dataset qm9
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, Table, attributes, open_store, stored, stored_line
from gaga.core.text import counted
from gaga.stats.price_config import AGAINST, TOLERANCES, PriceConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gaga.runs.price import Bound
    from gaga.stats.price import PriceResult

app = new_app()

STEPS = (250, 350, 450, 550, 650, 700, 800, 850, 900)
FEW = 50  # molecules of a size
WHAT_IT_IS = {
    "matched": (
        "An estimate, no bound: the leading term of an expansion around the Gaussian. Heavy tails make it too large,\n"
        "about twice at 1 nat; of many nats it only says far. A network's bound (gaga truncation) lies below the truth."
    ),
    "shape": (
        "An estimate, no bound, from cumulants up to the fourth, which see no bonds. Before step {bonds} these show:\n"
        "there it is too small, and a T* too early (docs/TSTAR.md). Long molecules make it too large.\n"
        "library: what the at most 256 molecules of a size that a model starts from have by chance."
    ),
}
STARTS = {
    "matched": ("the matched Gaussian", "a Gaussian in place of the noised molecules costs"),
    "shape": ("random shapes", "random shapes in place of the noised molecules cost"),
}

Timesteps = Annotated[
    str | None,
    typer.Option(
        "--timesteps",
        metavar="STEPS",
        help=f"Steps of the tables.  [default: {','.join(map(str, STEPS))}]",
    ),
]
Tolerance = Annotated[
    list[float] | None,
    typer.Option(
        "--tolerance",
        metavar="NATS",
        help="Print T* for this price; may be repeated.  [default: 0.1 0.3 1]",
        callback=lambda values: [options.positive(value) for value in values or ()],
    ),
]
ScheduleName = Annotated[
    str,
    typer.Option(
        "--schedule",
        metavar="polynomial_2|cosine",
        show_default=True,
        help="Noise schedule, of 1000 steps.",
    ),
]
Against = Annotated[
    str,
    typer.Option(
        "--against",
        metavar="|".join(AGAINST),
        show_default=True,
        help="What is started from: the best Gaussian, or random shapes of such molecules (gaga sample --start shape).",
    ),
]
BoundName = Annotated[
    str | None,
    typer.Option(
        "--bound",
        metavar="NAME",
        help="Show the lower bound of a network beside it: a result of gaga truncation.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE.png", help="Draw nats over steps and T* (.png, .pdf, .svg)."),
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga price --dataset qm9",
        "gaga price --dataset mine.sdf.gz --tolerance 0.5 --plot price.png",
        "gaga price --dataset qm9 --bound truncation_qm9    a network's bound beside it",
        "gaga price --dataset qm9 --against shape           of a start from random shapes",
    ),
)
@takes(PriceConfig, defaults=("n_pairs",), without=("n_resamples", "level"))
def price(
    dataset: options.Dataset = "qm9",
    split: options.Split = "all",
    fraction: options.Fraction = 1.0,
    schedule: ScheduleName = "polynomial_2",
    timesteps: Timesteps = None,
    tolerance: Tolerance = None,
    against: Against = AGAINST[0],
    bound: BoundName = None,
    *,
    given: dict[str, Any],
    plot: Plot = None,
    overwrite: options.Overwrite = False,
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    resume: options.Resume = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """How far noised molecules are from the best Gaussian at each step, in nats per molecule, without a network.

    From the third and fourth cumulants of the molecules, by number of atoms (Proposition 3.1 of GAGA): averaged over
    order and orientation, known at every step from one pass over pairs of molecules. T* is the first step from which
    the price stays within a tolerance. With --against shape: how far they are from random shapes of such molecules.
    """
    if bound is not None and against != AGAINST[0]:
        raise usage_error("--bound is of a start from a Gaussian: it goes without --against shape")
    options.use_threads(threads)
    from gaga.runs import price as runs
    from gaga.runs.once import Policy
    from gaga.storage.images import check_plot

    output, results = Output(json=json), open_store(store)
    check_plot(plot, overwrite=overwrite)
    steps = STEPS if timesteps is None else options.parse_steps(timesteps, last=1000)
    tolerances = tuple(sorted(set(tolerance or TOLERANCES)))
    bounds = {} if bound is None else runs.network_bound(results, bound)
    request = runs.PriceRequest(
        dataset=dataset, split=split, fraction=fraction, schedule=schedule, against=against,
        config=PriceConfig(**given), name=name, seed=seed, threads=threads, cache=cache,
    )  # fmt: skip
    outcome = runs.run(request, results, Policy(resume=resume, replace=replace), output)
    if plot is not None:
        runs.draw(outcome.result, tolerances, bounds, plot, output)
    head = {"stored": stored(outcome.entry, store, found=outcome.found)}
    output.show(
        {**head, **_payload(outcome.result, steps, tolerances, bounds), "plot": plot},
        *_tables(outcome.result, steps, tolerances, bounds),
        stored_line(outcome.entry, store, found=outcome.found),
        *_answer(outcome.result, tolerances, dataset),
    )


def _payload(
    result: "PriceResult", steps: tuple[int, ...], tolerances: tuple[float, ...], bounds: "Mapping[int, Bound]"
) -> dict[str, Any]:
    from gaga.stats.price_curve import tstar_by_price

    return {
        **attributes(result, "against schedule molecules=n_molecules left_out=n_left_out pairs=n_pairs level"),
        "steps": [
            {
                "t": t,
                "alpha2": result.alpha2[t],
                **{end: getattr(result.price, end)[t] for end in ("nats", "low", "high", "spread")},
                "terms": dict(zip(result.terms, result.by_term[t], strict=True)),
                "network": bounds[t].nats if t in bounds else None,
            }
            for t in steps
        ],
        "tstar": [
            {"tolerance": tolerance, **tstar_by_price(result.price, tolerance)._asdict()} for tolerance in tolerances
        ],
        "by_size": [_of_size(result, i, steps, tolerances) for i in range(len(result.sizes))],
    }


def _of_size(result: "PriceResult", i: int, steps: tuple[int, ...], tolerances: tuple[float, ...]) -> dict[str, Any]:
    from gaga.stats.price_curve import tstar_by_price

    n_atoms = int(result.sizes[i])
    curve = result.curve_of(n_atoms)
    ends = {"value": result.squares, "low": result.squares_low, "high": result.squares_high}
    return {
        "n_atoms": n_atoms,
        "molecules": result.molecules[i],
        "borrowed": bool(result.borrowed[i]),
        "window": result.window[i],
        "steps": [{"t": t, "nats": curve.nats[t], "low": curve.low[t], "high": curve.high[t]} for t in steps],
        "tstar": [{"tolerance": nats, **tstar_by_price(curve, nats)._asdict()} for nats in tolerances],
        "squared_norms": {
            norm: {end: values[i, k] for end, values in ends.items()}
            for k, norm in enumerate(("types_offdiag", *result.terms[:5]))
        },
    }


def _tables(
    result: "PriceResult", steps: tuple[int, ...], tolerances: tuple[float, ...], bounds: "Mapping[int, Bound]"
) -> Iterator[Table | str]:
    from gaga.stats.price_curve import tstar_by_price

    level = f"{100 * result.level:g} % interval"
    beside = ("network, at least",) if bounds else ()
    start, others = STARTS[result.against][0], "types" if result.against == AGAINST[0] else "library"
    yield Table(
        title=f"Price of starting at t from {start}, nats per molecule; {result.n_molecules:,} molecules",
        columns=("t", "alpha²", "price", "s.e.", level, "positions", "positions with types", others, *beside),
        rows=[_step_row(result, t, bounds) for t in steps],
        digits=3,
    )
    yield Table(
        title=f"The same by number of atoms, and T* at {_nats(tolerances[-1])}",
        columns=("atoms", "molecules", *(f"t = {t}" for t in steps), "T*", level),
        rows=list(_size_rows(result, steps, tolerances[-1])),
        digits=3,
    )
    yield Table(
        title="T*: from this step on the price stays within the tolerance",
        columns=("tolerance, nats", "T*", level, "steps left out"),
        rows=[_tstar_row(result, nats, *tstar_by_price(result.price, nats)) for nats in tolerances],
    )
    yield WHAT_IT_IS[result.against].format(bonds=result.bonds_show)
    yield from _few_molecules(result)


def _step_row(result: "PriceResult", t: int, bounds: "Mapping[int, Bound]") -> tuple[object, ...]:
    price, terms = result.price, result.by_term[t]
    there = bounds.get(t)
    beside = (f"{there.nats:.3g} ({there.low:.3g} – {there.high:.3g})" if there else None,) if bounds else ()
    return (
        t, result.alpha2[t], price.nats[t], price.spread[t], f"{price.low[t]:.3g} – {price.high[t]:.3g}",
        terms[0], terms[1] + terms[2], terms[3:].sum(), *beside,
    )  # fmt: skip


def _size_rows(result: "PriceResult", steps: tuple[int, ...], tolerance: float) -> Iterator[tuple[object, ...]]:
    """A row for each number of atoms; one for several in a row that have the same molecules around them."""
    from itertools import groupby

    from gaga.stats.price_curve import tstar_by_price

    for _, group in groupby(range(len(result.sizes)), key=lambda i: result.nats_by_size[i].tobytes()):
        rows = list(group)
        first, last = result.sizes[rows[0]], result.sizes[rows[-1]]
        width = int(result.window[rows[0]])
        label = f"{first} – {last}" if len(rows) > 1 else f"{first} ± {width}" if width else f"{first}"
        curve = result.curve_of(int(first))
        t, low, high = tstar_by_price(curve, tolerance)
        prices = (curve.nats[t] for t in steps)
        yield label, int(result.molecules[rows].sum()), *prices, _whole(t), _ends(low, high)


def _nats(tolerance: float) -> str:
    return f"{tolerance:g} nat{'' if tolerance == 1 else 's'}"


def _whole(t: float | None) -> int | None:
    """The first whole step that is not before it."""
    return None if t is None else math.ceil(t)


def _ends(low: float | None, high: float | None) -> str:
    return " – ".join("never" if end is None else f"{end:.0f}" for end in (low, high))


def _tstar_row(
    result: "PriceResult", tolerance: float, t: float | None, low: float | None, high: float | None
) -> tuple[object, ...]:
    left_out = "" if t is None else f"{100 * (1 - t / result.T):.0f} %"
    return tolerance, _whole(t), _ends(low, high), left_out


def _few_molecules(result: "PriceResult") -> Iterator[str]:
    """What few molecules of a size mean, in sentences."""
    few = int((result.molecules < FEW).sum())
    if few:
        yield (
            f"{few} of {counted(len(result.sizes), 'number')} of atoms have fewer than {FEW} molecules: their rows are "
            f"means over {FEW} molecules of sizes around theirs.\nA few long or flat molecules make most of a price: "
            f"intervals know those that are in the data, not those that are missing."
        )


def _answer(result: "PriceResult", tolerances: tuple[float, ...], dataset: str) -> Iterator[str]:
    """What it means, in a sentence, and the next command."""
    from gaga.stats.price_curve import tstar_by_price

    tolerance = 1.0 if 1.0 in tolerances else tolerances[-1]
    found = tstar_by_price(result.price, tolerance)
    if result.against != AGAINST[0]:  # the largest tolerance at which the estimate is to be trusted
        every = [(nats, tstar_by_price(result.price, nats)) for nats in tolerances if nats <= tolerance]
        late = [(nats, t) for nats, t in every if t.t is None or t.t >= result.bonds_show]
        tolerance, found = (late or every)[-1]
    if found.t is None:
        yield f"At no step is the price within {_nats(tolerance)}."
        return
    step, then = _whole(found.t), "" if result.against == AGAINST[0] else ", then gaga sample --start shape"
    yield (
        f"T* = {step} of {result.T}: from there on {STARTS[result.against][1]} by this "
        f"estimate at most\n{_nats(tolerance)} a molecule (positions and types, averaged over sizes); "
        f"{100 * result.level:g} % interval {_ends(found.low, found.high)}."
    )
    if step:
        yield f"Next: gaga train --dataset {dataset} --max-t {step}{then}"
