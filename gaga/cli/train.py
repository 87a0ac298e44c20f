"""`gaga train`: train the network on [0, T*].

Example:
    gaga train --max-t 550 --budget 2h
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gaga.cli import options
from gaga.cli.allocator import keep_freed_memory
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, Table, open_store, stored, stored_line, text
from gaga.cli.signals import StopRequest, stop_requests
from gaga.cli.torchrun import ranks_from_environment
from gaga.core.text import human_bytes, human_time
from gaga.data.published import HALVES  # noqa: TID253 - needs no numpy
from gaga.models.training.recipe import PRESETS, Recipe, read_recipe  # noqa: TID253 - needs no torch

if TYPE_CHECKING:
    from gaga.models.training.record import TrainingRecord

app = new_app()
SPELLED = {
    "n_layers": "--layers",
    "learning_rate": "--lr",
    "include_charges": "--charges/--no-charges",
    "centred_features": "--centred-features/--uncentred-features",
    "amsgrad": "--amsgrad/--no-amsgrad",
    "ema_warmup": "--ema-warmup/--no-ema-warmup",
    "stratified_t": "--stratified-t/--independent-t",
    "padded_denominator": "--padded-denominator/--own-denominator",
}


MaxT = Annotated[
    str | None,
    typer.Option("--max-t", metavar="STEP|auto", help="T*; auto takes the data set's.  [default: the preset's]"),
]
Tstar = Annotated[str | None, typer.Option("--tstar", metavar="NAME", help="Take T* from this result of gaga tstar.")]
HalfOption = Annotated[
    str | None,
    typer.Option(
        "--half", metavar="|".join(HALVES), help="Train on one of EDM's halves; what judges is trained on the other."
    ),
]
Preset = Annotated[
    str | None, typer.Option("--preset", metavar="|".join(PRESETS), help="A whole recipe.  [default: small]")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.toml", help="Hyperparameters, changed by options.")
]
Budget = Annotated[
    str | None,
    typer.Option("--budget", metavar="90s|30m|2h", help="End a full learning-rate schedule in that time."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume a run that was interrupted.")]
InitFrom = Annotated[
    Path | None,
    typer.Option("--init-from", metavar="FILE|shipped", help="Start from a checkpoint's weights, or those of gaga."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print parameters, steps, memory and time, and train nothing.")]
Runs = Annotated[
    Path, typer.Option("--runs", metavar="FOLDER", show_default=True, help="Runs are kept here, a folder each.")
]


def _factors(text: str) -> tuple[float, ...]:
    """Three numbers from "1,4,10"."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise usage_error(f"invalid value for --factors: {text!r}; write three numbers such as 1,4,10") from None


