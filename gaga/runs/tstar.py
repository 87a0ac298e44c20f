"""T*, the step from which noised molecules are Gaussian enough: from a stored Gaussianity result or price, or one made
now."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from gaga.core.errors import Conflict
from gaga.core.progress import Reporter
from gaga.data.loading import NAMES
from gaga.runs import gaussianity, price
from gaga.runs.gaussianity import GaussianityRequest
from gaga.runs.inputs import read_dataset
from gaga.runs.once import Key, Outcome, Policy, as_store, once, slug
from gaga.stats.config import TstarConfig
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.plots import plot_tstar
from gaga.stats.price import PriceResult
from gaga.stats.tstar import TstarResult, usable
from gaga.stats.tstar import tstar as estimate
from gaga.storage.store import SHIPPED_STORE, Entry, Store

KIND, PREFIX = "tstar", "tstar_"


def run(
    source: Entry,
    config: TstarConfig,
    store: Store,
    policy: Policy,
    *,
    name: str | None = None,
    seed: int = 0,
    report: Reporter = Reporter(),
) -> Outcome[TstarResult]:
    """Find or compute and store it, from a stored Gaussianity result or price.

    Raises:
        Conflict, NotFound, Unavailable: as `once`.
        InvalidInput: as `gaga.stats.tstar.tstar`.
    """
    curves = curves_of(source, store)
    chosen, default = usable(curves, config), usable(curves, TstarConfig())
    if chosen.estimator != config.estimator:
        report.note(_without_price(source))
    key = Key(
        kind=KIND,
        name=name or _default_name(source, chosen, store, default),
        config=_described(chosen, curves),
        inputs={f"{source.kind}/{source.name}": source.digest},
        seed=seed,
    )
    return once(store, key, TstarResult, lambda _: estimate(curves, chosen, seed=seed), policy)


def _without_price(source: Entry) -> str:
    return (
        f"{source.kind}/{source.name} holds no price, so T* is by the paper's rule. If an earlier version made it, "
        "`gaga gaussianity` with `replace=True` measures it anew with one; `gaga price` measures the price alone, "
        "which `gaga tstar` reads too."
    )


def _described(config: TstarConfig, curves: GaussianityResult | PriceResult) -> dict[str, object]:
    """The options that count: those of a price or of effects only if there are any, as in earlier versions."""
    options = asdict(config)
    if isinstance(curves, GaussianityResult) and curves.price is None:
        del options["tolerance"]
        if config.estimator != "effects":
            del options["max_effect"]
    return options


def find_or_measure(name: str, request: GaussianityRequest, store: Store, report: Reporter) -> Entry:
    """The Gaussianity result or price of that name; the former is computed if it is not there and its name is that of a
    known data set's.

    Raises:
        NotFound: it is not there, and its name says of no data set.
    """
    entry = store.find(gaussianity.KIND, name) or store.find(price.KIND, name)
    dataset = name.casefold().removeprefix(gaussianity.PREFIX)
    if entry is None and dataset in NAMES and dataset != name.casefold():
        report.note(f"No gaussianity result {name} yet: computing it, as gaga gaussianity --dataset {dataset} does.")
        request = changed(request, dataset=dataset, name=name)
        entry = gaussianity.run(request, store, Policy(resume=None), report).entry
    entry = entry or store.require(gaussianity.KIND, name)
    if entry.shipped:
        report.note(f"Read {entry.kind}/{entry.name} from the results that ship with gaga.")
    return entry


def curves_of(source: Entry, store: Store) -> GaussianityResult | PriceResult:
    """The result that T* is computed from."""
    if source.kind == price.KIND:
        return store.get(source.kind, source.name, PriceResult)
    return store.get(source.kind, source.name, GaussianityResult)


def stored_tstar(store: Store, name: str) -> tuple[Entry, TstarResult]:
    """The stored T* of that name.

    Raises:
        NotFound: there is none.
    """
    return store.require(KIND, name), store.get(KIND, name, TstarResult)


def default_tstar(store: Store, dataset: str | Path, *, cache: Path | None, report: Reporter) -> Outcome[TstarResult]:
    """T* of a data set: the stored one of its name, else computed with the default settings from what is stored.

    Raises:
        Conflict: the stored Gaussianity of that name is of other molecules, or of other type columns.
    """
    data = read_dataset(dataset, report, cache=cache)
    source = store.find(gaussianity.KIND, f"{gaussianity.PREFIX}{slug(data.name)}")
    if source is None:
        request = GaussianityRequest(dataset=dataset, cache=cache)
        source = gaussianity.run(request, store, Policy(resume=None), report).entry
    label = f"{gaussianity.KIND}/{source.name}"
    again = f"run gaga gaussianity --dataset {dataset} --replace"
    if source.inputs.get(data.name) != data.fingerprint:
        raise Conflict(f"the stored {label} is of other molecules than {dataset} holds now", remedy=again)
    if list(source.config.get("vocabulary", data.vocabulary)) != list(data.vocabulary):
        raise Conflict(f"the stored {label} has the type columns of another vocabulary than {dataset}", remedy=again)
    report.note(f"T* from {label}, measured on {measured_on(source.config)} {data.name}.")
    there = store.find(KIND, f"{PREFIX}{slug(data.name)}")
    if there is not None and there.inputs.get(f"{source.kind}/{source.name}") == source.digest:
        return Outcome(result=store.get(KIND, there.name, TstarResult), entry=there, found=True)
    return run(source, TstarConfig(), store, Policy(replace=there is not None), report=report)


def measured_on(config: Mapping[str, Any]) -> str:
    """Such as "2 % of"."""
    share = f"{100 * config.get('fraction', 1.0):.3g} % of"
    return f"what it takes to know it to ± {config['until']:g}, within {share}" if "until" in config else share


def _default_name(source: Entry, config: TstarConfig, store: Store, default: TstarConfig) -> str:
    """tstar_qm9; with other settings than the defaults, followed by their hash.

    A T* of that name that an earlier version stored, by the paper's rule, keeps it: the price has a name of its own.
    """
    plain = f"{PREFIX}{source.name.removeprefix(gaussianity.PREFIX)}"
    if config != default:
        return f"{plain}_{hashlib.sha256(repr(config).encode()).hexdigest()[:6]}"
    there = store.find(KIND, plain)
    is_earlier = there is not None and "tolerance" not in there.config
    return f"{plain}_price" if is_earlier and config.estimator == "price" else plain


def draw(result: TstarResult, source: Entry, store: Store, path: Path, report: Reporter) -> None:
    """Plot the curves, the null and T*."""
    plot_tstar(result, curves_of(source, store), path)
    report.note(f"Drew {path}.")


def tstar(
    source: str | GaussianityResult | PriceResult = "identity_to_gaussian_qm9",
    *,
    store: Store | Path | str | None = None,
    replace: bool = False,
    name: str | None = None,
    seed: int = 0,
    report: Reporter = Reporter(),
    **options: Any,
) -> TstarResult:
    """What `gaga tstar` computes: T* by every estimator, from a Gaussianity result or a price.

    Args:
        source: the result, or its name in the store or among those that ship.
        store: the file of results: T* is kept there, and found again, if `source` is a name.
        replace: replace a different result of the same name. name: of T* in the store.
        seed: of the bootstrap. report: receives notes and progress.
        options: fields of `TstarConfig`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> import gaga
        >>> gaga.tstar("identity_to_gaussian_qm9").T
        1000
    """
    config = TstarConfig(**options)
    if not isinstance(source, str):
        return estimate(source, config, seed=seed)
    results = as_store(store)
    if results is None:
        shipped = Store(SHIPPED_STORE, shipped=False)
        return estimate(curves_of(shipped.require(gaussianity.KIND, source), shipped), config, seed=seed)
    entry = find_or_measure(source, GaussianityRequest(seed=seed), results, report)
    return run(entry, config, results, Policy(replace=replace), name=name, seed=seed, report=report).result
