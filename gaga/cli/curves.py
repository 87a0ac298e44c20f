"""How the Gaussianity of noised molecules is shown: tables by step, and JSON by point of a curve."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gaga.cli import effects
from gaga.cli.render import Table, attributes, by_row

if TYPE_CHECKING:
    from gaga.stats.gaussianity import GaussianityResult
    from gaga.stats.price_summary import PriceSummary
    from gaga.stats.until import Confidence


def payload(result: "GaussianityResult") -> dict[str, Any]:
    """The result as JSON has it: one object for each point of a curve."""
    test, blocks = result.reference, ("block", result.blocks)
    names = "schedule molecules=n_molecules null_molecules=n_null left_out=n_left_out timesteps alpha2 blocks"
    return {
        **attributes(result, f"{names} references level"),
        "confidence": result.confidence and _confidence(result, result.confidence),
        "reference_test": {
            **attributes(test, "alpha mi_threshold variances neighbours"),
            "molecules": len(test.passes),
            "null_molecules": len(test.null_passes),
            "pass_rates": list(_pass_rates(result)),
        },
        "distances": _records(result, result.distances, blocks, ("reference", result.references)),
        "null_distances": _records(result, result.null_distances, blocks, ("null", result.nulls)),
        "dependence": _records(result, result.dependence, blocks, ("pairs", result.pairs), ("null", result.nulls)),
        "effects": None if result.effects is None else effects.payload(result.effects, result.timesteps),
        "price": None if result.price is None else _price(result, result.price),
    }


def _price(result: "GaussianityResult", price: "PriceSummary") -> dict[str, Any]:
    """What a start from a Gaussian costs at the steps that were tested."""
    curve, t = price.price, result.timesteps
    rows = by_row(t=t, nats=curve.nats[t], low=curve.low[t], high=curve.high[t])
    return {"molecules": price.n_molecules, "level": price.level, "steps": rows}


def _confidence(result: "GaussianityResult", found: "Confidence") -> dict[str, Any]:
    """The precision that `until` reached: each curve's half-width at the step with the largest."""
    keys = ("curve", "block", "of", "half_width", "t", "molecules")
    rows = [dict(zip(keys, row, strict=True)) for row in _widest(result, found)]
    return {**attributes(found, "until reached available rounds"), "half_widths": rows}


def _widest(result: "GaussianityResult", found: "Confidence") -> Iterator[tuple[str, str, str, float, int, int]]:
    """Curve, block, what it is of, its largest half-width with the step where that is, and of how many molecules."""
    for b, block in enumerate(result.blocks):
        for r, reference in enumerate(result.references):
            yield "D_t", block, reference, *_largest(found.distances[:, b, r], result), result.n_molecules
        for p, pairs in enumerate(result.pairs):
            widths = found.dependence[:, b, p].max(axis=-1)
            yield "Dep_t", block, pairs, *_largest(widths, result), int(result.measured[b, p])


def _largest(widths: Any, result: "GaussianityResult") -> tuple[float, int]:
    return float(widths.max()), int(result.timesteps[widths.argmax()])


def _confidence_table(result: "GaussianityResult", found: "Confidence") -> Iterator[Table | str]:
    level = f"{100 * result.level:g} %"
    yield Table(
        title=f"Half-widths of the {level} intervals, where each curve's is largest; asked for ± {found.until:g}",
        columns=("curve", "block", "of", "half-width", "at t", "molecules"),
        rows=list(_widest(result, found)),
    )
    used = f"{result.n_molecules:,} of {found.available:,} molecules"
    rounds = f"{len(found.rounds)} round{'s' if len(found.rounds) > 1 else ''}"
    if found.reached:
        yield f"Every curve is known to ± {found.until:g} at every step ({level}) from {used}, in {rounds}."
    else:
        yield f"Not every curve is known to ± {found.until:g} ({level}): all {found.available:,} molecules were used."


