"""How T* is shown: one table of all rules, T* by size, and an answer in words."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from gaga.cli.render import Table, attributes, by_row
from gaga.core.text import nats

if TYPE_CHECKING:
    from gaga.stats.tstar import Calibrated, TstarResult
    from gaga.stats.tstar_by_price import ByPrice

_STRONG = 3.0  # signal-to-noise ratio: above, the expansion behind the price was found too small (docs/TSTAR.md)
ESTIMATES = ("paper", "t_dependence", "t_distance", "mean", "quantile")


def payload(result: "TstarResult") -> dict[str, Any]:
    """The keys of docs/JSON.md; of what the source does not hold, null."""
    names = "tstar T schedule estimator reference reason resolution consecutive quantile_level"
    found = {name: getattr(result, name) for name in ESTIMATES}
    return {
        **attributes(result, f"{names} eps_dependence eps_distance"),
        "price": _price(result),
        "effects": _effects(result),
        "estimates": {name: asdict(one) for name, one in found.items() if one is not None} or None,
        "table": _eps_rows(result),
    }


def _price(result: "TstarResult") -> dict[str, Any] | None:
    price = result.price
    if price is None:
        return None
    return {
        **attributes(price, "tolerance level molecules=n_molecules share_of_positions few_molecules"),
        **asdict(price.step),
        "by_size": by_row(
            n_atoms=price.sizes, molecules=price.molecules, value=price.step_by_size, low=price.low_by_size,
            high=price.high_by_size,
        ),
    }  # fmt: skip


def _effects(result: "TstarResult") -> dict[str, Any] | None:
    effects = result.effects
    if effects is None:
        return None
    return {
        "max_effect": effects.tolerances[0, 0],
        "molecules": effects.n_molecules,
        "value": _step(effects.tstar[0]),
        "too_few_molecules": effects.too_few_molecules[0],
        "by_statistic": [
            {"statistic": name, "value": _step(t), "resolution": least}
            for name, t, least in zip(effects.statistics, effects.by_statistic[0], effects.resolution, strict=True)
        ],
    }


def _step(t: Any) -> int | None:
    """A whole step; negative is none."""
    return None if t < 0 else int(t)


def _eps_rows(result: "TstarResult") -> list[dict[str, Any]]:
    """T* by the paper's thresholds; None if no step passes."""
    if result.table is None:
        return []
    rows = by_row(**{name: column.tolist() for name, column in asdict(result.table).items()})
    return [{name: None if value < 0 else value for name, value in row.items()} for row in rows]


def tables(result: "TstarResult", *, by_size: bool) -> Iterator[Table | str]:
    """T* by every rule; what the chosen rule has besides; T* by size if it is asked for."""
    yield Table(
        title="T* by each rule",
        columns=("rule", "T*", "interval", "price there, nats", "T* of true Gaussians"),
        rows=list(_rules(result)),
        digits=3,
    )
    if by_size and result.price is not None:
        yield Table(
            title=f"T* at the same price, {nats(result.price.tolerance)} a molecule, by number of atoms",
            columns=("atoms", "molecules", "T*", "interval"),
            rows=list(_sizes(result)),
        )
    elif by_size:
        yield "T* by size is read from the price, which this result does not hold."
    if result.estimator == "paper" and result.table is not None:
        yield Table(
            title=f"paper by its thresholds, reference {result.reference}",
            columns=("eps_dep, nats", "eps_DS", "T_ID", "T_DS", "T*"),
            rows=[tuple(row.values()) for row in _eps_rows(result)],
        )
    if result.estimator == "effects" and result.effects is not None:
        yield Table(
            title="effects: from which step the upper limit of each is below its tolerance",
            columns=("statistic", "tolerance", "T*", "smallest tolerance that true Gaussians pass"),
            rows=[
                (row["statistic"], result.effects.tolerances[0, 0], row["value"], row["resolution"])
                for row in (_effects(result) or {})["by_statistic"]
            ],
            digits=2,
        )


