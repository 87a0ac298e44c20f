"""The figure behind T*: curves with intervals, null band, thresholds and step."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from gaga.stats.dependence import null_of
from gaga.stats.effects_plot import draw_effects
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.groups import quantile_interval
from gaga.stats.tstar import TstarResult
from gaga.storage.images import figure_of

# Okabe and Ito's palette, which colour-blind readers can distinguish.
_COLOURS = {"positions": "#0072B2", "types": "#D55E00", "charges": "#009E73"}
_NULL = "#8c8c8c"
_STYLES = {"features": "-", "atoms": ":"}


def plot_tstar(result: TstarResult, gaussianity: GaussianityResult, path: Path) -> None:
    """Write D_t, Dep_t and, if they were measured, the effects of statistics that see molecules over the steps to an
    image; its format is that of the suffix of `path`.

    Raises:
        InvalidInput: the suffix is of no image format.
        NotFound: the folder of `path` does not exist.
        Unavailable: it cannot be written to.
    """
    panels = 2 if gaussianity.effects is None else 3
    with figure_of(path, (9.2, 3.0 * panels)) as figure:
        distance, dependence, *others = figure.subplots(panels, 1, sharex=True)
        _draw_distances(distance, result, gaussianity)
        _draw_dependence(dependence, result, gaussianity)
        if gaussianity.effects is not None:
            draw_effects(others[0], gaussianity.effects, gaussianity.timesteps)
        every = (distance, dependence, *others)
        for axes in every:
            _draw_step(axes, result)
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.01, 0.5))
        every[-1].set_xlabel("noise step t")
        every[-1].set_xlim(0, result.T)
        figure.suptitle(_title(result), fontsize=11)


def _title(result: TstarResult) -> str:
    found = "no step passes" if result.tstar is None else f"T* = {result.tstar}"
    return f"{found} of {result.T} steps ({result.estimator}, {result.reference} Gaussian, {result.schedule})"


def _draw_distances(axes: Any, result: TstarResult, source: GaussianityResult) -> None:
    """D_t of each block to the chosen reference and, fainter, to the published one."""
    chosen = source.references.index(result.reference)
    curves, null = source.distances, source.null_distances
    for b, block in enumerate(source.blocks):
        colour = _COLOURS.get(block, "black")
        low, high = curves.low[:, b, chosen], curves.high[:, b, chosen]
        axes.fill_between(source.timesteps, low, high, color=colour, alpha=0.2, linewidth=0)
        label = f"{block}, {result.reference}"
        axes.plot(source.timesteps, curves.estimate[:, b, chosen], color=colour, marker="o", markersize=3, label=label)
        if "published" in source.references and result.reference != "published":
            other = curves.estimate[:, b, source.references.index("published")]
            axes.plot(source.timesteps, other, color=colour, alpha=0.55, linestyle="--", label=f"{block}, published")
    n = source.nulls.index(null_of(result.reference))
    _draw_null(axes, source, f"{source.n_null:,}", null.low[..., n].min(axis=1), null.high[..., n].max(axis=1))
    _draw_threshold(axes, result.eps_distance, f"eps_DS = {result.eps_distance:g}")
    axes.set_yscale("log")
    # The lower ends of intervals around 0 would stretch a logarithmic axis for nothing.
    axes.set_ylim(bottom=max(1e-5, 0.5 * float(curves.estimate[..., chosen].min())))
    axes.set_ylabel("$D_t$: KS distance to the Gaussian")


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
            style = _STYLES[pairs]
            axes.plot(source.timesteps, values, style, color=colour, marker="o", markersize=3, label=label)
    low, high = quantile_interval(curves.null_resampled[..., n], source.level)
    molecules = f"{source.n_null:,}" if source.confidence is None else source.measured_text
    _draw_null(axes, source, molecules, low.min(axis=(1, 2)), high.max(axis=(1, 2)))
    _draw_threshold(axes, result.eps_dependence, f"eps_dep = {result.eps_dependence:g} nats")
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


def _draw_step(axes: Any, result: TstarResult) -> None:
    if result.tstar is None:
        return
    axes.axvline(result.tstar, color="black", linewidth=1.4)
    chosen = {"mean": result.mean, "quantile": result.quantile, "paper": result.paper}[result.estimator].data
    low = result.tstar if chosen.low is None else chosen.low
    high = result.T if chosen.high is None else chosen.high
    axes.axvspan(low, high, color="black", alpha=0.07, linewidth=0)
