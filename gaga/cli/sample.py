"""`gaga sample`: draw molecules from a model into a file.

Example:
    gaga sample --n 100 --out mols.sdf
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.allocator import keep_freed_memory
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.devices import torch_device
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, stored, stored_line
from gaga.cli.results import open_store
from gaga.cli.sample_checks import Job, check_output
from gaga.cli.sample_report import payload, summary
from gaga.cli.sample_run import Source, run
from gaga.cli.standard_output import STANDARD, Format, destination, show_aside
from gaga.cli.torchrun import ranks_from_environment

if TYPE_CHECKING:
    import torch

    from gaga.models.model import Model
    from gaga.storage.store import Store

app = new_app()
_FINE = "Few evaluations"
KEEP = ("all", "valid", "stable")


@app.command(
    cls=Command,
    epilog=examples(
        "gaga sample --n 100 --out mols.sdf",
        "gaga sample --n 100 --out mols.xyz --method ddpm",
        "gaga sample --n 10000 --out mols.sdf.gz --repeats 3 --keep valid",
        "gaga sample --n 10000 --out mols.sdf --resume",
        "gaga sample --n 100 --out - --format xyz",
    ),
)
def sample(
    n: Annotated[
        int, typer.Option("--n", "-n", metavar="N", min=1, show_default=True, help="How many molecules.")
    ] = 100,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", show_default=True, help="A .sdf, .sdf.gz, .xyz or .smi; - for stdout."
        ),
    ] = Path("mols.sdf"),
    output_format: Format = None,
    checkpoint: options.Checkpoint = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            show_default=True,
            help="ddpm and ddim visit every step, with noise and without; heun, dpm++ and annealed (with noise) few.",
        ),
    ] = "annealed",
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="N", min=1, help="Evaluations of the network.  [default: 50; ddpm and ddim: every step]"
        ),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing",
            metavar="NAME",
            help="Where they are: even in steps or log-snr, by the arcsine rule in log-snr, or by a power of sigma.  "
            "[default: arcsine]",
            rich_help_panel=_FINE,
        ),
    ] = None,
    bend: Annotated[
        float | None,
        typer.Option(
            "--bend", metavar="X", help="Of the arcsine rule: 0 is log-snr.  [default: 2]", rich_help_panel=_FINE
        ),
    ] = None,
    raised: Annotated[
        float | None,
        typer.Option(
            "--raised",
            metavar="X",
            help="What annealed multiplies the noise level by before each step.  [default: 1.8]",
            rich_help_panel=_FINE,
        ),
    ] = None,
    raised_between: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--raised-between",
            metavar="LOW HIGH",
            help="Levels sigma / alpha where it does.  [default: 0.03 3]",
            rich_help_panel=_FINE,
        ),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            metavar="KIND",
            show_default=True,
            help="Reference Gaussian to start from: published, scalar, block, size, matched or prior.",
        ),
    ] = "block",
    t_start: Annotated[
        int | None, typer.Option("--t-start", metavar="STEP", min=1, help="First step.  [default: the model's T*]")
    ] = None,
    stride: Annotated[
        int, typer.Option("--stride", metavar="N", min=1, show_default=True, help="Take every k-th step.")
    ] = 1,
    dataset_var: Annotated[
        float | None,
        typer.Option("--dataset-var", metavar="V", help="One variance for all columns, with --start scalar."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", metavar="N,N|N:M", help="Numbers of atoms to draw.  [default: as in the data]"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", min=1, help="Molecules at a time.  [default: for the device]"),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option("--repeats", metavar="N", min=1, max=1000, show_default=True, help="Repeat with the next seeds."),
    ] = 1,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="all|valid|stable",
            show_default=True,
            help="Which are written: valid by the strict protocol, stable by EDM's.",
        ),
    ] = "all",
    trajectory: Annotated[
        int, typer.Option("--trajectory", metavar="N", min=0, show_default=True, help="Frames of the first N, as .xyz.")
    ] = 0,
    frames: Annotated[
        int, typer.Option("--frames", metavar="N", min=2, show_default=True, help="Frames of a trajectory.")
    ] = 50,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME|PATH", help="For an EDM folder: what it was trained on.")
    ] = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an output that was interrupted.")] = False,
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
    if keep.lower() not in KEEP:
        raise usage_error(f"invalid value for --keep: {keep!r}; choose from {', '.join(KEEP)}")
    from gaga.models.network.kernels.products import chosen
    from gaga.models.sampling.config import SampleConfig

    piped, given_too = out == STANDARD, {"--json": json, "--resume": resume, "--trajectory": trajectory > 0}
    with destination(out, output_format, [option for option, asked in given_too.items() if asked]) as path:
        job = Job(out=path, n=n, seed=seed, repeats=repeats, keep=keep.lower(), trajectory=trajectory)
        fine = {"spacing": spacing, "bend": bend, "raised": raised, "raised_between": raised_between}
        given: dict[str, Any] = {name: value for name, value in fine.items() if value is not None}
        config = SampleConfig(
            method=method, start=start, t_start=t_start, stride=stride, steps=steps, **given, dataset_var=dataset_var,
            sizes=parse_sizes(sizes), batch_size=batch_size, frames=frames if trajectory else 0,
        )  # fmt: skip
        if unused := sorted(config.unused & given.keys()):
            named = " and ".join(f"--{name.replace('_', '-')}" for name in unused)
            raise usage_error(f"{named} has no effect with --method {method}{'' if steps else ' without --steps'}")
        if overwrite and resume:
            raise usage_error("--overwrite starts over and --resume goes on; give one of them")
        check_output(job)
        ranks = ranks_from_environment()
        if piped and ranks.size > 1:
            raise usage_error("several processes cannot write to standard output; name a file with --out")
        output, results = Output(json=json, silent=not ranks.first), open_store(store)
        source = find_checkpoint(results, checkpoint)
        where = torch_device(device, ranks)
        model, source = open_model(
            source, device=where, kernel=kernel, precision=precision, dataset=dataset, cache=cache, output=output
        )
        kernel, precision = (getattr(model.network, name, "none") for name in ("kernel", "precision"))
        library = f", products by {chosen().title}" if where.type == "cpu" and precision == "float32" else ""
        output.note(f"Sampling from {source.path}: {source.why}; kernel {kernel}, {precision}{library}.")
        done = run(
            job, config, model, source, results, output,
            ranks=ranks, overwrite=overwrite, resume=resume, name=name, replace=replace,
        )  # fmt: skip
        if done is not None and piped:
            *rates, _ = summary(done.summary, path)
            wrote = f"Wrote {done.summary.written:,} of {done.summary.molecules:,} molecules to standard output."
            show_aside(*rates, wrote, stored_line(done.entry, store, found=done.found))
        elif done is not None:
            output.show(
                {
                    "stored": stored(done.entry, store, found=done.found),
                    "out": out,
                    "checkpoint": source.path,
                    **payload(done.summary),
                },
                *summary(done.summary, out),
                stored_line(done.entry, store, found=done.found),
            )


def parse_sizes(text: str | None) -> tuple[int, ...] | None:
    """Numbers of atoms from "18", "9,18,27" or "9:29" (both ends included)."""
    return None if text is None else options.parse_numbers(text, options.SIZES, last=100_000)


def find_checkpoint(results: "Store", given: Path | None) -> Source:
    """The checkpoint named, else that of the newest finished run of the store, else the one that ships with gaga."""
    from gaga.models.api import SHIPPED_CHECKPOINT, model_digest, model_file
    from gaga.models.checkpoint import file_digest
    from gaga.models.training.record import TrainingRecord

    if given is not None:
        path = given if given.exists() else model_file(given)  # the file of a model that ships, by its name
        return Source(path=path, why="named by --checkpoint", digest=model_digest(given))
    for entry in sorted(results.entries("train"), key=lambda entry: entry.created, reverse=True):
        record = results.get("train", entry.name, TrainingRecord)
        if record.finished and Path(record.checkpoint).is_file():
            path = Path(record.checkpoint)
            return Source(path=path, why=f"the newest finished run, train/{entry.name}", digest=file_digest(path))
    return Source(
        path=SHIPPED_CHECKPOINT, why="the model of QM9 that ships with gaga", digest=file_digest(SHIPPED_CHECKPOINT)
    )


def open_model(
    source: Source,
    *,
    device: "torch.device",
    kernel: str,
    precision: str,
    dataset: str | None,
    cache: Path | None,
    output: Output,
) -> "tuple[Model, Source]":
    """The model on its device; an EDM folder gets the moments of the data set that is named, which becomes an input."""
    from dataclasses import replace

    from gaga.cli.import_edm import moments_of
    from gaga.models.api import load_model

    model = load_model(source.path, device=device, kernel=kernel, precision=precision)
    if model.moments is not None or dataset is None:
        model.known_moments()
        return model, source
    if model.decided:
        output.note(model.decided)
    moments, inputs = moments_of(dataset, model.space, output, cache=cache)
    return replace(model, moments=moments), replace(source, data=inputs)
