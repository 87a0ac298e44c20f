"""The curve of quality against evaluations of the network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from gaga.core.errors import InvalidInput
from gaga.storage.files import atomic_write
from measuring.cells import Row
from measuring.tables import TITLES, data_row, value

# Okabe and Ito's palette, told apart by colour-blind readers, and marks that tell them apart without it.
_LOOKS = {
    "ddpm": ("#0072B2", "o"), "ddim": ("#56B4E9", "s"), "heun": ("#009E73", "^"), "dpm++": ("#E69F00", "D"),
    "annealed": ("#D55E00", "v"),
}  # fmt: skip
DATA = "the data itself"
_SHOWN = ("molecule_stable", "valid_and_unique")
_STYLES = {"steps": "--", "log-snr": ":", "power": "-."}
_TICKS_APART = 1.12  # as a ratio; heun takes the odd number below an even one
_APART = 0.02  # of the evaluations, so that intervals do not cover each other


def plot_curve(rows: Sequence[Row], path: Path) -> None:
    """Molecule stability and valid × unique against evaluations, a line for each method, the data's row dashed.

    Raises:
        InvalidInput: there are no rows of the curve, or those of several checkpoints, sizes or seeds.
    """
    rows = list({row["id"]: row for row in rows if row["study"] == "curve"}.values())
    kinds = {(row["key"]["checkpoint"], row["key"]["n"], row["key"]["seed"]) for row in rows}
    if len(kinds) != 1:
        raise InvalidInput(
            "a plot is of one checkpoint, number of molecules and seed",
            received=f"{len(kinds)} kinds of cells of curve",
        )
    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, rate in zip(panels, _SHOWN, strict=True):
        _draw(axes, rows, rate)
    handles, names = panels[0].get_legend_handles_labels()
    if DATA in names:  # matplotlib has lines before intervals; the data's is not a method and comes last
        handles, names = handles[1:] + handles[:1], names[1:] + names[:1]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    key = rows[0]["key"]
    figure.suptitle(
        f"{rows[0]['checkpoint']}, {key['n']:,} molecules a point, 95 % intervals", fontsize=10.5
    )  # fmt: skip
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=160, format=path.suffix.lstrip(".") or "png")


def _draw(axes: Any, rows: Sequence[Row], rate: str) -> None:
    lines = _lines(rows)
    for number, (label, members) in enumerate(lines.items()):
        _draw_line(axes, members, rate, label, 1 + _APART * (number - (len(lines) - 1) / 2))
    data = data_row(rows[0])
    if data is not None:
        axes.axhline(100 * getattr(data.rates, rate).value, color="black", linestyle="--", linewidth=1, label=DATA)
    axes.set_xscale("log")
    axes.set_xticks(_ticks([row["evaluations"] for row in rows]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("evaluations of the network")
    axes.set_ylabel(f"{TITLES[rate]}, %")
    axes.tick_params(labelleft=True)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The points of each line by its label: a method, with its spacing where it has several."""
    ways = list(dict.fromkeys((row["labels"]["method"], row["labels"]["spacing"]) for row in rows))
    several = {method for method, _ in ways if sum(other == method for other, _ in ways) > 1}
    return {
        f"{method}, {spacing}" if method in several else method: [
            row for row in rows if (row["labels"]["method"], row["labels"]["spacing"]) == (method, spacing)
        ]
        for method, spacing in ways
    }


def _draw_line(axes: Any, rows: Sequence[Row], rate: str, label: str, shift: float) -> None:
    points = sorted(((row["evaluations"], row["rates"]["edm"][rate]) for row in rows), key=lambda point: point[0])
    colour, mark = _LOOKS.get(rows[0]["labels"]["method"], ("black", "x"))
    style = _STYLES.get(rows[0]["labels"]["spacing"], "-") if "," in label else "-"
    heights = [100 * value(found) for _, found in points]
    below = [100 * (value(found) - found["low"]) for _, found in points]
    above = [100 * (found["high"] - value(found)) for _, found in points]
    axes.errorbar(
        [shift * evaluations for evaluations, _ in points], heights, yerr=[below, above], color=colour, marker=mark,
        markersize=4.5, linewidth=1.4, elinewidth=0.9, capsize=2, linestyle=style,
        label=label,
    )  # fmt: skip


def _ticks(evaluations: Sequence[int]) -> list[int]:
    """The evaluations that were asked for, but for those that another one's number would cover."""
    ticks: list[int] = []
    for found in sorted(set(evaluations), reverse=True):
        if not ticks or ticks[-1] / found > _TICKS_APART:
            ticks.append(found)
    return ticks