def _names(text: str) -> tuple[str, ...]:
    """Names from "alpha,gap"."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@app.command(
    cls=Command,
    epilog=examples(
        "gaga train --max-t 550 --budget 2h              a small model, done in two hours",
        "gaga train --max-t 550 --preset gaga-qm9        the published recipe; wants a GPU",
        "gaga train --dataset geom.h5 --preset edm-geom  EDM's on drugs, likewise",
        "gaga train --dataset mine.sdf --max-t auto      T* of your own molecules",
        "gaga train --condition alpha --half second      molecules of a property (docs/STEER.md)",
        "gaga train --max-t 550 --resume                 resume it if it was interrupted",
        "gaga train --max-t 550 --dry-run                parameters, steps, memory, time",
    ),
)
@takes(
    Recipe,
    parsers={"factors": _factors, "condition": _names},
    spelled=SPELLED,
    without=("max_t", "precision_of_schedule"),
    show_defaults=False,
)
def train(
    dataset: options.Dataset = "qm9",
    half: HalfOption = None,
    max_t: MaxT = None,
    tstar: Tstar = None,
    preset: Preset = None,
    config: ConfigFile = None,
    budget: Budget = None,
    resume: Resume = False,
    init_from: InitFrom = None,
    dry_run: DryRun = False,
    runs_folder: Runs = Path("runs"),
    *,
    given: dict[str, Any],
    kernel: options.Kernel = "auto",
    device: options.Device = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Train EDM's network on steps 0 to T* of the diffusion; the schedule stays as it is.

    The run's folder holds model.safetensors (the averaged weights, all that sampling needs), state.safetensors (what
    --resume needs) and metrics.jsonl. Interrupt it at any time: the step is finished and saved (on a GPU, up to 32 of
    them). Under torchrun --nproc-per-node=N -m gaga train ..., N processes share each batch.
    """
    options.use_threads(threads)
    keep_freed_memory()
    from gaga.runs import train as runs
    from gaga.runs.once import Policy

    if half is not None and half not in HALVES:
        raise usage_error(f"invalid value for --half: {half!r}; write {' or '.join(HALVES)}")
    if tstar is not None and max_t is not None:
        raise usage_error("--max-t and --tstar both say where to stop; give one of them")
    request = runs.TrainRequest(
        dataset=dataset, half=half, recipe=read_recipe(preset, config, given),
        recipe_name=preset or (config.stem if config else "small"), max_t=_step_or_auto(max_t), tstar=tstar,
        budget_s=seconds(budget), init_from=init_from, runs=runs_folder, name=name, kernel=kernel, device=device,
        seed=seed, threads=threads, cache=cache,
    )  # fmt: skip
    ranks = ranks_from_environment()
    output, results = Output(json=json, silent=not ranks.first), open_store(store)
    if dry_run:
        recipe, expected = runs.plan(request, results, output, ranks)
        return output.show({"dry_run": True, "recipe": recipe, **expected}, _dry_run_table(recipe, expected))
    policy, stop = Policy(resume=resume, replace=replace), StopRequest()
    outcome = runs.run(request, results, policy, output, ranks, stop_requests(stop))
    if outcome is None:
        return stop.raise_if_asked("")
    if not outcome.found:
        record, folder = outcome.result, Path(outcome.result.checkpoint).parent
        stop.raise_if_asked(f"saved step {record.steps:,} in {folder}; the same command with --resume continues")
    return output.show(
        {"stored": stored(outcome.entry, store, found=outcome.found), **_payload(outcome.result)},
        *_report(outcome.result, found=outcome.found),
        stored_line(outcome.entry, store, found=outcome.found),
        f"Sample from it: gaga sample --n 100 --checkpoint {outcome.result.checkpoint} --out mols.sdf",
    )


def _step_or_auto(text: str | None) -> int | Literal["auto"] | None:
    """T* from "550" or "auto"."""
    if text is None:
        return None
    if text.lower() == "auto":
        return "auto"
    if not text.isdecimal():
        raise usage_error(f"invalid value for --max-t: {text!r}; write a step such as 550, or auto")
    return int(text)


def seconds(text: str | None) -> float | None:
    """Seconds from "90s", "30m", "2h" or "1d".

    Raises:
        UsageError: the text is none of these.
    """
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * units[unit]
    except (ValueError, KeyError):
        raise usage_error(f"invalid value for --budget: {text!r}; write 90s, 30m, 2h or 1d") from None
    if not 0 < seconds < 3.2e8:
        raise usage_error(f"invalid value for --budget: {text!r} is not between 0 and ten years")
    return seconds


def _dry_run_table(recipe: "Recipe", expected: dict[str, Any]) -> Table:
    """Every setting, and the estimate."""
    shown = expected | {
        "seconds_per_step": f"{expected['seconds_per_step']:.3g}",
        "seconds": f"{expected['seconds']:.0f} ({human_time(expected['seconds'])})",
        "sampling_seconds": f"{expected['sampling_seconds']:.0f}",
        "memory_bytes": human_bytes(expected["memory_bytes"]),
    }
    rows = [*asdict(recipe).items(), *((name.replace("_", " "), value) for name, value in shown.items())]
    return Table(columns=("setting", "value"), rows=[(k, _plain(v)) for k, v in rows], title="What would be trained")


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else text(value)


def _payload(record: "TrainingRecord") -> dict[str, Any]:
    """The record as JSON has it."""
    return {
        "finished": record.finished,
        "checkpoint": record.checkpoint,
        "checkpoint_sha256": record.checkpoint_sha256,
        "max_t": record.max_t,
        "steps": record.steps,
        "seconds": record.seconds,
        "products": record.products,
        "metrics": {f: getattr(record.metrics, f) for f in record.metrics.__dataclass_fields__},
    }


def _report(record: "TrainingRecord", *, found: bool) -> Iterator[Table | str]:
    """The last measurement and the checkpoint; nothing of a run that was found."""
    if found:
        return
    last = {name: column[-1] for name, column in vars(record.metrics).items() if len(column)}
    yield Table(columns=("at the end", "value"), rows=list(last.items()), title=f"{record.steps:,} steps")
    yield f"Wrote {record.checkpoint}."
