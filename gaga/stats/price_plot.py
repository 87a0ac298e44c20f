"""The figure of the price of truncation: nats over the steps, by size and on average, with T* at each tolerance."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gaga.core.text import nats
from gaga.stats.price import PriceResult
from gaga.stats.price_config import AGAINST
from gaga.stats.price_curve import tstar_by_price
from gaga.stats.price_summary import PriceSummary
from gaga.storage.files import atomic_write

# Okabe and Ito's palette, which colour-blind readers can distinguish.
_PRICE, _NETWORK, _GREY = "#0072B2", "#D55E00", "#8c8c8c"
_SHOWN = 1e-3  # nats: what is below is no price
_SIZES_SHOWN = 5
_STYLES = (":", "--", "-")  # of a small, a middle and a large size
_FEW = 50  # molecules: a size with fewer has the curve of its neighbours


def plot_price(
    result: PriceResult, tolerances: tuple[float, ...], path: Path, *, bound: Mapping[int, float] | None = None
) -> None:
    """Write the price over the steps to an image, on a logarithmic axis; its format is that of the suffix of `path`.

    `bound` is a network's lower bound at some steps.

    Raises:
        NotFound: the folder of `path` does not exist. Unavailable: it cannot be written to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _draw_sizes(axes, result)
    steps, price = np.arange(result.T + 1), result.price
    axes.fill_between(steps, np.maximum(price.low, _SHOWN / 10), price.high, color=_PRICE, alpha=0.25, linewidth=0)
    axes.plot(steps, price.nats, color=_PRICE, linewidth=2, label="all molecules: estimate from cumulants")
    if bound:
        known = {t: nats for t, nats in bound.items() if nats > 0}
        axes.plot(
            list(known), list(known.values()), "s", color=_NETWORK, markersize=5, label="lower bound of a network"
        )
    _draw_steps(axes, result, tolerances)
    if result.against != AGAINST[0]:
        axes.axvspan(0, result.bonds_show, color="black", alpha=0.08, linewidth=0, label="bonds show: too small here")
    axes.set_yscale("log")
    axes.set_xlim(0, result.T)
    axes.set_ylim(bottom=_SHOWN, top=3 * float(result.nats_by_size[:, result.T // 10].max()))
    axes.set_xlabel("first noise step $T^*$")
    start = "a Gaussian" if result.against == AGAINST[0] else "random shapes"
    axes.set_ylabel(f"price of starting there from {start},\nnats per molecule")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.01, 0.5))
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=160, format=path.suffix.lstrip(".").lower() or "png")


def draw_price(axes: Any, price: PriceResult | PriceSummary, tolerance: float | None) -> None:
    """The price on average with its interval and of a few sizes, and a line at `tolerance`, into a panel."""
    steps = np.arange(price.T // 50, price.T + 1)  # before, the expansion has no meaning
    curve = price.price
    low, high = np.maximum(curve.low[steps], _SHOWN / 10), curve.high[steps]
    axes.fill_between(steps, low, high, color=_PRICE, alpha=0.25, linewidth=0)
    axes.plot(steps, curve.nats[steps], color=_PRICE, linewidth=3, label=f"all {price.n_molecules:,} molecules")
    # Thin lines over the thick one, so that none hides another.
    own = np.flatnonzero(price.molecules >= _FEW)
    chosen = own[np.unique(np.linspace(0, len(own) - 1, len(_STYLES)).round().astype(int))] if len(own) else own
    for i, style in zip(chosen, _STYLES, strict=False):
        label = f"{price.sizes[i]} atoms ({price.molecules[i]:,} molecules)"
        axes.plot(steps, price.curve_of(int(price.sizes[i])).nats[steps], style, color="0.3", linewidth=1, label=label)
    if tolerance is not None:
        label = f"tolerance: {nats(tolerance)}"
        axes.axhline(tolerance, color="black", linewidth=0.9, linestyle=(0, (4, 3)), label=label)
    axes.set_yscale("log")
    highest = float(np.nanmax(curve.nats[price.T // 10 :]))
    axes.set_ylim(bottom=_SHOWN, top=max(5 * highest, 10 * _SHOWN))
    axes.set_ylabel("nats per molecule")


def _draw_sizes(axes: Any, result: PriceResult) -> None:
    """Thin lines for sizes from the smallest to the largest that has cumulants of its own."""
    own = np.flatnonzero(~result.borrowed)
    chosen = own[np.unique(np.linspace(0, len(own) - 1, _SIZES_SHOWN).round().astype(int))]
    for i, shade in zip(chosen, np.linspace(0.8, 0.35, len(chosen)), strict=True):
        label = f"{result.sizes[i]} atoms ({result.molecules[i]:,} molecules)"
        axes.plot(result.nats_by_size[i], color=str(shade), linewidth=1, label=label)


def _draw_steps(axes: Any, result: PriceResult, tolerances: tuple[float, ...]) -> None:
    """T* at each tolerance: a dashed line down to the axis."""
    for tolerance in tolerances:
        found = tstar_by_price(result.price, tolerance)
        if found.t is None:
            continue
        axes.plot([0, found.t, found.t], [tolerance, tolerance, _SHOWN], color="black", linewidth=0.9, linestyle="--")
        axes.annotate(
            f"T* = {math.ceil(found.t)}",
            (found.t, tolerance),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
        )
