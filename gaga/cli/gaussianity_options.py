"""The options of `gaga gaussianity`."""

from pathlib import Path
from typing import Annotated

import typer

from gaga.cli import options

_TEST, _CURVES = "The published per-molecule test", "The curves D_t and Dep_t"

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
Alpha = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        metavar="LEVEL",
        callback=options.between(0, 1),
        rich_help_panel=_TEST,
        help="Level of the KS test.  [default: 0.05]",
    ),
]
MiThreshold = Annotated[
    float | None,
    typer.Option(
        "--mi-threshold",
        metavar="NATS",
        callback=options.positive,
        rich_help_panel=_TEST,
        help="Mean pairwise mutual information below which a molecule passes.  [default: 0.1]",
    ),
]
KPositions = Annotated[
    int | None,
    typer.Option(
        "--k-positions",
        metavar="K",
        min=1,
        rich_help_panel=_TEST,
        help="Neighbours for positions.  [default: 2]",
    ),
]
KTypes = Annotated[
    int | None,
    typer.Option(
        "--k-types",
        metavar="K",
        min=1,
        rich_help_panel=_TEST,
        help="Neighbours for types.  [default: 3]",
    ),
]
TestVariances = Annotated[
    str | None,
    typer.Option(
        "--test-variances",
        metavar="V,V",
        rich_help_panel=_TEST,
        help="Variances to standardise with, by block; by default what was published, mean deviations.",
    ),
]
References = Annotated[
    str | None,
    typer.Option(
        "--references",
        metavar="KINDS",
        rich_help_panel=_CURVES,
        help="Some of published,scalar,block,size,matched,prior; by default all.",
    ),
]
NNull = Annotated[
    int | None,
    typer.Option(
        "--n-null",
        metavar="N",
        min=2,
        rich_help_panel=_CURVES,
        help="Number of true Gaussian molecules.  [default: 10000]",
    ),
]
NResamples = Annotated[
    int | None,
    typer.Option(
        "--n-resamples",
        metavar="N",
        min=2,
        rich_help_panel=_CURVES,
        help="Bootstrap resamples.  [default: 200]",
    ),
]
Level = Annotated[
    float | None,
    typer.Option(
        "--level",
        metavar="LEVEL",
        callback=options.between(0, 1),
        rich_help_panel=_CURVES,
        help="Level of intervals.  [default: 0.95]",
    ),
]
Until = Annotated[
    float | None,
    typer.Option(
        "--until",
        metavar="WIDTH",
        callback=options.between(0, 1),
        rich_help_panel=_CURVES,
        help="Use no more molecules than it takes to know every curve to ± this.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        show_default=True,
        rich_help_panel="This run",
        help="Where the statistics are computed; the results are the same.",
    ),
]
