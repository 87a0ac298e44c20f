"""The variance of molecules, in every convention."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gaga.core.progress import Reporter
from gaga.data.features import FeatureSpace
from gaga.data.published import DEVIATIONS
from gaga.runs.inputs import DataRequest, cores, select
from gaga.runs.once import Key, Outcome, Policy, as_store, once, slug
from gaga.stats.variance import VarianceResult
from gaga.stats.variance import variance as measure
from gaga.storage.partial import PartialResults
from gaga.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class VarianceRequest(DataRequest):
    """Which molecules, and which columns.

    Attributes:
        include_charges: nuclear charges as a third block. centred_features: types centred in each molecule.
        name: of the result in the store; None is variance_DATASET.
    """

    include_charges: bool = False
    centred_features: bool = True
    name: str | None = None


def run(request: VarianceRequest, store: Store | None, policy: Policy, report: Reporter) -> Outcome[VarianceResult]:
    """Find or compute and store it."""
    chosen = select(request, report)
    space = FeatureSpace(
        vocabulary=chosen.dataset.vocabulary,
        include_charges=request.include_charges,
        centred_features=request.centred_features,
    )
    key = Key(
        kind="variance",
        name=request.name or f"variance_{slug(chosen.dataset.name)}",
        config={**chosen.config, **asdict(space)},
        inputs=chosen.inputs,
        seed=chosen.seed,
    )

    def compute(_: PartialResults) -> VarianceResult:
        with report.progress("variance") as progress:
            return measure(chosen.dataset.molecules, space, threads=request.threads or cores(), progress=progress)

    return once(store, key, VarianceResult, compute, policy, report)


def published(outcome: Outcome[VarianceResult]) -> dict[str, float] | None:
    """What papers print as the variance of this data set by block; None if nothing, or if the columns are others."""
    config = outcome.entry.config
    if config["include_charges"] or not config["centred_features"]:
        return None
    return dict(DEVIATIONS[config["dataset"]]) if config["dataset"] in DEVIATIONS else None


def variance(
    dataset: str | Path = "qm9",
    *,
    store: Store | Path | str | None = None,
    replace: bool = False,
    report: Reporter = Reporter(),
    **options: Any,
) -> VarianceResult:
    """What `gaga variance` computes; kept in the store, and found there again, if one is named.

    Args:
        dataset: a name, or the path of your own molecules.
        store: the file of results. replace: replace a different result of the same name.
        report: receives notes and progress.
        options: other fields of `VarianceRequest`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> import gaga
        >>> result = gaga.variance("mine.sdf", store="gaga.h5")  # doctest: +SKIP
        >>> result.variance_subspace.mean  # doctest: +SKIP
    """
    request = VarianceRequest(dataset=dataset, **options)
    return run(request, as_store(store), Policy(replace=replace), report).result
