"""A training run: T* and moments from the data, the trainer in its folder, the record in the store.

The folder has everything that a killed run is resumed from (gaga.models.training.state); the store is written when the
run starts and when it ends.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any, Literal

from gaga.core.config import options_of
from gaga.core.errors import InvalidInput
from gaga.core.progress import Reporter
from gaga.core.text import human_bytes, human_time
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.data.published import Half
from gaga.data.targets import targets_of, with_half
from gaga.models.api import model_file, shipped_like
from gaga.models.checkpoint import file_digest, load_checkpoint
from gaga.models.ranks import ALONE, Ranks
from gaga.models.training.cost import memory_bytes, seconds_per_sample, seconds_per_step
from gaga.models.training.log import Metrics
from gaga.models.training.recipe import Recipe, make_recipe
from gaga.models.training.record import TrainingRecord, record_of
from gaga.models.training.state import newest_first
from gaga.models.training.trainer import STATE_FILE, Trainer
from gaga.noise import Schedule, make_schedule
from gaga.runs.devices import torch_device
from gaga.runs.inputs import moments_of, read_dataset
from gaga.runs.once import Key, Outcome, Policy, as_store, claimed, slug
from gaga.runs.tstar import default_tstar, stored_tstar
from gaga.runs.unfinished import Unfinished
from gaga.storage.store import Store

KIND = "train"


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What is trained, on what, and where it is kept.

    Attributes:
        dataset: a name or a path. recipe: every hyperparameter.
        recipe_name: how the run's default name calls the recipe.
        max_t: T*: a step, "auto" for the data set's, None for the recipe's.
        tstar: the stored result of `gaga tstar` that T* is taken from.
        half: train on one of EDM's halves of the training molecules, so that what is trained on the other may judge.
        budget_s: seconds in which the learning-rate schedule ends; None: the recipe's length.
        init_from: a checkpoint, or "shipped", whose weights are the start.
        runs: folder of the runs' folders.
        name: of the run; by default DATASET_RECIPE_tT*, such as qm9_small_t550, with the condition and the half.
        kernel, device: how and where the network runs. seed: of every random number.
        threads: for the moments. cache: folder of prepared data sets.
    """

    dataset: str | Path = "qm9"
    recipe: Recipe = make_recipe("small")
    recipe_name: str = "small"
    max_t: int | Literal["auto"] | None = None
    tstar: str | None = None
    half: Half | None = None
    budget_s: float | None = None
    init_from: Path | None = None
    runs: Path = Path("runs")
    name: str | None = None
    kernel: str = "auto"
    device: str = "auto"
    seed: int = 0
    threads: int | None = None
    cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A request with its data read, its T* decided and its name."""

    request: TrainRequest
    recipe: Recipe
    data: Dataset
    init_from: Path | None
    key: Key

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.request.runs / slug(self.key.name)


class UnfinishedRun(Unfinished):
    """The state in a run's folder; a run that starts over replaces it when it saves its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "run", 1.0, "`name` and `runs`")

    def exists(self) -> bool:
        """Whether a run has saved its state."""
        return any(state.exists() for state in newest_first(self.path.with_name(STATE_FILE)))

    def make_room(self) -> None:
        """The run's folder."""
        self.path.parent.mkdir(parents=True, exist_ok=True)


def run(
    request: TrainRequest,
    store: Store | None,
    policy: Policy,
    report: Reporter,
    ranks: Ranks = ALONE,
    stopping: AbstractContextManager[Callable[[], bool]] = nullcontext(lambda: False),
) -> Outcome[TrainingRecord] | None:
    """Find the finished run, or train and store it. None for all processes but the first.

    `stopping` is entered while it trains; what it gives, called after each step, says whether to end there. The record
    then says that the run is not finished.

    Raises:
        Conflict, NotFound, Unavailable: as `once`; or there is no such data set, checkpoint or device.
        InvalidInput: recipe, data and `init_from` do not fit together.
    """
    device = torch_device(request.device, ranks)
    with ranks.together(device):
        job = _job(request, store, report, ranks)

        def stored() -> TrainingRecord | None:
            record = None if store is None or policy.replace else store.get(KIND, job.key.name, TrainingRecord)
            whole = (
                record is not None and record.finished and is_as_written(record.checkpoint, record.checkpoint_sha256)
            )
            return record if whole else None

        unfinished = UnfinishedRun(job.folder)

        def resumes() -> bool:
            return ranks.from_first(lambda: bool(policy.resume) and unfinished.exists())

        renewed = changed(policy, replace=policy.replace or resumes())
        with claimed(store, job.key, stored, renewed, unfinished, report, ranks) as found:
            if found is not None:
                return found
            trainer = _trainer(job, report, ranks)
            resumed = resumes()  # asked again: another process may have begun the run before this one had the lock
            if resumed:
                trainer.resume()
                report.note(f"Resuming {job.folder} at step {trainer.counters.step:,}.")
            report.note(estimate_line(trainer, estimate(trainer)))

            def keep(*, finished: bool) -> Outcome[TrainingRecord] | None:
                if not ranks.first:
                    return None
                record = record_of(trainer, finished=finished)
                entry = job.key.put(store, record, replace=renewed.replace or resumed, renew=True)
                return Outcome(result=record, entry=entry, found=False)

            keep(finished=False)
            what = "seconds of training" if trainer.budget_s else "training"
            with stopping as should_stop, report.progress(what, first=True) as progress:
                finished = trainer.run(
                    progress=progress, on_metrics=lambda row: report.note(metrics_line(row)), should_stop=should_stop
                )
            outcome = keep(finished=finished)
            ranks.wait()
            return outcome


