"""The price of starting at T* from a Gaussian, measured with a trained model."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gaga.core.progress import Reporter
from gaga.models.truncation import TruncationResult, price
from gaga.models.truncation_config import TruncationConfig
from gaga.runs.inputs import DataRequest, select
from gaga.runs.models import ModelRequest, Source, how_it_runs, open_model
from gaga.runs.once import Key, Outcome, Policy, once, slug
from gaga.stats.truncation_plot import plot_nats
from gaga.storage.partial import PartialResults
from gaga.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class TruncationRequest(DataRequest):
    """Which molecules, which model, and how it is measured.

    Attributes:
        model: which model. config: how many molecules, and which steps.
        name: of the result in the store; None is truncation_DATASET.
    """

    split: str = "valid"
    model: ModelRequest = ModelRequest(precision="float32")
    config: TruncationConfig = TruncationConfig()
    name: str | None = None


def run(
    request: TruncationRequest, store: Store, policy: Policy, report: Reporter
) -> tuple[Outcome[TruncationResult], Source]:
    """Find or compute and store it; also the model that it is of.

    Raises:
        Conflict, NotFound, Unavailable: as `once`; or there is no such data set, checkpoint or device.
        InvalidInput: the model was not trained on a step, or does not know an element.
    """
    model, source = open_model(store, request.model, report)
    config = replace(request.config, timesteps=tuple(request.config.steps_of(model).tolist()))
    chosen = select(request, report)
    key = Key(
        kind="truncation",
        name=request.name or f"truncation_{slug(chosen.dataset.name)}",
        config={
            "dataset": chosen.dataset.name, "split": request.split, **config.effective(),
            "kernel": how_it_runs(model)[0], "precision": request.model.precision,
        },
        inputs={**source.inputs(), **chosen.inputs},
        seed=request.seed,
    )  # fmt: skip
    report.note(f"Measuring {source.path}: {source.why}.")
    if request.split in ("train", "all"):
        report.note("What the network was trained on is no lower bound: it may know these molecules by heart.")

    def compute(_: PartialResults) -> TruncationResult:
        molecules = chosen.dataset.molecules
        drawn = np.sort(np.random.default_rng(request.seed).permutation(len(molecules))[: config.max_molecules])
        with report.progress("denoising") as progress:
            return price(model, molecules.take(drawn), config, keys=drawn, seed=request.seed, progress=progress)

    return once(store, key, TruncationResult, compute, policy, report), source


def draw(result: TruncationResult, path: Path, report: Reporter) -> None:
    """Plot nats over steps for each Gaussian."""
    first = 0 if result.max_t == result.T else 1  # the lowest signal-to-noise ratio, that of T*, comes first
    curves = dict(zip(result.references, result.curve[first:].T, strict=True))
    plot_nats(result.curve_t[first:], curves, path, unknown_from=None if first == 0 else result.max_t)
    report.note(f"Drew {path}.")
