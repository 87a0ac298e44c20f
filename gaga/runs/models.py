"""The model that a run works with: which one, opened on its device, with moments to start sampling from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gaga.core.progress import Reporter
from gaga.data.features import require_features
from gaga.data.shapes import ShapeLibrary
from gaga.models.api import SHIPPED_CHECKPOINT, load_model, model_digest, model_file
from gaga.models.checkpoint import file_digest
from gaga.models.model import Model
from gaga.models.ranks import ALONE, Ranks
from gaga.models.training.record import TrainingRecord
from gaga.runs.devices import torch_device
from gaga.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """Which model, and how its network runs.

    Attributes:
        checkpoint: a file, a run's folder, a name that ships, an EDM folder; None: the newest run, or what ships.
        kernel, precision, device: as `load_model`.
        dataset: of an EDM folder, or of a checkpoint that lacks what is needed, the data set that it was trained on.
        cache: folder of prepared data sets.
        shapes: whether shapes of training molecules are needed.
    """

    checkpoint: Path | None = None
    kernel: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    dataset: str | None = None
    cache: Path | None = None
    shapes: bool = False


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint, why it was chosen, its hash, and the data set that its sizes are from, if any."""

    path: Path
    why: str
    digest: str
    data: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> dict[str, str]:
        """What is computed from it depends on these, by name and hash."""
        return {"checkpoint": self.digest, **self.data}

    @property
    def label(self) -> str:
        """The name by which records call it."""
        return f"{self.path.name}:{self.digest[:12]}"


def find_checkpoint(results: Store | None, given: Path | None) -> Source:
    """The checkpoint named, else that of the newest finished run of the store, else the one that ships with gaga."""
    if given is not None:
        path = given if given.exists() else model_file(given)  # the file of a model that ships, by its name
        return Source(path=path, why="named by `checkpoint`", digest=model_digest(given))
    found = None if results is None else _newest_run(results)
    if found is not None:
        return found
    why = "the model of QM9 that ships with gaga"
    return Source(path=SHIPPED_CHECKPOINT, why=why, digest=file_digest(SHIPPED_CHECKPOINT))


def _newest_run(results: Store) -> Source | None:
    for entry in sorted(results.entries("train"), key=lambda entry: entry.created, reverse=True):
        record = results.get("train", entry.name, TrainingRecord)
        path = Path(record.checkpoint)
        if record.finished and path.is_file():
            return Source(path=path, why=f"the newest finished run, train/{entry.name}", digest=file_digest(path))
    return None


def open_model(
    results: Store | None, request: ModelRequest, report: Reporter, ranks: Ranks = ALONE
) -> tuple[Model, Source]:
    """The model on its device; what it lacks is from the data set that is named, which becomes an input.

    Raises:
        InvalidInput: the checkpoint is not a model, or an EDM folder comes without a data set.
        NotFound: there is no such checkpoint.
        Unavailable: this machine has no such device, or the kernel cannot run on it.
    """
    source = find_checkpoint(results, request.checkpoint)
    device = torch_device(request.device, ranks)
    model = load_model(source.path, device=device, kernel=request.kernel, precision=request.precision)
    lacking = model.moments is None or (request.shapes and model.shapes is None)
    if not lacking or request.dataset is None:
        model.known_moments()
        return model, source
    if model.decided:
        report.note(model.decided)
    from gaga.runs.inputs import moments_of, read_dataset  # here: no other model needs data

    data = read_dataset(request.dataset, report, cache=request.cache)
    space = require_features(model.space)
    moments = model.moments or moments_of(data, space, report)
    shapes = ShapeLibrary.of(data.molecules, data.splits["train"], space)
    return replace(model, moments=moments, shapes=shapes), replace(source, data={data.name: data.fingerprint})


def how_it_runs(model: Model) -> tuple[str, str]:
    """Kernel and precision of its network."""
    return getattr(model.network, "kernel", "none"), getattr(model.network, "precision", "none")
