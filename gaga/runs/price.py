"""The price of truncation from the data's cumulants, without a network: resumable, and stored."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gaga.core.config import split_off
from gaga.core.progress import Reporter
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.runs.inputs import DataRequest, cores, select
from gaga.runs.once import Key, Outcome, Policy, as_store, once, slug
from gaga.stats.moments import estimate_moments
from gaga.stats.price import PriceResult
from gaga.stats.price import price as measure
from gaga.stats.price_config import AGAINST, PriceConfig
from gaga.stats.price_plot import plot_price
from gaga.storage.partial import PartialResults
from gaga.storage.store import Store

KIND, PREFIX = "price", "price_"


@dataclass(frozen=True, kw_only=True)
class PriceRequest(DataRequest):
    """Which molecules, which noise, and how cumulants are estimated.

    Attributes:
        schedule: noise schedule of 1000 steps. config: how many pairs and resamples.
        against: what is started from: matched, the best Gaussian, or shape, random shapes of such molecules.
        name: of the result in the store; None is price_DATASET, or price_shape_DATASET.
    """

    schedule: str = "polynomial_2"
    against: str = AGAINST[0]
    config: PriceConfig = PriceConfig()
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A network's lower bound of the same divergence at one step: nats with the ends of its interval."""

    nats: float
    low: float
    high: float


def run(request: PriceRequest, store: Store | None, policy: Policy, report: Reporter) -> Outcome[PriceResult]:
    """Find or compute and store it.

    Raises:
        Conflict, NotFound, Unavailable: as `once`; or there is no such data set.
        InvalidInput: there is no such schedule or start, or no number of atoms has two molecules.
    """
    schedule = make_schedule(request.schedule)
    chosen = select(request, report)
    space = FeatureSpace(vocabulary=chosen.dataset.vocabulary)
    # The matched Gaussian is not named among the options, so that results of earlier versions are found.
    against = {} if request.against == AGAINST[0] else {"against": request.against}
    config = {**chosen.config, **asdict(request.config), **asdict(space), "schedule": schedule.name, "T": schedule.T}
    key = Key(
        kind=KIND,
        name=request.name or f"{PREFIX}{f'{request.against}_' if against else ''}{slug(chosen.dataset.name)}",
        config={**config, **against},
        inputs=chosen.inputs,
        seed=request.seed,
    )
    threads = request.threads or cores()

    def compute(pieces: PartialResults) -> PriceResult:
        # The moments of the whole split, so that a fraction is compared with the same Gaussians as all of it.
        with report.progress("moments") as progress:
            moments = estimate_moments(chosen.pool.molecules, space, threads=threads, progress=progress)
        with report.progress("cumulants by number of atoms") as progress:
            return measure(
                chosen.dataset.molecules, space, schedule, moments, request.config, against=request.against,
                seed=request.seed, threads=threads, progress=progress, pieces=pieces,
            )  # fmt: skip

    return once(store, key, PriceResult, compute, policy, report)


def network_bound(store: Store, name: str) -> dict[int, Bound]:
    """The lower bound of a stored truncation result at each step that its model knows, to the matched Gaussian.

    Raises:
        NotFound: there is no result of that name.
    """
    store.require("truncation", name)
    from gaga.models.truncation import TruncationResult  # here: the statistics need no torch

    found = store.get("truncation", name, TruncationResult)
    matched = found.references.index("matched")
    return {
        int(t): Bound(
            nats=float(found.nats[s, matched]), low=float(found.low[s, matched]), high=float(found.high[s, matched])
        )
        for s, t in enumerate(found.timesteps)
        if found.known[s]
    }


def draw(
    result: PriceResult, tolerances: tuple[float, ...], bound: dict[int, Bound], path: Path, report: Reporter
) -> None:
    """Plot nats over the steps."""
    plot_price(result, tolerances, path, bound={t: one.nats for t, one in bound.items()})
    report.note(f"Drew {path}.")


def price(
    dataset: str | Path = "qm9",
    *,
    store: Store | Path | str | None = None,
    resume: bool = False,
    replace: bool = False,
    report: Reporter = Reporter(),
    **options: Any,
) -> PriceResult:
    """What `gaga price` computes; if a store is named, kept there, found again, and resumable.

    Args:
        dataset: a name, or the path of your own molecules.
        store: the file of results. resume: continue a run that was interrupted.
        replace: replace a different result of the same name, and give up an unfinished run.
        report: receives notes and progress.
        options: other fields of `PriceRequest` and `PriceConfig`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> from gaga.runs.price import price
        >>> from gaga.stats.price_curve import tstar_by_price
        >>> tstar_by_price(price("mine.sdf").price, 1.0).text  # doctest: +SKIP
    """
    config, others = split_off(PriceConfig, options)
    request = PriceRequest(dataset=dataset, config=config, **others)
    return run(request, as_store(store), Policy(resume=resume, replace=replace), report).result
