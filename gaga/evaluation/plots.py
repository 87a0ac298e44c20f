"""The picture of an evaluation: what the molecules are like, beside the data's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from gaga.chem.classes import RING_SIZES
from gaga.core.errors import InvalidInput
from gaga.core.text import counted
from gaga.evaluation.class_shares import ClassShares
from gaga.evaluation.distributions import ANGLES, LENGTHS, TORSIONS, Distributions
from gaga.evaluation.evaluation import Evaluation
from gaga.evaluation.rates import Rate
from gaga.storage.images import figure_of

# Of Okabe and Ito's palette, which colour-blind readers can distinguish; the data is grey, as in other plots.
_SAMPLE, _DATA = "#0072B2", "#8c8c8c"
_CLASSES = {
    "aromatic": "aromatic",
    "triple_bond": "triple bond",
    "sp_carbon": "sp carbon",
    "beyond_data": "more than\n{largest} heavy atoms",
    "odd_electrons": "odd number\nof electrons",
}
_PANELS = [["lengths", "angles", "torsions", "sizes"], ["rings", "classes", "classes", "radii"]]
_HIDDEN = 1e-4
"""This part of the values at either end is not drawn: one bond that is far off would press all others together."""
_MOST_SIZES = 25
"""With a wider range of numbers of atoms, several are one bin."""
_AT_ONCE = 10
"""Sizes are drawn together until they have as many molecules, as the mean of fewer means little."""
_NORMAL = 1.959963984540054  # the 97.5 % quantile


@dataclass(frozen=True)
class _Drawn:
    """One set of molecules; `side` is -1 or 1 for the first or second of two bars, 0 for one alone."""

    label: str
    classes: ClassShares
    distributions: Distributions
    is_data: bool
    side: int

    @property
    def colour(self) -> str:
        return _DATA if self.is_data else _SAMPLE


def plot_quality(evaluation: Evaluation, path: Path, *, label: str = "molecules") -> None:
    """Write an image of the distributions and classes of evaluated molecules, beside those of the data's own row.

    Args:
        evaluation: with distributions.
        path: of the image; its suffix says the format.
        label: what the molecules are called.

    Raises:
        InvalidInput: the evaluation is of an earlier version and has no distributions; or the suffix is of no image
            format.
        NotFound: the folder of `path` does not exist.
        Unavailable: it cannot be written to.
    """
    sets = _sets(evaluation, label)
    with figure_of(path, (15.0, 7.6)) as figure:
        panels = figure.subplot_mosaic(
            [["lengths", "angles", "torsions", "sizes"], ["rings", *2 * ["classes"], "radii"]]
        )
        for axes in panels.values():
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=9)
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
        _draw_bins(panels["lengths"], [(each, each.distributions.lengths) for each in sets], LENGTHS[0])
        _labelled(panels["lengths"], "bond lengths", "Å", "bonds, %, in bins of 0.02 Å (square-root axis)")
        _draw_bins(panels["angles"], [(each, each.distributions.angles) for each in sets], ANGLES[0])
        _labelled(panels["angles"], "bond angles", "degrees", "angles, %, in bins of 2° (square-root axis)")
        for name in ("lengths", "angles"):  # one peak is far above all others
            _take_roots(panels[name])
        _draw_bins(panels["torsions"], [(each, each.distributions.torsions) for each in sets], TORSIONS[0])
        panels["torsions"].set_xticks(range(0, 181, 30))
        _labelled(panels["torsions"], "torsions of heavy atoms", "degrees, without sign", "torsions, %, in bins of 10°")
        _draw_sizes(panels["sizes"], sets)
        _draw_rings(panels["rings"], sets)
        _draw_classes(panels["classes"], sets)
        _draw_radii(panels["radii"], sets)
        handles = [_patch(each) for each in reversed(sets)]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=11)


def _sets(evaluation: Evaluation, label: str) -> list[_Drawn]:
    """The data first, so that the sample is drawn over it."""
    classes, found, row = evaluation.classes, evaluation.distributions, evaluation.real_data
    if classes is None or found is None:
        raise InvalidInput(
            "this stored result of an earlier version has no distributions to draw",
            remedy="compute it anew with `replace=True`",
        )
    n = counted(evaluation.n_molecules, "molecule")
    if row is None or row.classes is None or row.distributions is None:
        return [_Drawn(f"{label}, {n}", classes, found, is_data=False, side=0)]
    of_data = f"{row.description}, {counted(row.n_molecules, 'molecule')}"
    return [
        _Drawn(of_data, row.classes, row.distributions, is_data=True, side=1),
        _Drawn(f"{label}, {n}", classes, found, is_data=False, side=-1),
    ]


def _patch(drawn: _Drawn) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=drawn.colour, alpha=0.45 if drawn.is_data else 1.0, label=drawn.label)


def _labelled(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x, fontsize=9.5)
    axes.set_ylabel(y, fontsize=9.5)


def _draw_sizes(axes: Any, sets: Sequence[_Drawn]) -> None:
    from matplotlib.ticker import MaxNLocator

    occurring = [np.flatnonzero(each.distributions.sizes) for each in sets]
    width = max([1, *(int(np.ceil(np.ptp(sizes) / _MOST_SIZES)) for sizes in occurring if len(sizes))])
    binned = [(each, _together(each.distributions.sizes, width)) for each in sets]
    _draw_bins(axes, binned, width, 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _labelled(axes, "number of atoms", "atoms", "molecules, %" + (f", in bins of {width} atoms" if width > 1 else ""))


def _together(counts: Sequence[int], width: int) -> list[int]:
    """The sums of each `width` counts, the last one of what is left."""
    return [sum(counts[first : first + width]) for first in range(0, len(counts), width)]


def _draw_bins(axes: Any, sets: Sequence[tuple[_Drawn, Sequence[int]]], width: float, before: float = 0.0) -> None:
    """Histograms in percent, of bins of this width; the first begins at `before` below 0."""
    low, high = float("inf"), 0.0
    for drawn, counts in sets:
        if not sum(counts):
            continue
        shares = 100 * np.array(counts) / sum(counts)
        edges = width * np.arange(len(counts) + 1) - before
        if drawn.is_data:
            axes.stairs(shares, edges, fill=True, color=_DATA, alpha=0.45, linewidth=0)
        else:
            axes.stairs(shares, edges, color=_SAMPLE, linewidth=1.4)
        inside = np.flatnonzero((np.cumsum(shares) > 100 * _HIDDEN) & (np.cumsum(shares[::-1])[::-1] > 100 * _HIDDEN))
        low, high = min(low, edges[inside[0]]), max(high, edges[inside[-1] + 1])
    if low < high:
        margin = 0.03 * (high - low)
        axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(bottom=0)


def _take_roots(axes: Any) -> None:
    top = axes.get_ylim()[1]
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set_yticks([y for y in (0, 1, 5, 10, 20, 40, 60, 80, 100) if y <= top])
    axes.set_ylim(0, top)


def _draw_rings(axes: Any, sets: Sequence[_Drawn]) -> None:
    for drawn in sets:
        rates = dict(drawn.classes.rings.items())
        _draw_bars(axes.bar, drawn, [rates[size] for size in RING_SIZES], 1, "yerr")
    axes.set_xticks(range(len(RING_SIZES)), RING_SIZES)
    _labelled(axes, "smallest rings", "atoms of the ring", "in a molecule, mean")


def _draw_classes(axes: Any, sets: Sequence[_Drawn]) -> None:
    names = [name for name in _CLASSES if all(name in drawn.classes.classes.names for drawn in sets)]
    for drawn in sets:
        rates = dict(drawn.classes.classes.items())
        _draw_bars(axes.barh, drawn, [rates[name] for name in names], 100, "xerr")
    largest = sets[-1].classes.largest
    axes.set_yticks(range(len(names)), [_CLASSES[name].format(largest=largest) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    _labelled(axes, "classes", "molecules, %, with 95 % intervals", "")


def _draw_bars(bar: Any, drawn: _Drawn, rates: Sequence[Rate], unit: int, error: str) -> None:
    """One bar for each rate, with its interval; of nothing, none."""
    known = [i for i, rate in enumerate(rates) if rate.denominator]
    values, low, high = (unit * np.array([getattr(rates[i], part) for i in known]) for part in ("value", "low", "high"))
    width = 0.38 if drawn.side else 0.6
    bar(
        np.array(known) + 0.5 * width * drawn.side, values, width, color=drawn.colour,
        alpha=0.45 if drawn.is_data else 1.0, ecolor="black", error_kw={"elinewidth": 1.1, "capsize": 2.5},
        **{error: np.maximum([values - low, high - values], 0)},
    )  # fmt: skip


def _draw_radii(axes: Any, sets: Sequence[_Drawn]) -> None:
    for drawn in sets:
        sizes, means, errors = _grouped(drawn.distributions)
        if drawn.is_data:
            axes.fill_between(sizes, means - errors, means + errors, color=_DATA, alpha=0.45, linewidth=0)
            axes.plot(sizes, means, color=_DATA, linewidth=1.4)
        else:
            axes.errorbar(sizes, means, errors, color=_SAMPLE, fmt="o", markersize=3.5, elinewidth=1.1, capsize=2.5)
    _labelled(axes, "radius of gyration by size", "atoms", "Å, mean with 95 % interval")


def _grouped(
    found: Distributions,
) -> tuple[Float64[np.ndarray, " G"], Float64[np.ndarray, " G"], Float64[np.ndarray, " G"]]:
    """Mean number of atoms, mean radius of gyration and half of its interval, of groups of neighbouring sizes."""
    n, mean, deviation = (
        np.array(column, dtype=np.float64) for column in (found.measured, found.radii, found.deviations)
    )
    group = np.minimum(np.cumsum(n) - n, max(n.sum() - _AT_ONCE, 0)) // _AT_ONCE
    group = np.unique(group, return_inverse=True)[1]
    total, sizes, sums = (np.bincount(group, weights) for weights in (n, n * np.arange(len(n)), n * mean))
    some = total > 1
    squares = np.bincount(group, (n - 1).clip(0) * deviation**2 + n * mean**2)
    total, sizes, sums, squares = (column[some] for column in (total, sizes, sums, squares))
    variance = (squares - sums**2 / total) / (total - 1)
    return sizes / total, sums / total, _NORMAL * np.sqrt(variance.clip(0) / total)
