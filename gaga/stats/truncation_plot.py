"""The figure of the price of truncation by a network: nats over the steps for each Gaussian, as far as it is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from gaga.storage.images import figure_of

# In words, colour (Okabe and Ito's) and width of each Gaussian, the first to be drawn first: of curves that lie on one
# another the wider one shows on both sides of the narrower.
_GAUSSIANS = {
    "prior": ("mean 0 and variance 1 (prior)", "#CC79A7", 8.0),
    "scalar": ("one variance for all columns (scalar)", "#F0E442", 4.5),
    "published": ("the published variance (published)", "#D55E00", 1.6),
    "matched": ("the covariance of each size (matched)", "#BBBBBB", 8.0),
    "size": ("the variance of each block and size (size)", "#56B4E9", 4.5),
    "block": ("the variance of each block (block)", "#0072B2", 1.6),
}
_OTHER = ("black", 1.6)
_SHOWN_BEYOND = 0.15  # of the steps: how much is shaded at least


def plot_nats(
    t: Float64[np.ndarray, " P"],
    nats: Mapping[str, Float64[np.ndarray, " P"]],
    path: Path,
    *,
    unknown_from: float | None = None,
) -> None:
    """Write the KL divergence of q(z_t) from each reference Gaussian over the steps to an image, on a logarithmic axis.

    Values that are not positive are left out. At `unknown_from`, the model's own T*, there is a line, and what lies
    beyond it is shaded, as the model says nothing of it.

    Raises:
        InvalidInput: the suffix is of no image format.
        NotFound: the folder of `path` does not exist.
        Unavailable: it cannot be written to.
    """
    with figure_of(path, (9.2, 4.5)) as figure:
        axes = figure.subplots()
        for name in sorted(nats, key=lambda name: list(_GAUSSIANS).index(name) if name in _GAUSSIANS else 99):
            label, colour, width = _GAUSSIANS.get(name, (name, *_OTHER))
            positive = nats[name] > 0
            axes.plot(t[positive], nats[name][positive], color=colour, linewidth=width, label=label)
        if any((values > 0).any() for values in nats.values()):  # an empty axis has no logarithms
            axes.set_yscale("log")
        if unknown_from is not None:
            _draw_end(axes, unknown_from)
        axes.set_xlabel("first noise step")
        axes.set_ylabel("price of starting there from a Gaussian:\nnats per molecule, at least")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(title="Gaussian with", frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _draw_end(axes: Any, last: float) -> None:
    """The model's T*, and beyond it "not measured"."""
    right = last * (1 + _SHOWN_BEYOND)
    axes.axvline(last, color="black", linewidth=1.2)
    axes.axvspan(last, right, color="black", alpha=0.08, linewidth=0)
    axes.set_xlim(right=right)
    axes.annotate(
        f"T* of this model = {last:g}", (last, 0.98), xycoords=("data", "axes fraction"), xytext=(-5, 0),
        textcoords="offset points", ha="right", va="top", fontsize=8.5,
    )  # fmt: skip
    axes.text(
        (last + right) / 2, 0.5, "not measured beyond", transform=axes.get_xaxis_transform(), rotation=90,
        ha="center", va="center", fontsize=8.5,
    )  # fmt: skip
