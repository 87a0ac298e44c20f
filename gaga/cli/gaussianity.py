"""`gaga gaussianity`: noise molecules step by step, and test at each step how Gaussian they have become.

Example:
    gaga gaussianity --dataset qm9 --fraction 0.02
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.curves import payload, tables
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, open_store, stored, stored_line
from gaga.stats.config import GaussianityConfig

app = new_app()

Timesteps = Annotated[
    str | None,
    typer.Option(
        "--timesteps",
        metavar="STEPS",
        help="first:last:stride, or a list such as 300,400,550.  [default: 50:1000:50]",
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
OfModel = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Take the schedule and the features of this model instead.",
    ),
]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise usage_error(
            f"invalid value for --test-variances: {text!r}; write numbers, such as 2.04,0.0079"
        ) from error


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(","))


@app.command(
    cls=Command,
    epilog=examples(
        "gaga gaussianity --dataset qm9",
        "gaga gaussianity --dataset qm9 --fraction 0.02 --timesteps 100:1000:100 --name quick",
        "gaga gaussianity --dataset geom --until 0.002    as many conformers as that takes",
        "gaga gaussianity --dataset mine.sdf.gz --schedule cosine",
        "gaga gaussianity --dataset qm9 --checkpoint model.safetensors --name of_model",
        "gaga gaussianity --dataset qm9 --resume          resume it if it was interrupted",
    ),
)
@takes(GaussianityConfig, parsers={"test_variances": _numbers, "references": _kinds}, without=("timesteps",))
def gaussianity(
    dataset: options.Dataset = "qm9",
    split: options.Split = "all",
    fraction: options.Fraction = 1.0,
    timesteps: Timesteps = None,
    schedule: ScheduleName = "polynomial_2",
    checkpoint: OfModel = None,
    *,
    given: dict[str, Any],
    device: options.StatisticsDevice = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    resume: options.Resume = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Noise molecules with a schedule and test them step by step, and true Gaussians of the same sizes.

    Three tests: the published one of each molecule (KS and mutual information); the curves D_t and Dep_t over all
    molecules, for each reference Gaussian; and statistics that see molecules, the shape and the nearest neighbours,
    each against Gaussians of the same size. And what a start from a Gaussian costs in nats, as gaga price; gaga tstar
    reads the step from that, and prints what the others give beside it. With --until molecules
    come in random order until the interval of every curve at every step has that half-width; what is known is not
    measured on, and the published test is of the molecules before that.
    """
    if "until" in given and "n_null" in given:
        raise usage_error("--n-null goes without --until, which takes as many true Gaussians as molecules")
    options.use_threads(threads)
    from gaga.runs import gaussianity as runs
    from gaga.runs.once import Policy

    if timesteps is not None:
        given["timesteps"] = options.parse_steps(timesteps, last=options.LAST_STEP if checkpoint else 1000)
    request = runs.GaussianityRequest(
        dataset=dataset, split=split, fraction=fraction, schedule=schedule, checkpoint=checkpoint, device=device,
        config=GaussianityConfig(**given), name=name, seed=seed, threads=threads, cache=cache,
    )  # fmt: skip
    output = Output(json=json)
    outcome = runs.run(request, open_store(store), Policy(resume=resume, replace=replace), output)
    where = None if outcome.found else runs.engine_of(request)
    line = stored_line(outcome.entry, store, found=outcome.found)
    output.show(
        {"stored": stored(outcome.entry, store, found=outcome.found), "device": where, **payload(outcome.result)},
        *tables(outcome.result),
        line if where is None else f"{line} Computed on {where}.",
        f"Next: gaga tstar {outcome.entry.name}",
    )
