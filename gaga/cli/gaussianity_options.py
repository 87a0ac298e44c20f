"""The options of `gaga gaussianity`."""

from pathlib import Path
from typing import Annotated

import typer

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
