"""`gaga sample`: draw molecules from a model into a file.

Example:
    gaga sample --n 100 --out mols.sdf
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.allocator import keep_freed_memory
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, Table, open_store, stored, stored_line
from gaga.cli.standard_output import STANDARD, Format, destination, show_aside
from gaga.cli.torchrun import ranks_from_environment
from gaga.models.sampling.config import KEPT, SampleConfig  # noqa: TID253 - needs no torch

if TYPE_CHECKING:
    from gaga.models.sampling.record import SampleSummary

app = new_app()


def _sizes(text: str) -> tuple[int, ...]:
    """Numbers of atoms from "18", "9,18,27" or "9:29" (both ends included)."""
    return options.parse_numbers(text, options.SIZES, last=100_000)


def _heavy(text: str) -> tuple[int, ...]:
    """Numbers of heavy atoms, as sizes are written."""
    return options.parse_numbers(
        text, options.Numbers("--heavy-atoms", "numbers of atoms", "9 or 7,8,9 or 7:9"), last=100_000
    )


def _atoms_of(option: str) -> Callable[[str], tuple[int, ...]]:
    """What reads atoms of a file, from "1-9" or "1-6,8"."""

    def numbers(text: str) -> tuple[int, ...]:
        what = options.Numbers(option, "atoms", "1-9 or 1-6,8 (numbered from 1)")
        return options.parse_numbers(text.replace("-", ":"), what, last=100_000)

    return numbers


def _shape(text: str) -> tuple[float, ...]:
    """Three numbers, from "1.1,3.0,15.3"."""
    try:
        shape = tuple(float(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or not all(0 < value < float("inf") for value in shape):
        raise usage_error(f"invalid value for --shape: {text!r}; write three numbers above 0, such as 1.1,3.0,15.3")
    return shape


def _keep(value: str) -> str:
    if value.lower() not in KEPT:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(KEPT)}.")
    return value.lower()


HowMany = Annotated[int, typer.Option("--n", "-n", metavar="N", min=1, show_default=True, help="How many molecules.")]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="FILE", show_default=True, help="A .sdf, .sdf.gz, .xyz or .smi; - for stdout."),
]
Repeats = Annotated[
    int,
    typer.Option("--repeats", metavar="N", min=1, max=1000, show_default=True, help="Repeat with the next seeds."),
]
Keep = Annotated[
    str,
    typer.Option(
        "--keep",
        metavar="|".join(KEPT),
        show_default=True,
        help="Which are written: valid by the strict protocol, stable by EDM's, unique: valid and no SMILES twice, "
        "novel: unique and not in QM9's training split.",
        callback=_keep,
    ),
]
Trajectory = Annotated[
    int, typer.Option("--trajectory", metavar="N", min=0, show_default=True, help="Frames of the first N, as .xyz.")
]
Frames = Annotated[int, typer.Option("--frames", metavar="N", min=2, show_default=True, help="Frames of a trajectory.")]
TrainedOn = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|PATH",
        help="What the model was trained on; for an EDM folder, or --start shape of an older checkpoint.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume an output that was interrupted.")]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga sample --n 100 --out mols.sdf",
        "gaga sample --n 100 --out mols.xyz --method ddpm",
        "gaga sample --n 10000 --out mols.sdf.gz --repeats 3 --keep valid",
        "gaga sample --n 10000 --out mols.sdf --resume",
        "gaga sample --n 100 --composition C7H10O2",
        "gaga sample --n 100 --around mol.sdf --strength 0.3",
        "gaga sample --n 100 --scaffold ring.sdf --attach 1,4 --atoms 15:20",
        "gaga sample --n 100 --target alpha=80 --guidance 1   of a model that knows alpha",
        "gaga sample --n 100 --out - --format xyz",
    ),
)
@takes(
    SampleConfig,
    parsers={
        "sizes": _sizes, "shape": _shape, "heavy_atoms": _heavy, "fix": _atoms_of("--fix"),
        "attach": _atoms_of("--attach"),
    },
    spelled={"sizes": ("--sizes", "--atoms"), "scaffold": ("--scaffold", "--from")},
    defaults=("method", "stride"),
    without=("frames",),
)  # fmt: skip
def sample(
    n: HowMany = 100,
    out: Out = Path("mols.sdf"),
    output_format: Format = None,
    checkpoint: options.Checkpoint = None,
    *,
    given: dict[str, Any],
    repeats: Repeats = 1,
    keep: Keep = "all",
    trajectory: Trajectory = 0,
    frames: Frames = 50,
    dataset: TrainedOn = None,
    overwrite: options.Overwrite = False,
    resume: Resume = False,
    kernel: options.Kernel = "auto",
    precision: options.SamplingPrecision = "auto",
    device: options.Device = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Draw molecules from T* down to 0 and write them one by one, each with its seed, stability, validity and SMILES.

    A molecule depends on its seed and number alone, not on the batch. No data set is needed. What is drawn is also
    kept in the store. Several processes share the work: torchrun --nproc-per-node=N -m gaga sample ...
    """
    options.use_threads(threads)
    keep_freed_memory()
    from gaga.runs import sample as runs
    from gaga.runs.models import ModelRequest
    from gaga.runs.once import Policy

    ranks = ranks_from_environment()
    _check(out, overwrite=overwrite, resume=resume, several=ranks.size > 1)
    output = Output(json=json, silent=not ranks.first)
    with destination(out, output_format, {"--json": json, "--resume": resume, "--trajectory": trajectory > 0}) as path:
        request = runs.SampleRequest(
            out=path, n=n, seed=seed, repeats=repeats, keep=keep, trajectory=trajectory, name=name,
            config=_config(given, frames if trajectory else 0),
            model=ModelRequest(
                checkpoint=checkpoint, kernel=kernel, precision=precision, device=device, dataset=dataset, cache=cache
            ),
        )  # fmt: skip
        policy = Policy(resume=resume, replace=replace, overwrite=overwrite)
        done, source = runs.run(request, open_store(store), policy, output, ranks)
        if done is None:
            return None
        asked = request.config.formula
        parts = *_summary(done.result, out, asked), stored_line(done.entry, store, found=done.found)
        if out == STANDARD:
            return show_aside(*parts)
        head = {"stored": stored(done.entry, store, found=done.found), "out": out, "checkpoint": source.path}
        return output.show({**head, **_payload(done.result, asked)}, *parts)


