"""Training a predictor of a property: the trainer in its folder, the record in the store, as `runs.train`."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gaga.core.config import options_of
from gaga.core.errors import InvalidInput
from gaga.core.progress import Reporter
from gaga.core.statistics import Interval
from gaga.core.text import human_time
from gaga.data.dataset import Dataset
from gaga.data.targets import has_halves, targets_of
from gaga.evaluation.property_error import PropertyRow, rows_of_data, shown_in
from gaga.models.checkpoint import file_digest
from gaga.models.predictor.checkpoint import load_predictor
from gaga.models.predictor.recipe import PredictorRecipe, make_predictor_recipe
from gaga.models.predictor.trainer import PredictorTrainer
from gaga.models.training.log import Metrics
from gaga.models.training.record import MetricsLog
from gaga.runs.devices import torch_device
from gaga.runs.inputs import read_dataset
from gaga.runs.once import Key, Outcome, Policy, as_store, claimed, slug
from gaga.runs.train import UnfinishedRun, is_as_written
from gaga.storage.store import Store

KIND = "predictor"


@dataclass(frozen=True, kw_only=True)
class TrainPropertyRequest:
    """What is learnt, on what, and where it is kept.

    Attributes:
        property: which property of the data set.
        dataset: a name or a path. recipe: every hyperparameter.
        recipe_name: how the run's default name calls the recipe.
        half: "first" for the first half of the training molecules, "none" for all; None: first for QM9, else none.
        budget_s: seconds in which the learning-rate schedule ends; None: the recipe's length.
        runs: folder of the runs' folders. name: of the run; by default PROPERTY_DATASET_RECIPE.
        device: where the network runs. seed: of every random number.
        cache: folder of prepared data sets.
    """

    property: str
    dataset: str | Path = "qm9"
    recipe: PredictorRecipe = make_predictor_recipe()
    recipe_name: str = "small"
    half: str | None = None
    budget_s: float | None = None
    runs: Path = Path("runs")
    name: str | None = None
    device: str = "auto"
    seed: int = 0
    cache: Path | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictorRecord:
    """What the store keeps of a run, finished or not.

    Attributes:
        finished: whether it ran to its end.
        checkpoint: path of predictor.safetensors. checkpoint_sha256: hash of that file.
        property, unit: what is learnt. half: of the training molecules, first or none.
        steps: taken. seconds: spent training.
        metrics: the log; `valid_loss` is the mean absolute error on the property's scale, of at most 2,000 molecules.
        deviation: the unit of that scale, a mean absolute deviation, in the property's unit.
        rows: the errors of all validation and test molecules, in the property's unit; none before the end.
    """

    finished: bool
    checkpoint: str
    checkpoint_sha256: str
    property: str
    unit: str
    half: str
    steps: int
    seconds: float
    metrics: MetricsLog
    deviation: float
    rows: tuple[PropertyRow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainedPredictor:
    """A run, and the rows that its error is compared with: shuffled labels, and the number of atoms alone."""

    outcome: Outcome[PredictorRecord]
    rows: tuple[PropertyRow, ...]


@dataclass(frozen=True, kw_only=True)
class _Job:
    request: TrainPropertyRequest
    data: Dataset
    half: str
    key: Key

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.request.runs / slug(self.key.name)

    def trainer(self) -> PredictorTrainer:
        """The run as it begins."""
        request = self.request
        return PredictorTrainer(
            self.data, request.property, request.recipe, self.folder, half=self.half, seed=request.seed,
            budget_s=request.budget_s, device=torch_device(request.device),
            provenance={"name": self.key.name, "inputs": self.key.inputs},
        )  # fmt: skip


def run(
    request: TrainPropertyRequest,
    store: Store | None,
    policy: Policy,
    report: Reporter,
    stopping: AbstractContextManager[Callable[[], bool]] = nullcontext(lambda: False),
) -> TrainedPredictor:
    """Find the finished predictor, or train and store it.

    `stopping` is entered while it trains; what it gives, called after each step, says whether to end there. The record
    then says that the run is not finished.

    Raises:
        Conflict, NotFound, Unavailable: as `once`; or there is no such data set or device.
        InvalidInput: the data set has no such property, or nothing can be learnt of it.
    """
    job = _job(request, report)
    rows = rows_of_data(job.data, request.property, halves=job.half == "first")

    def stored() -> PredictorRecord | None:
        record = None if store is None or policy.replace else store.get(KIND, job.key.name, PredictorRecord)
        whole = record is not None and record.finished and is_as_written(record.checkpoint, record.checkpoint_sha256)
        return record if whole else None

    unfinished = UnfinishedRun(job.folder)
    resumed = bool(policy.resume) and unfinished.exists()
    renewed = replace(policy, replace=policy.replace or resumed)
    with claimed(store, job.key, stored, renewed, unfinished, report) as found:
        if found is not None:
            return TrainedPredictor(outcome=found, rows=rows)
        trainer = job.trainer()
        resumed = bool(policy.resume) and unfinished.exists()
        if resumed:
            trainer.resume()
            report.note(f"Resuming {job.folder} at step {trainer.counters.step:,}.")
        report.note(_beginning(trainer))

        def keep(*, finished: bool) -> Outcome[PredictorRecord]:
            record = record_of(trainer, finished=finished)
            entry = job.key.put(store, record, replace=renewed.replace or resumed, renew=True)
            return Outcome(result=record, entry=entry, found=False)

        keep(finished=False)
        what = "seconds of training" if trainer.budget_s else "training"
        with stopping as should_stop, report.progress(what, first=True) as progress:
            finished = trainer.run(
                progress=progress, on_metrics=lambda row: report.note(_metrics_line(trainer, row)),
                should_stop=should_stop,
            )  # fmt: skip
        return TrainedPredictor(outcome=keep(finished=finished), rows=rows)


def plan(request: TrainPropertyRequest, report: Reporter) -> tuple[dict[str, Any], tuple[PropertyRow, ...]]:
    """The recipe and the size of a run, which is not started, and the rows that it will be compared with."""
    job = _job(request, report)
    trainer = job.trainer()
    parameters = sum(p.numel() for p in trainer.network.parameters())
    size = {"parameters": parameters, "training_molecules": len(trainer.train_set), "steps": trainer.total_steps}
    about = {"property": request.property, "unit": trainer.unit, "half": job.half, **asdict(request.recipe)}
    return about | size, rows_of_data(job.data, request.property, halves=job.half == "first")


def record_of(trainer: PredictorTrainer, *, finished: bool) -> PredictorRecord:
    """What the store keeps of this run now; before its first measurement it has no checkpoint."""
    path = trainer.model_path
    there = bool(trainer.best) and path.exists()
    metrics = load_predictor(path).metrics if there and finished else {}
    return PredictorRecord(
        finished=finished,
        checkpoint=str(path.absolute()),
        checkpoint_sha256=file_digest(path) if there else "",
        property=trainer.property,
        unit=trainer.unit,
        half=trainer.half,
        steps=trainer.counters.step,
        seconds=trainer.counters.seconds,
        metrics=MetricsLog.of(trainer.history.measured),
        deviation=trainer.scale.deviation[0],
        rows=_own_rows(metrics),
    )


def _own_rows(metrics: Mapping[str, Any]) -> tuple[PropertyRow, ...]:
    """The errors that a predictor was measured with at the end of its training."""
    found = metrics.get("errors", {})
    return tuple(
        PropertyRow(
            name=split, description=f"this predictor's; {split} split", n=int(found[split]["molecules"]),
            mae=Interval(found[split]["mae"], found[split]["low"], found[split]["high"]),
        )
        for split in ("valid", "test")
        if split in found
    )  # fmt: skip


def _job(request: TrainPropertyRequest, report: Reporter) -> _Job:
    data = read_dataset(request.dataset, report, cache=request.cache)
    if len(data.splits["train"]) == 0:
        raise InvalidInput("the data set has no training molecules", received=f"{len(data)} molecules in all")
    half = request.half or ("first" if has_halves(data) else "none")
    key = Key(
        kind=KIND,
        name=request.name or slug(f"{request.property}_{data.name}_{request.recipe_name}"),
        config={
            "property": request.property, "dataset": data.name, "half": half, "vocabulary": list(data.vocabulary),
            "budget_s": request.budget_s, **asdict(request.recipe),
        },
        inputs={data.name: data.fingerprint, "properties": targets_of(data, [request.property]).digest},
        seed=request.seed,
    )  # fmt: skip
    return _Job(request=request, data=data, half=half, key=key)


def _beginning(trainer: PredictorTrainer) -> str:
    n = sum(p.numel() for p in trainer.network.parameters())
    of = "the first half of the training molecules" if trainer.half == "first" else "the training molecules"
    length = human_time(trainer.budget_s) if trainer.budget_s else f"{trainer.total_steps:,} steps"
    return (
        f"Training {n:,} parameters to predict {trainer.property} on {len(trainer.train_set):,} molecules, {of}, on "
        f"{trainer.device}: {length}."
    )


def _metrics_line(trainer: PredictorTrainer, row: Metrics) -> str:
    """One measurement, in the property's unit."""
    unit, by = shown_in(trainer.unit)
    errors = [
        f"{name} {by * trainer.scale.deviation[0] * loss:.4g}"
        for name, loss in (("training", row.train_loss), ("validation", row.valid_loss))
        if loss is not None
    ]
    return f"step {row.step:,}, epoch {row.epoch}: mean absolute error{unit and f' in {unit}'}, {', '.join(errors)}"


