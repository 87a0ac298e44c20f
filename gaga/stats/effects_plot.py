"""The panel of the statistics that see molecules in the figure behind T*."""

from typing import Any

import numpy as np
from jaxtyping import Int64

from gaga.stats.effects import MoleculeEffects

# Okabe and Ito's palette; a colour and a style for each, in their order: shapes, marginals by block, the coupling last.
_SHAPES = (("#0072B2", "-"), ("#0072B2", "--"), ("#D55E00", "-"))
_MARGINALS = (("#009E73", "-"), ("#009E73", ":"), ("#009E73", "--"))
_COUPLING = ("#CC79A7", "-")


def draw_effects(
    axes: Any, effects: MoleculeEffects, timesteps: Int64[np.ndarray, " S"], tolerance: float | None = None
) -> None:
    """Effects over all sizes with intervals, as far as they are larger than true Gaussians'; a line at `tolerance`."""
    styles = (*_SHAPES, *_MARGINALS[: len(effects.statistics) - len(_SHAPES) - 1], _COUPLING)
    for q, (name, (colour, style)) in enumerate(zip(effects.statistics, styles, strict=True)):
        above = effects.effect[:, q] > effects.null_limit[q]
        values, low, high = (
            np.where(above, ends[:, q], np.nan) for ends in (effects.effect, effects.low, effects.high)
        )  # fmt: skip
        axes.fill_between(timesteps, np.maximum(low, effects.null_limit[q]), high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(timesteps, values, style, color=colour, marker="o", markersize=3, label=name)
    if tolerance is not None:
        label = f"tolerance of effects: {tolerance:g}"
        axes.axhline(tolerance, color="black", linewidth=0.9, linestyle=(0, (4, 3)), label=label)
    axes.set_yscale("log")
    axes.set_ylabel("effect, if above that of\ntrue Gaussians")
