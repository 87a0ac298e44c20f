"""The Gaussianity of noised molecules, step by step: resumable, and stored."""

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from gaga.core.config import split_off
from gaga.core.progress import Reporter
from gaga.data.features import FeatureSpace, require_features
from gaga.noise import Moments, Schedule, make_schedule
from gaga.runs.devices import statistics_device
from gaga.runs.inputs import DataRequest, Selection, cores, select
from gaga.runs.once import Key, Outcome, Policy, as_store, once, slug
from gaga.stats.config import GaussianityConfig
from gaga.stats.effects import molecule_effects
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.gaussianity import gaussianity as measure
from gaga.stats.moments import estimate_moments
from gaga.stats.price import price
from gaga.stats.price_config import PriceConfig
from gaga.stats.price_summary import PriceSummary
from gaga.storage.partial import PartialResults
from gaga.storage.store import Store

KIND, PREFIX = "gaussianity", "identity_to_gaussian_"


@dataclass(frozen=True, kw_only=True)
class GaussianityRequest(DataRequest):
    """Which molecules, which noise, and how they are tested.

    Attributes:
        schedule: noise schedule of 1000 steps. checkpoint: a model whose schedule and features are taken instead.
        config: the tests.
        device: auto, cpu, cuda or cuda:N; the results are the same except for rounding.
        name: of the result in the store; None is identity_to_gaussian_DATASET.
    """

    schedule: str = "polynomial_2"
    checkpoint: Path | None = None
    config: GaussianityConfig = GaussianityConfig()
    device: str = "auto"
    name: str | None = None


def run(
    request: GaussianityRequest, store: Store | None, policy: Policy, report: Reporter
) -> Outcome[GaussianityResult]:
    """Find or compute and store it; `policy.engine` is set here.

    Raises:
        Conflict, NotFound, Unavailable: as `once`; or there is no such data set, checkpoint or device.
        InvalidInput: the molecules or a step do not fit.
    """
    chosen = select(request, report)
    schedule, space, model = _schedule_and_space(request, chosen, report)
    for t in request.config.timesteps:
        schedule.step(t)
    threads = request.threads or cores()
    key = Key(
        kind=KIND,
        name=request.name or f"{PREFIX}{slug(chosen.dataset.name)}",
        config={
            **chosen.config, **_described(request.config), **asdict(space), "schedule": schedule.name, "T": schedule.T
        },
        inputs={**chosen.inputs, **model},
        seed=request.seed,
    )  # fmt: skip

    def compute(pieces: PartialResults) -> GaussianityResult:
        device, _ = statistics_device(request.device)
        # The moments of the whole split, so that a fraction is compared with the same Gaussians as all of it.
        with report.progress("moments") as progress:
            moments = estimate_moments(chosen.pool.molecules, space, threads=threads, progress=progress)
        with report.progress("noising") as progress:
            found = measure(
                chosen.dataset.molecules, space, schedule, moments, request.config,
                seed=request.seed, threads=threads, device=device, progress=progress, pieces=pieces,
            )  # fmt: skip
        with report.progress("shapes") as progress:
            effects = molecule_effects(
                chosen.dataset.molecules, space, schedule, request.config.timesteps,
                seed=request.seed, level=request.config.level, n_resamples=request.config.n_resamples,
                against=request.config.against,
                chosen=None if found.confidence is None else found.confidence.molecules,
                threads=threads, progress=progress, pieces=pieces.subset("effects"),
            )  # fmt: skip
        of = None if found.confidence is None else found.confidence.molecules
        price = _price(request, chosen, schedule, space, moments, of, report, pieces.subset("price"))
        return dataclasses.replace(found, effects=effects, price=price)

    def complete(there: GaussianityResult) -> bool:
        return not policy.replace or (there.effects is not None and there.price is not None)

    engine = dataclasses.replace(policy, engine=lambda: engine_of(request))
    return once(store, key, GaussianityResult, compute, engine, report, complete)


def _price(
    request: GaussianityRequest,
    chosen: Selection,
    schedule: Schedule,
    space: FeatureSpace,
    moments: Moments,
    of: Int64[np.ndarray, " m"] | None,
    report: Reporter,
    pieces: PartialResults,
) -> PriceSummary | None:
    """What a start from a Gaussian costs, of all molecules or of these: of positions and centred types.

    None if no number of atoms has two molecules, of which pairs could be made.
    """
    molecules = chosen.dataset.molecules if of is None else chosen.dataset.molecules.select(np.sort(of))
    if np.bincount(molecules.n_atoms)[2:].max(initial=0) < 2:
        return None
    threads, priced = (
        request.threads or cores(),
        dataclasses.replace(space, include_charges=False, centred_features=True),
    )
    if priced != space:
        with report.progress("moments") as progress:
            moments = estimate_moments(chosen.pool.molecules, priced, threads=threads, progress=progress)
    with report.progress("cumulants by number of atoms") as progress:
        found = price(
            molecules, priced, schedule, moments,
            PriceConfig(level=request.config.level, n_resamples=request.config.n_resamples),
            seed=request.seed, threads=threads, progress=progress, pieces=pieces,
        )  # fmt: skip
    return PriceSummary.of(found)


def engine_of(request: GaussianityRequest) -> str:
    """The device that computes, by its name for the reader."""
    return statistics_device(request.device)[1]


def _described(config: GaussianityConfig) -> dict[str, object]:
    """The options that count: without `until` if there is none, without `n_null` if there is one, and `against` if it
    is shape, so that results of earlier versions are found."""
    without = {"until" if config.until is None else "n_null", *(("against",) if config.against == "size" else ())}
    return {name: v for name, v in asdict(config).items() if name not in without}


def _schedule_and_space(
    request: GaussianityRequest, chosen: Selection, report: Reporter
) -> tuple[Schedule, FeatureSpace, dict[str, str]]:
    """Schedule and features; and the hash of the checkpoint that gives them, if one does."""
    if request.checkpoint is None:
        return make_schedule(request.schedule), FeatureSpace(vocabulary=chosen.dataset.vocabulary), {}
    from gaga.models.api import load_model, model_digest  # here: the statistics need no torch

    model = load_model(request.checkpoint)
    if model.decided:
        report.note(model.decided)
    return model.schedule, require_features(model.space), {request.checkpoint.name: model_digest(request.checkpoint)}


def gaussianity(
    dataset: str | Path = "qm9",
    *,
    store: Store | Path | str | None = None,
    resume: bool = False,
    replace: bool = False,
    report: Reporter = Reporter(),
    **options: Any,
) -> GaussianityResult:
    """What `gaga gaussianity` computes; if a store is named, kept there, found again, and resumable.

    Args:
        dataset: a name, or the path of your own molecules.
        store: the file of results. resume: continue a run that was interrupted.
        replace: replace a different result of the same name, and give up an unfinished run.
        report: receives notes and progress.
        options: other fields of `GaussianityRequest` and `GaussianityConfig`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> import gaga
        >>> curves = gaga.gaussianity("mine.sdf", until=0.01, store="gaga.h5")  # doctest: +SKIP
        >>> gaga.tstar(curves).tstar  # doctest: +SKIP
    """
    config, others = split_off(GaussianityConfig, options)
    request = GaussianityRequest(dataset=dataset, config=config, **others)
    return run(request, as_store(store), Policy(resume=resume, replace=replace), report).result