def train_property(
    property: str,
    dataset: str | Path = "qm9",
    *,
    store: Store | Path | str | None = None,
    resume: bool = False,
    replace: bool = False,
    preset: str = "small",
    report: Reporter = Reporter(),
    **options: Any,
) -> PredictorRecord:
    """What `gaga train-property` does: a predictor in a folder of `runs`, and its record, kept in the store if one is
    named.

    Args:
        property: which property of the data set is learnt.
        dataset: a name, or the path of your own molecules.
        store: the file of results. resume: continue a run that was interrupted, from its folder.
        replace: start over a run of the same name.
        preset: the recipe. report: receives notes and progress.
        options: other fields of `TrainPropertyRequest` and of `PredictorRecipe`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> import gaga
        >>> judge = gaga.train_property("alpha", budget_s=900)  # doctest: +SKIP
        >>> gaga.evaluate("mols.sdf", property="alpha", predictor=judge.checkpoint)  # doctest: +SKIP
    """
    of_recipe = options_of(PredictorRecipe).keys()
    recipe = make_predictor_recipe(preset, **{name: value for name, value in options.items() if name in of_recipe})
    others = {name: value for name, value in options.items() if name not in of_recipe}
    if unknown := sorted(others.keys() - TrainPropertyRequest.__dataclass_fields__.keys()):
        raise InvalidInput("no such option", received=", ".join(unknown))
    request = TrainPropertyRequest(
        **{"property": property, "dataset": dataset, "recipe": recipe, "recipe_name": preset, **others}
    )
    return run(request, as_store(store), Policy(resume=resume, replace=replace), report).outcome.result
