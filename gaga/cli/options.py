"""Options that commands share, each defined once; a command names them as the types of its parameters."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from gaga.cli.errors import usage_error
from gaga.core.errors import InvalidInput
from gaga.core.text import legible

_WHERE = RESULTS = "Results"
_RUN = "This run"


def between(low: float, high: float) -> Callable[[float | None], float | None]:
    """A callback that lets numbers in the open interval (low, high) through, and none at all."""

    def check(value: float | None) -> float | None:
        if value is not None and not low < value < high:
            raise typer.BadParameter(f"{value:g} is not between {low:g} and {high:g}, ends excluded.")
        return value

    return check


def positive(value: float | None) -> float | None:
    """A callback that lets numbers above 0 through, and none at all."""
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value:g} is not a number above 0.")
    return value


SPLITS = ("train", "valid", "test", "all")


def check_split(split: str) -> str:
    """The split in lower case.

    Raises:
        UsageError: there is no such split.
    """
    if split.lower() not in SPLITS:
        raise usage_error(f"invalid value for --split: {split!r}; choose from {', '.join(SPLITS)}")
    return split.lower()


def check_fraction(fraction: float) -> float:
    """The fraction if it is above 0 and at most 1.

    Raises:
        UsageError: it is not.
    """
    if not 0.0 < fraction <= 1.0:
        raise usage_error(f"invalid value for --fraction: {fraction:g} is not above 0 and at most 1")
    return fraction


def device_name(name: str) -> str:
    """The name, if it is one of a device.

    Raises:
        UsageError: it is none of auto, cpu, cuda, cuda:N, mps.
    """
    from gaga.runs.devices import parse_device

    try:
        parse_device(name)
    except InvalidInput as error:
        raise usage_error(f"invalid value for --device: {name!r}; {error.remedy}") from error
    return name


Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME|PATH",
        show_default=True,
        help="qm9, geom, or your own molecules: .sdf, .sdf.gz, .xyz, a folder of them, or a prepared .h5.",
    ),
]
Split = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="|".join(SPLITS),
        show_default=True,
        help="Which molecules are used.",
        callback=check_split,
    ),
]
Fraction = Annotated[
    float,
    typer.Option(
        "--fraction",
        metavar="NUMBER",
        show_default=True,
        help="Share of these molecules, drawn by the seed; above 0, at most 1.",
        callback=check_fraction,
    ),
]
StorePath = Annotated[
    Path,
    typer.Option(
        "--store",
        envvar="GAGA_STORE",
        metavar="FILE",
        show_default=True,
        show_envvar=True,
        rich_help_panel=_WHERE,
        help="The file that results are kept in.",
    ),
]
DEFAULT_STORE = Path("gaga.h5")
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        rich_help_panel=_WHERE,
        help="Name of the result in the store.",
        callback=lambda name: name and legible(name),
    ),
]
Replace = Annotated[
    bool,
    typer.Option("--replace", rich_help_panel=_WHERE, help="Replace a different result of that name."),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", rich_help_panel=_WHERE, help="Resume a run that was interrupted."),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", rich_help_panel=_WHERE, help="Write over an output file that is already there."),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        rich_help_panel=_WHERE,
        help="Print exactly one JSON object; its keys are listed in docs/JSON.md.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        show_default=True,
        rich_help_panel=_RUN,
        help="Seed of every random number.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, rich_help_panel=_RUN, help="Processor threads to use; all of them by default."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|mps",
        show_default=True,
        rich_help_panel=_RUN,
        help="Where the network runs.",
        callback=device_name,
    ),
]
StatisticsDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        show_default=True,
        rich_help_panel=_RUN,
        help="Where the statistics are computed; the results are the same.",
        callback=device_name,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="GAGA_CACHE",
        metavar="FOLDER",
        show_envvar=True,
        rich_help_panel=_RUN,
        help="Folder of prepared data sets; your user cache by default.",
    ),
]
Source = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="PATH",
        help="A local copy of QM9 (dsgdb9nsd.xyz.tar.bz2 or its folder, qm9pack's CSV folder) or of GEOM-Drugs "
        "(geom_drugs_30.npy, drugs_crude.msgpack, rdkit_folder.tar.gz or its folder).",
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="A gaga checkpoint, a run's folder, qm9_large or qm9_small, which ship, or a folder of EDM's code.",
    ),
]

Kernel = Annotated[
    str,
    typer.Option(
        "--kernel",
        metavar="auto|naive|torch|compile|triton",
        show_default=True,
        rich_help_panel=_RUN,
        help="How the network runs; the results are the same but for rounding.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="float32|bfloat16",
        show_default=True,
        rich_help_panel=_RUN,
        help="Of matrix products; bfloat16 pays on GPUs and for wide networks.",
    ),
]
SamplingPrecision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|float32|bfloat16",
        show_default=True,
        rich_help_panel=_RUN,
        help="Of matrix products; auto is bfloat16 for wide networks on a GPU.",
    ),
]


class Numbers(NamedTuple):
    """What the whole numbers of an option are, and how they are written."""

    option: str
    plural: str
    example: str


TIMESTEPS = Numbers("--timesteps", "steps", "50:1000:50 (first:last:stride) or 300,400,550")
SIZES = Numbers("--sizes", "numbers of atoms", "18 or 9,18,27 or 9:29 (smallest:largest)")


LAST_STEP = 100_000  # of any schedule


def parse_steps(text: str, *, last: int) -> tuple[int, ...]:
    """Steps of a schedule; as `parse_numbers`."""
    return parse_numbers(text, TIMESTEPS, last=last)


def parse_numbers(text: str, of: Numbers, *, last: int) -> tuple[int, ...]:
    """Numbers from "50:1000:50" (first:last:stride, both ends included), "300,400,550", or both.

    Sorted, each once.

    Raises:
        UsageError: the text is neither, or a number is not in 1..`last`.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        some = _range_of(part.strip(), text, of)
        # The ends are enough: a range longer than any schedule would fill the memory before it is refused.
        outside = [number for number in (some[0], some[-1]) if not 1 <= number <= last]
        if outside:
            raise _refused(of, f"{outside[0]} is not in 1 to {last}")
        numbers.update(some)
    return tuple(sorted(numbers))


def _range_of(part: str, text: str, of: Numbers) -> range:
    match = re.fullmatch(r"([0-9]{1,18})(?::([0-9]{1,18})(?::([0-9]{1,18}))?)?", part)
    if match is None:
        raise _refused(of, repr(text))
    first, last, stride = int(match[1]), int(match[2] or match[1]), int(match[3] or "1")
    if last < first:
        raise _refused(of, f"{part} begins at {first}, above its end {last}")
    if stride < 1:
        raise _refused(of, f"{part} has a stride of 0")
    return range(first, last + 1, stride)


def _refused(of: Numbers, why: str) -> Exception:
    return usage_error(f"invalid value for {of.option}: {why}; write {of.plural} such as {of.example}")


def use_products() -> None:
    """Compute float32 products by the library that GAGA_PRODUCTS names: auto, mkl or onednn (docs/KERNELS.md).

    Raises:
        InvalidInput: it names no library.
    """
    asked = os.environ.get("GAGA_PRODUCTS")
    if asked:
        from gaga.models.network.kernels.products import ask_for

        ask_for(asked.lower())


def use_threads(threads: int | None) -> None:
    """Limit the threads of numerical libraries; takes effect on those not yet imported, and on torch."""
    if threads is None:
        return
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[variable] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
