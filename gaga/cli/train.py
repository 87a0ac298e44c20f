"""`gaga train`: train the network on [0, T*].

Example:
    gaga train --max-t 550 --budget 2h
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import hyperparameters as hyper
from gaga.cli import options
from gaga.cli.allocator import keep_freed_memory
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, stored, stored_line
from gaga.cli.results import open_store, require_writable, slug
from gaga.cli.train_max_t import check_max_t, with_max_t
from gaga.cli.train_moments import moments_of
from gaga.cli.train_report import dry_run_table, estimate, estimate_line, metrics_line, payload, summary
from gaga.core.errors import Conflict, GagaError, InvalidInput

if TYPE_CHECKING:
    from gaga.data import Dataset
    from gaga.data.features import FeatureSpace
    from gaga.models.training.log import Metrics
    from gaga.models.training.recipe import Recipe
    from gaga.models.training.record import TrainingRecord
    from gaga.models.training.trainer import Trainer
    from gaga.storage.store import Entry, Store

app = new_app()
KIND = "train"


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A training run: its name, where it is kept, what it is made of."""

    name: str
    folder: Path
    config: dict[str, Any]
    inputs: dict[str, str]
    seed: int


@app.command(
    cls=Command,
    epilog=examples(
        "gaga train --max-t 550 --budget 2h              a small model, done in two hours",
        "gaga train --max-t 550 --preset gaga-qm9        the published recipe; wants a GPU",
        "gaga train --dataset geom.h5 --preset edm-geom  EDM's on drugs, likewise",
        "gaga train --dataset mine.sdf --max-t auto      T* of your own molecules",
        "gaga train --max-t 550 --resume                 go on where it was interrupted",
        "gaga train --max-t 550 --dry-run                parameters, steps, memory, time",
    ),
)
def train(
    dataset: options.Dataset = "qm9",
    max_t: Annotated[
        str | None,
        typer.Option("--max-t", metavar="STEP|auto", help="T*; auto takes the data set's.  [default: the preset's]"),
    ] = None,
    tstar: Annotated[
        str | None, typer.Option("--tstar", metavar="NAME", help="Take T* from this result of gaga tstar.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="|".join(hyper.PRESETS), help="A whole recipe.  [default: small]"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="Hyperparameters, changed by options.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="90s|30m|2h", help="End a full learning-rate schedule in that time."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from", metavar="FILE|shipped", help="Start from a checkpoint's weights, or those of gaga."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print parameters, steps, memory and time, and train nothing.")
    ] = False,
    runs: Annotated[
        Path, typer.Option("--runs", metavar="FOLDER", show_default=True, help="Runs are kept here, a folder each.")
    ] = Path("runs"),
    hidden: hyper.Hidden = None,
    n_layers: hyper.Layers = None,
    inv_sublayers: hyper.InvSublayers = None,
    tuned_for_atoms: hyper.TunedForAtoms = None,
    include_charges: hyper.Charges = None,
    centred_features: hyper.Centred = None,
    factors: hyper.Factors = None,
    prediction: hyper.PredictionName = None,
    noise_levels: hyper.NoiseLevelsName = None,
    noise_mean: hyper.NoiseMean = None,
    noise_spread: hyper.NoiseSpread = None,
    schedule: hyper.ScheduleName = None,
    diffusion_steps: hyper.DiffusionSteps = None,
    batch_size: hyper.BatchSize = None,
    batch_edges: hyper.BatchEdges = None,
    epochs: hyper.Epochs = None,
    steps: hyper.Steps = None,
    learning_rate: hyper.LearningRate = None,
    optimizer: hyper.OptimizerChoice = None,
    matrix_rate: hyper.MatrixRate = None,
    lr_schedule: hyper.LrSchedule = None,
    warmup_steps: hyper.Warmup = None,
    weight_decay: hyper.WeightDecay = None,
    clipping: hyper.ClippingName = None,
    ema_decay: hyper.EmaDecay = None,
    ema_warmup: hyper.EmaWarmup = None,
    ema_width: hyper.EmaWidth = None,
    amsgrad: hyper.AmsGrad = None,
    stratified_t: hyper.Stratified = None,
    padded_denominator: hyper.PaddedLoss = None,
    precision: hyper.PrecisionName = None,
    validate_every: hyper.ValidateEvery = None,
    sample_every: hyper.SampleEvery = None,
    stability_samples: hyper.StabilitySamples = None,
    save_every_s: hyper.SaveEvery = None,
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
    given = {key: value for key, value in locals().items() if key in _recipe_names()}
    options.use_threads(threads)
    keep_freed_memory()
    from gaga.cli.devices import torch_device
    from gaga.cli.torchrun import ranks_from_environment
    from gaga.models.api import model_file, shipped_like
    from gaga.models.training.trainer import Trainer

    budget_s = hyper.parse_duration(budget)
    given["factors"] = hyper.parse_factors(factors)
    recipe = hyper.recipe_of(preset, config, given)
    if init_from is not None:
        init_from = shipped_like(recipe) if str(init_from) == "shipped" else model_file(init_from)
    check_max_t(max_t, tstar)
    ranks = ranks_from_environment()
    where = torch_device(device, ranks)
    output, results = Output(json=json, silent=not ranks.first), open_store(store)
    with ranks.together(where):
        recipe, source = ranks.from_first(
            lambda: with_max_t(recipe, results, dataset, max_t, tstar, cache=cache, output=output)
        )
        data = _dataset(dataset, output, cache)
        title = name or _default_name(data, recipe, preset, config)
        run = _run(data, recipe, source, budget_s, init_from, title, runs, seed)

        def look() -> "Entry | None":
            return _finished(results, run, replace=replace, resume=resume, dry_run=dry_run)

        found = ranks.from_first(look)
        if found is not None:
            return _show_found(results, found, store, output) if ranks.first else None
        space = _space(data, recipe)
        moments = ranks.from_first(lambda: moments_of(data, space, threads, output))
        trainer = Trainer(
            data, recipe, moments, run.folder, seed=run.seed, budget_s=budget_s, device=where, kernel=kernel,
            init_from=init_from, provenance={"name": run.name, "inputs": run.inputs}, ranks=ranks,
        )  # fmt: skip
        with nullcontext() if dry_run or not ranks.first else _held(run.folder):
            found = ranks.from_first(look)  # again: another process may have trained it meanwhile
            if found is not None:
                return _show_found(results, found, store, output) if ranks.first else None
            if resume:
                trainer.resume()
                output.note(f"Resuming {run.folder} at step {trainer.counters.step:,}.")
            expected = estimate(trainer)
            output.note(estimate_line(trainer, expected, dry=dry_run))
            if dry_run:
                return output.show({"dry_run": True, "recipe": recipe, **expected}, dry_run_table(recipe, expected))
            return _train(trainer, run, results, store, output, replace=replace or resume)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The run's folder is this run's alone."""
    from gaga.storage.locks import locked

    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "run", timeout=1):
        yield


def _recipe_names() -> set[str]:
    from dataclasses import fields

    from gaga.models.training.recipe import Recipe

    return {f.name for f in fields(Recipe)} - {"max_t"}


def _dataset(name: str, output: Output, cache: Path | None) -> "Dataset":
    from gaga.cli.data import read_dataset

    data = read_dataset(name, output, cache=cache)
    if len(data.splits["train"]) == 0:
        raise InvalidInput("the data set has no training molecules", received=f"{len(data)} molecules in all")
    return data


def _default_name(data: "Dataset", recipe: "Recipe", preset: str | None, config: Path | None) -> str:
    """Data set, preset (or the name of the TOML file) and T*, such as qm9_small_t550."""
    return f"{slug(data.name)}_{preset or (slug(config.stem) if config else 'small')}_t{recipe.max_t}"


def _run(
    data: "Dataset",
    recipe: "Recipe",
    source: dict[str, str],
    budget_s: float | None,
    init_from: Path | None,
    name: str,
    runs: Path,
    seed: int,
) -> _Run:
    from gaga.models.checkpoint import file_digest, load_checkpoint

    if init_from is not None:
        load_checkpoint(init_from)
        source = source | {f"checkpoint {init_from.name}": file_digest(init_from)}
    return _Run(
        name=name,
        folder=runs / slug(name),
        config={
            "dataset": data.name,
            "vocabulary": list(data.vocabulary),
            "budget_s": budget_s,
            **recipe.described(),
        },
        inputs={data.name: data.fingerprint, **source},
        seed=seed,
    )


def _finished(results: "Store", run: _Run, *, replace: bool, resume: bool, dry_run: bool) -> "Entry | None":
    """The finished run of this very configuration, if its checkpoint is there; what else is there is kept.

    Raises:
        Conflict: another run has the name or the folder, and is neither resumed nor replaced.
        NotFound, Unavailable: the store could not be written to.
    """
    from gaga.models.checkpoint import file_digest
    from gaga.models.training.record import TrainingRecord

    if dry_run:
        return None
    there = results.find(KIND, run.name)
    same = results.same(KIND, run.name, config=run.config, inputs=run.inputs, seed=run.seed)
    if same is not None and not replace:
        record = results.get(KIND, run.name, TrainingRecord)
        path = Path(record.checkpoint)
        if record.finished and path.is_file() and file_digest(path) == record.checkpoint_sha256:
            return same
    if not (resume or replace):
        if (run.folder / "state.safetensors").exists():
            raise Conflict(
                f"an unfinished or different run is kept in {run.folder}",
                remedy="go on with --resume, start over with --replace, or give this run another --name",
            )
        if there is not None and same is None:
            changed = "; ".join(there.differences(run.config, run.inputs, run.seed)[:4])
            raise Conflict(
                f"another run is stored as {there.name}, with {changed}",
                remedy="give this one another --name, or add --replace",
            )
    require_writable(results.path)
    return None


def _show_found(results: "Store", entry: "Entry", store: Path, output: Output) -> None:
    from gaga.models.training.record import TrainingRecord

    record = results.get(KIND, entry.name, TrainingRecord)
    output.show(
        {"stored": stored(entry, store, found=True), **payload(record)},
        stored_line(entry, store, found=True),
        f"Sample from it: gaga sample --n 100 --checkpoint {record.checkpoint} --out mols.sdf",
    )


def _space(data: "Dataset", recipe: "Recipe") -> "FeatureSpace":
    from gaga.data.features import FeatureSpace

    return FeatureSpace(
        vocabulary=data.vocabulary, factors=recipe.factors, include_charges=recipe.include_charges,
        centred_features=recipe.centred_features,
    )  # fmt: skip


def _train(trainer: "Trainer", run: _Run, results: "Store", store: Path, output: Output, *, replace: bool) -> None:
    from gaga.cli.signals import stop_requests
    from gaga.models.training.record import record_of

    def keep(finished: bool) -> "tuple[Entry, TrainingRecord]":
        record = record_of(trainer, finished=finished)
        entry = results.put(
            KIND, run.name, record, config=run.config, inputs=run.inputs, seed=run.seed, replace=replace, renew=True
        )
        return entry, record

    def on_metrics(row: "Metrics") -> None:
        output.note(metrics_line(row))
        try:
            keep(finished=False)
        except (GagaError, OSError) as error:  # the run itself is safe in its folder
            output.note(f"The store could not be written at this step: {error}")

    what = "seconds of training" if trainer.budget_s else "training"
    with stop_requests() as stop, output.progress(what, first=True) as progress:
        finished = trainer.run(progress=progress, on_metrics=on_metrics, should_stop=stop)
        kept = keep(finished=finished) if trainer.ranks.first else None
        trainer.ranks.wait()
    stop.raise_if_asked(f"saved step {trainer.counters.step:,} in {run.folder}; the same command with --resume goes on")
    if kept is None:
        return
    entry, record = kept
    checkpoint = run.folder / "model.safetensors"
    output.show(
        {"stored": stored(entry, store, found=False), **payload(record)},
        summary(record),
        f"Wrote {checkpoint}. Sample from it: gaga sample --n 100 --checkpoint {checkpoint} --out mols.sdf",
        stored_line(entry, store, found=False),
    )