def _rules(result: "TstarResult") -> Iterator[tuple[object, ...]]:
    price, effects = result.price, result.effects
    if price is not None:
        step = price.step
        label = f"price: at most {nats(price.tolerance)} a molecule"
        yield label, _whole(step.value), _ends(step.low, step.high), price.tolerance, None
    if effects is not None:
        few = "too few molecules" if effects.too_few_molecules[0] else None
        label = f"effects: each at most {effects.tolerances[0, 0]:g}; last {effects.decided_by[0]}"
        yield label, _step(effects.tstar[0]), few, _price_at(result, effects.tstar[0]), None
    labels = {
        "paper": "paper: the later of T_ID and T_DS",
        "t_dependence": f"  T_ID: Dep_t at most {result.eps_dependence:g} nats",
        "t_distance": f"  T_DS: D_t at most {result.eps_distance:g}, {result.reference} Gaussian",
        "mean": "mean of the published test of each molecule",
        "quantile": f"quantile {result.quantile_level:g} of the published test",
    }
    for name, label in labels.items():
        one: Calibrated | None = getattr(result, name)
        if one is not None:
            data, null = one.data, one.null
            ends = _ends(data.low, data.high)
            yield label, _whole(data.value), ends, _price_at(result, data.value), _whole(null.value)


def _price_at(result: "TstarResult", t: float | None) -> float | None:
    return None if result.price is None or t is None or t < 0 else float(result.price.nats[math.ceil(t)])


def _sizes(result: "TstarResult") -> Iterator[tuple[object, ...]]:
    """A row for each number of atoms; one for several in a row that have the same molecules around them."""
    rows = (_price(result) or {})["by_size"]
    for ends, group in groupby(rows, key=lambda row: (row["value"], row["low"], row["high"])):
        some = list(group)
        first, last = some[0]["n_atoms"], some[-1]["n_atoms"]
        step, low, high = (None if math.isinf(end) else float(end) for end in ends)
        atoms = f"{first}" if first == last else f"{first} – {last}"
        yield atoms, sum(int(row["molecules"]) for row in some), _whole(step), _ends(low, high)


def _whole(t: float | None) -> int | None:
    """The first whole step that is not before it."""
    return None if t is None else math.ceil(t)


def _ends(low: float | None, high: float | None) -> str:
    return " – ".join("later" if end is None else f"{end:.0f}" for end in (low, high))


def answer(result: "TstarResult", config: Mapping[str, Any]) -> Iterator[str]:
    """What T* is and means, what it saves, what decided, how sure it is, and the next command.

    `config` is that of the result that T* is read from.
    """
    from gaga.data.own import PUBLISHED_NAMES

    if result.tstar is None:
        yield f"No step passes, by {result.estimator}: {result.reason}"
        return
    to = "" if result.estimator == "price" else f", to {result.resolution} steps"
    yield f"T* = {result.tstar} of {result.T}{to}, by {result.estimator}: {result.reason}"
    by_price = result.estimator == "price" and result.price is not None
    if by_price:
        yield (
            "From there on a Gaussian stands for the noised molecules: training and sampling never see later steps. "
            "A nat is a factor of 2.7 in the likelihood of a molecule."
        )
    saved = f"{100 * (1 - result.tstar / result.T):.0f} %"
    yield f"It saves {saved} of the steps: of training, and of sampling by every step."
    yield _of_price(result.price, result) if by_price and result.price is not None else _of_curves(result)
    data = config.get("dataset")
    schedule = "" if result.schedule == "polynomial_2" else f" --schedule {result.schedule}"
    yield f"Next: gaga train --dataset {data if data in PUBLISHED_NAMES else 'FILE'} --max-t {result.tstar}{schedule}"


def _of_price(price: "ByPrice", result: "TstarResult") -> str:
    """How sure T* by price is."""
    ends = f"{100 * price.level:g} % interval {_ends(price.step.low, price.step.high)}"
    if price.few_molecules:
        ends += (
            f", but {price.n_molecules:,} molecules are too few: of 300 random molecules of QM9, T* is 12 steps too "
            "early on average and varies by 20; of 1,000, it varies by 9. Take 1,000 or more"
        )
    snr = math.exp(-float(result.gamma[result.tstar or 0]))
    sure = (
        "heavy tails make it too large, so that T* is late rather than early"
        if snr < _STRONG
        else f"at so early a step (signal over noise {snr:.2g}) it may be far too small, and T* too early: see effects"
    )
    return f"How sure: {ends}. The price is an estimate, no bound: {sure}."


def _of_curves(result: "TstarResult") -> str:
    """How sure T* by another rule is."""
    if result.estimator == "effects":
        return "How sure: every effect's upper 95 % limit is below, at this step and all later ones."
    low, high = result.interval
    sees = "D_t and Dep_t see whether molecules are round, not their bonds, and their thresholds are gaga's."
    return f"How sure: interval {_ends(low, high)}. {sees if result.estimator == 'paper' else ''}".rstrip()
