"""The figure behind T*: curves with intervals, null band, thresholds and step."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from gaga.stats.dependence import null_of
from gaga.stats.effects_plot import draw_effects
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.groups import quantile_interval
from gaga.stats.price import PriceResult
from gaga.stats.price_plot import draw_price
from gaga.stats.tstar import TstarResult
from gaga.storage.images import figure_of

# Okabe and Ito's palette, which colour-blind readers can distinguish.
_COLOURS = {"positions": "#0072B2", "types": "#D55E00", "charges": "#009E73"}
_NULL = "#8c8c8c"
# Where both lie on 0, the dots of one show within the open squares of the other.
_STYLES: dict[str, Any] = {
    "features": {"linestyle": "-", "marker": "o", "markersize": 3},
    "atoms": {"linestyle": ":", "marker": "s", "markersize": 7, "markerfacecolor": "none"},
}


def plot_tstar(result: TstarResult, source: GaussianityResult | PriceResult, path: Path) -> None:
    """Write what T* is read from over the steps to an image; its format is that of the suffix of `path`.

    A panel for each that was measured: the price, the effects of statistics that see molecules, D_t and Dep_t.

    Raises:
        InvalidInput: the suffix is of no image format.
        NotFound: the folder of `path` does not exist.
        Unavailable: it cannot be written to.
    """
    panels = list(_panels(result, source))
    with figure_of(path, (9.6, 2.6 * len(panels) + 0.5)) as figure:
        every = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
        for axes, (title, decides, draw) in zip(every, panels, strict=True):
            draw(axes)
            _draw_step(axes, result, labelled=axes is every[0])
            axes.set_title(f"{title}; T* is read from this" if decides else title, loc="left", fontsize=10)
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.01, 0.5))
        _label_step(every[0], result)
        every[-1].set_xlabel("noise step t")
        every[-1].set_xlim(0, result.T)
        figure.suptitle(_title(result), fontsize=11)


def _panels(
    result: TstarResult, source: GaussianityResult | PriceResult
) -> Iterator[tuple[str, bool, Callable[[Any], None]]]:
    """Title, whether T* is read from it, and what draws it."""
    by = result.estimator
    if source.price is not None:
        price = source if isinstance(source, PriceResult) else source.price
        tolerance = None if result.price is None else result.price.tolerance
        yield "Price of a start from a Gaussian", by == "price", partial(draw_price, price=price, tolerance=tolerance)
    if isinstance(source, PriceResult):
        return
    if source.effects is not None:
        largest = None if result.effects is None else float(result.effects.tolerances.max())
        draw = partial(draw_effects, effects=source.effects, timesteps=source.timesteps, tolerance=largest)
        yield "Statistics that see molecules", by == "effects", draw
    for title, draw_curves in (
        ("Distance of all entries to the Gaussian", _draw_distances),
        ("Dependence within molecules", _draw_dependence),
    ):
        yield title, by == "paper", partial(draw_curves, result=result, source=source)


def _title(result: TstarResult) -> str:
    found = "no step passes" if result.tstar is None else f"T* = {result.tstar}"
    return f"{found} of {result.T} steps, by {result.estimator} ({result.schedule} schedule)"


def _draw_distances(axes: Any, result: TstarResult, source: GaussianityResult) -> None:
    """D_t of each block to the chosen reference and, fainter, to the published one."""
    chosen = source.references.index(result.reference)
    curves, null = source.distances, source.null_distances
    for b, block in enumerate(source.blocks):
        colour = _COLOURS.get(block, "black")
        low, high = curves.low[:, b, chosen], curves.high[:, b, chosen]
        axes.fill_between(source.timesteps, low, high, color=colour, alpha=0.2, linewidth=0)
        label = f"{block}, {result.reference} Gaussian"
        axes.plot(source.timesteps, curves.estimate[:, b, chosen], color=colour, marker="o", markersize=3, label=label)
        if "published" in source.references and result.reference != "published":
            other = curves.estimate[:, b, source.references.index("published")]
            axes.plot(
                source.timesteps, other, color=colour, alpha=0.55, linestyle="--", label=f"{block}, published variance"
            )
    n = source.nulls.index(null_of(result.reference))
    _draw_null(axes, source, f"{source.n_null:,}", null.low[..., n].min(axis=1), null.high[..., n].max(axis=1))
    _draw_threshold(axes, result.eps_distance, f"tolerance of D_t: {result.eps_distance:g}")
    axes.set_yscale("log")
    # The lower ends of intervals around 0 would stretch a logarithmic axis for nothing.
    axes.set_ylim(bottom=max(1e-5, 0.5 * float(curves.estimate[..., chosen].min())))
    axes.set_ylabel("$D_t$: KS distance")


def _draw_dependence(axes: Any, result: TstarResult, source: GaussianityResult) -> None:
    """Dep_t of each block, over feature pairs and atom pairs."""
    n = source.nulls.index(null_of(result.reference))
    curves = source.dependence
    for b, block in enumerate(source.blocks):
        for p, pairs in enumerate(source.pairs):
            values = curves.estimate[:, b, p, n]
            if not np.any(values):
                continue
            colour = _COLOURS.get(block, "black")
            low, high = curves.low[:, b, p, n], curves.high[:, b, p, n]
            axes.fill_between(source.timesteps, low, high, color=colour, alpha=0.2, linewidth=0)
            label = f"{block}, pairs of {'columns' if pairs == 'features' else 'atoms'}"
            axes.plot(source.timesteps, values, color=colour, label=label, **_STYLES[pairs])
    low, high = quantile_interval(curves.null_resampled[..., n], source.level)
    molecules = f"{source.n_null:,}" if source.confidence is None else source.measured_text
    _draw_null(axes, source, molecules, low.min(axis=(1, 2)), high.max(axis=(1, 2)))
    _draw_threshold(axes, result.eps_dependence, f"tolerance of Dep_t: {result.eps_dependence:g} nats")
    axes.set_ylabel("$Dep_t$: mutual information\nabove the null (nats)")


def _draw_null(
    axes: Any,
    source: GaussianityResult,
    molecules: str,
    low: Float64[np.ndarray, " S"],
    high: Float64[np.ndarray, " S"],
) -> None:
    label = f"true Gaussians ({molecules} molecules)"
    axes.fill_between(source.timesteps, low, high, color=_NULL, alpha=0.3, linewidth=0, label=label, zorder=0)


def _draw_threshold(axes: Any, eps: float, label: str) -> None:
    axes.axhline(eps, color="black", linewidth=0.9, linestyle=(0, (4, 3)), label=label)


def _draw_step(axes: Any, result: TstarResult, *, labelled: bool) -> None:
    """A line at T*, its interval, in the legend if `labelled`, and what lies after it."""
    if result.tstar is None:
        return
    axes.axvspan(result.tstar, result.T, color="#009E73", alpha=0.08, linewidth=0, zorder=-2)
    low, high = result.interval
    axes.axvspan(
        result.tstar if low is None else low, result.T if high is None else high,
        color="black", alpha=0.12, linewidth=0, zorder=-1, label="interval of T*" if labelled and low != high else None,
    )  # fmt: skip
    axes.axvline(result.tstar, color="black", linewidth=1.4)


def _label_step(axes: Any, result: TstarResult) -> None:
    """Words at the top of the first panel."""
    if result.tstar is None:
        return
    words = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "va": "top", "fontsize": 9}
    after, name = "Gaussian from here on", f"T* = {result.tstar}"
    if result.tstar > 0.7 * result.T:  # no room to the right
        name, after = f"{name}: {after}", ""
    axes.annotate(name, (result.tstar, 1), xytext=(-4, -3), ha="right", weight="bold", **words)
    axes.annotate(after, (result.tstar, 1), xytext=(6, -3), ha="left", **words)