def _config(given: dict[str, Any], frames: int) -> SampleConfig:
    """The sampler's options.

    Raises:
        UsageError: one that was typed has no effect with the others.
    """
    config = SampleConfig(**given, frames=frames)
    if unused := sorted(config.unused & given.keys()):
        named = " and ".join(f"--{name.replace('_', '-')}" for name in unused)
        by_steps = "" if config.steps else " without --steps"
        if unused == ["guidance_between"]:
            raise usage_error("--guidance-between has no effect without --guidance")
        raise usage_error(f"{named} has no effect with --method {config.method}{by_steps}")
    return config


def _check(out: Path, *, overwrite: bool, resume: bool, several: bool) -> None:
    """Stop at options that do not go together.

    Raises:
        UsageError: so they do.
    """
    if overwrite and resume:
        raise usage_error("--overwrite starts over and --resume continues; give one of them")
    if out == STANDARD and several:
        raise usage_error("several processes cannot write to standard output; name a file with --out")


def _payload(record: "SampleSummary", composition: str | None) -> dict[str, Any]:
    """The record's counts and rates as JSON has them."""
    rates = {name: {"value": r.estimate, "low": r.low, "high": r.high} for name, r in record.rates().items()}
    counted = None if composition is None else {"asked": composition, "molecules": record.of_composition}
    return {
        "molecules": record.molecules,
        "composition": counted,
        "written": record.written,
        "not_finite": record.not_finite,
        "products": record.products,
        "returned_variance": {"molecule": record.variance_molecule, "bonds": record.variance_bonds},
        "rates": rates,
        "by_seed": [{"seed": seed, **values} for seed, values in record.by_seed().items()],
        "over_seeds": {name: {"mean": m, "deviation": s} for name, (m, s) in record.over_seeds().items()},
    }


def _summary(record: "SampleSummary", out: Path, composition: str | None) -> Iterator[Table | str]:
    """A small table of rates, and what to do next."""
    rows = [(name.replace("_", " "), f"{100 * r.estimate:.1f}", f"{100 * r.low:.1f} – {100 * r.high:.1f}")
            for name, r in record.rates().items()]  # fmt: skip
    yield Table(columns=("%", out.name, "95 % interval"), rows=rows, title=f"{record.molecules:,} molecules drawn")
    if spread := record.over_seeds():
        names, seeds = list(spread), record.by_seed().items()
        by_seed = [(str(seed), *(f"{100 * values[name]:.1f}" for name in names)) for seed, values in seeds]
        by_seed.append(("mean ± deviation", *(f"{100 * mean:.1f} ± {100 * s:.1f}" for mean, s in spread.values())))
        yield Table(columns=("seed", *(name.replace("_", " ") for name in names)), rows=by_seed, title="By seed, %")
    if record.of_composition is not None:
        share = 100 * record.of_composition / record.molecules
        yield f"{record.of_composition:,} of {record.molecules:,} molecules ({share:.1f} %) are {composition}."
    if record.not_finite:
        yield f"{record.not_finite:,} molecules were not finite; they count as failures."
    wrote = f"Wrote {record.written:,} of {record.molecules:,} molecules to"
    judge = f" Judge them: gaga evaluate {out}" if record.written and not out.name.lower().endswith(".smi") else ""
    yield f"{wrote} standard output." if out == STANDARD else f"{wrote} {out}.{judge}"
