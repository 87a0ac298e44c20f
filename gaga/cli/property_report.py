"""How the errors of a property are shown: by `gaga evaluate --property` and `gaga train-property`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gaga.cli.render import MISSING, Table

if TYPE_CHECKING:
    from gaga.evaluation.property_error import PropertyRow


def row_table(rows: "Iterable[PropertyRow]", unit: str, title: str) -> Table:
    """Each row's mean absolute error with its interval and number of molecules."""
    from gaga.evaluation.property_error import shown_in

    shown, by = shown_in(unit)
    in_unit = f", {shown}" if shown else ""

    def number(value: float) -> str:
        return f"{by * value:.4g}" if value == value else MISSING  # NaN: of no molecules

    cells = [
        (
            row.name,
            number(row.mae.estimate),
            f"{number(row.mae.low)} – {number(row.mae.high)}" if row.n else MISSING,
            f"{row.n:,}",
            row.description,
        )
        for row in rows
    ]
    return Table(columns=("row", f"error{in_unit}", "95 % interval", "molecules", "which"), rows=cells, title=title)


def row_objects(rows: "Iterable[PropertyRow]", unit: str) -> list[dict[str, Any]]:
    """The same as JSON has it, in the unit that is printed."""
    from gaga.evaluation.property_error import shown_in

    shown, by = shown_in(unit)
    return [
        {
            "row": row.name, "mae": by * row.mae.estimate, "low": by * row.mae.low, "high": by * row.mae.high,
            "unit": shown, "molecules": row.n, "description": row.description,
        }
        for row in rows
    ]  # fmt: skip
