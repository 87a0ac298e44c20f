"""The figure of molecules and images compared: as they are, and in three ways that are fair."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from gaga.stats.modalities import Modalities
from gaga.storage.images import figure_of

# Okabe and Ito's palette; molecules are drawn full, images dashed, what is the user's own dotted.
_LINES = {
    "qm9 positions": ("#0072B2", "-", "o"),
    "qm9 types": ("#56B4E9", "-", "s"),
    "mnist": ("#D55E00", "--", "v"),
    "digits": ("#E69F00", "--", "^"),
    "faces": ("#CC79A7", "--", "D"),
    "photos": ("#009E73", "--", "P"),
}
_OTHERS = (("black", ":", "x"), ("#8c8c8c", ":", "*"))
_GREY = "#8c8c8c"
CLOSE = 0.01  # D_t


def plot_modalities(result: Modalities, path: Path) -> None:
    """Write four panels to an image, whose format is that of the suffix of `path`: D_t over the steps; the share of
    samples that pass a test of equally many values; D_t over the signal-to-noise ratio; and H^(4).

    Raises:
        InvalidInput: the suffix is of no image format.
        NotFound: the folder of `path` does not exist.
        Unavailable: it cannot be written to.
    """
    with figure_of(path, (11.5, 8.0)) as figure:
        panels = figure.subplots(2, 2)
        _draw_distances(panels[0, 0], result)
        _draw_passes(panels[0, 1], result)
        _draw_by_snr(panels[1, 0], result)
        _draw_proposition(panels[1, 1], result)
        for axes in panels.flat:
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        lines, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def span(numbers: Int64[np.ndarray, " K"]) -> str:
    """Such as "54", or "51 to 85"."""
    fewest, most = int(numbers.min()), int(numbers.max())
    return f"{fewest}" if fewest == most else f"{fewest} to {most}"


def _style(result: Modalities, k: int) -> dict[str, Any]:
    others = [name for name in result.names if name not in _LINES]
    name = result.names[k]
    colour, line, marker = _LINES[name] if name in _LINES else _OTHERS[others.index(name) % len(_OTHERS)]
    return {"color": colour, "linestyle": line, "marker": marker, "markersize": 4, "linewidth": 1.5}


def _label(result: Modalities, k: int) -> str:
    return f"{result.names[k]} ({result.values[k]:,} values, variance {result.variance[k]:.2g})"


def _draw_distances(axes: Any, result: Modalities) -> None:
    """D_t over the steps: depends on the scale of each."""
    for k in range(len(result.names)):
        style = _style(result, k)
        values, reach = result.distances[k, :, 0], result.reach[k, :, 0]
        ends = np.maximum(values - reach, 1e-5), values + reach
        axes.fill_between(result.timesteps, *ends, color=style["color"], alpha=0.12, linewidth=0)
        axes.plot(result.timesteps, values, label=_label(result, k), **style)
    axes.set_title("As they are: entries against one Gaussian", fontsize=10.5)
    axes.set_xlabel("noise step t")
    _finish_distances(axes)


def _finish_distances(axes: Any) -> None:
    axes.axhline(CLOSE, color="black", linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_yscale("log")
    axes.set_ylim(2e-4, 0.6)
    axes.set_ylabel("$D_t$: KS distance to the Gaussian")


def _draw_passes(axes: Any, result: Modalities) -> None:
    """The share that passes with equally many values and, faint, with all."""
    for k in range(len(result.names)):
        style = _style(result, k)
        axes.plot(result.timesteps, result.passes[k, :, 1], **style)
        if result.tested[k] < result.values[k]:
            axes.plot(result.timesteps, result.passes[k, :, 0], color=style["color"], alpha=0.35, linewidth=1)
    axes.axhline(1 - result.alpha, color=_GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axes.set_ylim(-0.03, 1.03)
    axes.set_title(f"Equally many values ({span(result.tested)}); thin: with all values", fontsize=10.5)
    axes.set_xlabel("noise step t")
    axes.set_ylabel(f"share of samples that\npass a KS test of level {100 * result.alpha:g} %")


def _draw_by_snr(axes: Any, result: Modalities) -> None:
    """D_t over the signal-to-noise ratio per dimension: no scale."""
    within = (result.alpha2 < 1 - 1e-4) & (result.alpha2 > 1e-3)
    for k in range(len(result.names)):
        axes.plot(result.snr[k, within], result.distances[k, within, 0], **_style(result, k))
    axes.set_xscale("log")
    axes.set_xlim(30, 3e-3)
    axes.set_title("Equal signal-to-noise ratio", fontsize=10.5)
    axes.set_xlabel("signal-to-noise ratio of one dimension, $\\alpha_t^2 v / \\sigma_t^2$ (noise grows to the right)")
    _finish_distances(axes)


def _draw_proposition(axes: Any, result: Modalities) -> None:
    """H^(4) of data of variance 1: no scale, and no test."""
    h = result.proposition()
    for k in range(len(result.names)):
        axes.plot(result.timesteps, np.where(h[k] > 0, h[k], np.nan), **_style(result, k))
    axes.set_yscale("log")
    axes.set_ylim(1e-2, 2e2)
    axes.set_title(f"Equal variance: distance by cumulants, {span(result.columns)} dimensions", fontsize=10.5)
    axes.set_xlabel("noise step t, variance 1 before noise")
    axes.set_ylabel("$H^{(4)}$ of Proposition 3.1")