def plan(
    request: TrainRequest, store: Store | None, report: Reporter, ranks: Ranks = ALONE
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the estimate of a run, which is not started."""
    with ranks.together(torch_device(request.device, ranks)):
        job = _job(request, store, report, ranks)
        trainer = _trainer(job, report, ranks)
        expected = estimate(trainer)
        report.note(estimate_line(trainer, expected, dry=True))
        return job.recipe, expected


def is_as_written(checkpoint: str, sha256: str) -> bool:
    """Whether the checkpoint that a run wrote is there and unchanged."""
    path = Path(checkpoint)
    return path.is_file() and file_digest(path) == sha256


def _job(request: TrainRequest, store: Store | None, report: Reporter, ranks: Ranks) -> _Job:
    recipe, of_tstar = ranks.from_first(lambda: _with_max_t(request, store, report))
    data = read_dataset(request.dataset, report, cache=request.cache)
    data = data if request.half is None else with_half(data, request.half)
    if len(data.splits["train"]) == 0:
        raise InvalidInput("the data set has no training molecules", received=f"{len(data)} molecules in all")
    init_from, inputs = request.init_from, {data.name: data.fingerprint, **of_tstar}
    if recipe.condition:
        inputs["properties"] = targets_of(data, recipe.condition).digest
    if init_from is not None:
        init_from = shipped_like(request.recipe) if str(init_from) == "shipped" else model_file(init_from)
        load_checkpoint(init_from)
        inputs[f"checkpoint {init_from.name}"] = file_digest(init_from)
    key = Key(
        kind=KIND,
        name=request.name or _name(request, recipe, data),
        config={
            "dataset": data.name,
            "vocabulary": list(data.vocabulary),
            "budget_s": request.budget_s,
            **({} if request.half is None else {"half": request.half}),
            **recipe.described(),
        },
        inputs=inputs,
        seed=request.seed,
    )
    return _Job(request=request, recipe=recipe, data=data, init_from=init_from, key=key)


def _name(request: TrainRequest, recipe: Recipe, data: Dataset) -> str:
    half = [] if request.half is None else [f"{request.half}-half"]
    parts = [slug(data.name), slug(request.recipe_name), f"t{recipe.max_t}", *map(slug, recipe.condition), *half]
    return "_".join(parts)


def _with_max_t(request: TrainRequest, store: Store | None, report: Reporter) -> tuple[Recipe, dict[str, str]]:
    """The recipe with its T*, and the stored result that T* comes from."""
    recipe = request.recipe
    if request.tstar is None and request.max_t is None:
        return recipe, {}
    if request.tstar is None and isinstance(request.max_t, int):
        return changed(recipe, max_t=request.max_t), {}
    if store is None:
        raise InvalidInput("T* is taken from a store", received="none", remedy="name a `store`, or a step as `max_t`")
    if request.tstar is None:
        outcome = default_tstar(store, request.dataset, cache=request.cache, report=report)
        entry, result = outcome.entry, outcome.result
    else:
        entry, result = stored_tstar(store, request.tstar)
    if result.tstar is None:
        raise InvalidInput(f"{entry.kind}/{entry.name} found no step that passes", remedy="name a step as `max_t`")
    mine = make_schedule(recipe.schedule, recipe.diffusion_steps, recipe.precision_of_schedule)
    if not mine.matches(Schedule(result.schedule, result.gamma)):
        raise InvalidInput(
            f"T* of {entry.name} belongs to another schedule, {result.schedule} of {result.T} steps",
            received=f"{recipe.schedule} of {recipe.diffusion_steps} steps, precision {recipe.precision_of_schedule:g}",
            remedy="measure T* with this schedule, train with that one, or name a step as `max_t`",
        )
    report.note(f"T* = {result.tstar} by {result.estimator}, from {entry.kind}/{entry.name}.")
    return changed(recipe, max_t=result.tstar), {f"{entry.kind}/{entry.name}": entry.digest}


def _trainer(job: _Job, report: Reporter, ranks: Ranks) -> Trainer:
    request, recipe = job.request, job.recipe
    space = FeatureSpace(
        vocabulary=job.data.vocabulary, factors=recipe.factors, include_charges=recipe.include_charges,
        centred_features=recipe.centred_features,
    )  # fmt: skip
    moments = ranks.from_first(lambda: moments_of(job.data, space, report, threads=request.threads))
    return Trainer(
        job.data, recipe, moments, job.folder, seed=request.seed, budget_s=request.budget_s,
        device=torch_device(request.device, ranks), kernel=request.kernel, init_from=job.init_from,
        provenance={"name": job.key.name, "inputs": job.key.inputs}, ranks=ranks,
    )  # fmt: skip


def estimate(trainer: Trainer) -> dict[str, Any]:
    """What is left of a run: parameters, steps, time as measured here, memory."""
    per_step = seconds_per_step(trainer)
    left = trainer.total_steps - trainer.counters.step
    by_budget = None if trainer.budget_s is None else max(0.0, trainer.budget_s - trainer.counters.seconds)
    seconds = left * per_step if by_budget is None else by_budget
    steps = left if by_budget is None else int(seconds / per_step)
    every = trainer.recipe.sample_every
    samplings = 1 + (steps // every if every else 0)
    sampling = samplings * trainer.recipe.stability_samples * seconds_per_sample(trainer)
    return {
        "parameters": trainer.network.n_parameters,
        "training_molecules": len(trainer.train_set),
        "steps": steps,
        "steps_per_epoch": trainer.steps_per_epoch,
        "seconds_per_step": per_step,
        "seconds": sampling + seconds if by_budget is None else seconds,
        "sampling_seconds": sampling,
        "memory_bytes": memory_bytes(trainer),
        "device": str(trainer.device),
    }


def estimate_line(trainer: Trainer, expected: dict[str, Any], *, dry: bool = False) -> str:
    """The estimate as a sentence."""
    epochs = expected["steps"] / expected["steps_per_epoch"]
    verb = "Would train" if dry else "Training"
    where, each = expected["device"], ""
    if trainer.ranks.size > 1:
        where, each = f"{trainer.ranks.size} processes, the first on {where}", " each"
    return (
        f"{verb} {expected['parameters']:,} parameters on {expected['training_molecules']:,} molecules, steps 0 to "
        f"{trainer.recipe.max_t} of {trainer.recipe.diffusion_steps}, on {where}: "
        f"{expected['steps']:,} steps ({epochs:.3g} epochs) in about {human_time(expected['seconds'])}, "
        f"with about {human_bytes(expected['memory_bytes'])} of memory{each}."
    )


def metrics_line(row: Metrics) -> str:
    """One measurement as a line."""
    stable = (
        ""
        if row.atom_stable is None
        else f", atoms {row.atom_stable:.1%} and molecules {row.molecule_stable:.1%} stable"
    )
    train = "–" if row.train_loss is None else f"{row.train_loss:.4f}"
    valid = "–" if row.valid_loss is None else f"{row.valid_loss:.4f}"
    return f"step {row.step:,}, epoch {row.epoch}: loss {train}, validation {valid}{stable}"


def train(
    dataset: str | Path = "qm9",
    *,
    store: Store | Path | str | None = None,
    resume: bool = False,
    replace: bool = False,
    preset: str = "small",
    report: Reporter = Reporter(),
    **options: Any,
) -> TrainingRecord:
    """What `gaga train` does: a model in a folder of `runs`, and its record, kept in the store if one is named.

    Args:
        dataset: a name, or the path of your own molecules.
        store: the file of results. resume: continue a run that was interrupted, from its folder.
        replace: start over a run of the same name.
        preset: the recipe. report: receives notes and progress.
        options: other fields of `TrainRequest` and of `Recipe`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> import gaga
        >>> gaga.train("qm9", condition=["alpha"], half="second")  # doctest: +SKIP
        >>> record = gaga.train("mine.sdf", max_t=550, steps=1000, store="gaga.h5")  # doctest: +SKIP
        >>> gaga.sample(record.checkpoint, 10)  # doctest: +SKIP
    """
    of_recipe = options_of(Recipe).keys() - {"max_t"}
    recipe = make_recipe(preset, **{name: value for name, value in options.items() if name in of_recipe})
    others = {name: value for name, value in options.items() if name not in of_recipe}
    request = TrainRequest(**{"dataset": dataset, "recipe": recipe, "recipe_name": preset, **others})
    outcome = run(request, as_store(store), Policy(resume=resume, replace=replace), report)
    assert outcome is not None  # noqa: S101 - cannot happen: this process is the only one
    return outcome.result