def _pass_rates(result: "GaussianityResult") -> Iterator[dict[str, Any]]:
    """One record for each step, block and test, and for all tests of a block together."""
    both = {"data": result.reference.passes, "null": result.reference.null_passes}
    for s, t in enumerate(result.timesteps.tolist()):
        for b, block in enumerate(result.blocks):
            for i, name in enumerate(result.tests):
                yield {"t": t, "block": block, "test": name} | {key: of[:, s, b, i].mean() for key, of in both.items()}
            rates = {key: flags[:, s, b].all(axis=1).mean() for key, flags in both.items()}
            yield {"t": t, "block": block, "test": "all", **rates}


def _records(result: "GaussianityResult", curves: Any, *axes: tuple[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """An object for each entry of curves whose axes are the steps and these."""
    import numpy as np

    records = []
    for index in np.ndindex(curves.estimate.shape):
        names = {axis: labels[i] for (axis, labels), i in zip(axes, index[1:], strict=True)}
        numbers = {end: getattr(curves, end)[index] for end in ("estimate", "low", "high")}
        records.append({"t": result.timesteps[index[0]], **names, **numbers})
    return records


def tables(result: "GaussianityResult") -> Iterator[Table | str]:
    """Distances by step for each block, who passes the published test, and how well curves are known to --until."""
    for b, block in enumerate(result.blocks):
        curves = zip(result.timesteps, result.alpha2, result.distances.estimate[:, b], strict=True)
        yield Table(
            title=f"D_t of {block}: KS distance to each reference Gaussian, {result.n_molecules:,} molecules",
            columns=("t", "alpha²", *result.references, f"{result.nulls[0]} null"),
            rows=[
                (t, alpha2, *distances, result.null_distances.estimate[s, b, 0])
                for s, (t, alpha2, distances) in enumerate(curves)
            ],
        )
    yield _dependence_table(result)
    yield _test_table(result)
    if result.effects is not None:
        yield from effects.tables(result.effects, result.timesteps, result.level)
    if result.price is not None:
        price = result.price.price
        yield Table(
            title=f"Price of a start from a Gaussian, nats per molecule, {result.price.n_molecules:,} molecules",
            columns=("t", "price", f"{100 * result.price.level:g} % interval"),
            rows=[(t, price.nats[t], f"{price.low[t]:.3g} – {price.high[t]:.3g}") for t in result.timesteps],
            digits=3,
        )
    if result.confidence is not None:
        yield from _confidence_table(result, result.confidence)


def _dependence_table(result: "GaussianityResult") -> Table:
    """Dep_t against independent Gaussians, for each block and kind of pairs."""
    curves = [(b, p) for b in range(len(result.blocks)) for p in range(len(result.pairs))]
    return Table(
        title=f"Dep_t, nats: mean mutual information of pairs above the null, {result.measured_text} molecules",
        columns=("t", *(f"{result.blocks[b]}, {result.pairs[p]}" for b, p in curves)),
        rows=[
            (t, *(float(result.dependence.estimate[s, b, p, 0]) for b, p in curves))
            for s, t in enumerate(result.timesteps)
        ],
    )


def _test_table(result: "GaussianityResult") -> Table:
    test = result.reference
    blocks = range(len(result.blocks))
    data, null = (100 * flags.all(axis=3).mean(axis=0) for flags in (test.passes, test.null_passes))
    both = [100 * flags.all(axis=(2, 3)).mean(axis=0) for flags in (test.passes, test.null_passes)]
    heads = (f"{block}{suffix}" for block in result.blocks for suffix in ("", ", null"))
    return Table(
        title=f"Published test: % of {len(test.passes):,} molecules that pass, and of true Gaussians (null)",
        columns=("t", *heads, "all blocks", "all, null"),
        rows=[
            (t, *(rate for b in blocks for rate in (data[s, b], null[s, b])), both[0][s], both[1][s])
            for s, t in enumerate(result.timesteps)
        ],
    )
