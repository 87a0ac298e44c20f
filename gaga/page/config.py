"""Options of a view of molecules."""

from dataclasses import dataclass

from gaga.core.config import Config, option
from gaga.evaluation.config import PROTOCOLS

PAGE_FIRST, PICTURE_FIRST = 10_000, 60
"""Molecules of a page and of a picture if nothing else is asked for."""


@dataclass(frozen=True, kw_only=True)
class ViewConfig(Config):
    """Which molecules are shown, and what is said of them."""

    first: int | None = option(
        None,
        f"Show the first N molecules.  [default: {PAGE_FIRST} on a page, {PICTURE_FIRST} in a picture]",
        metavar="N",
        at_least=1,
    )
    highlight: tuple[int, ...] | None = option(
        None,
        "Colour these atoms of each molecule, numbered from 1; by default those of the fragment that `scaffold` kept.",
        metavar="1-6,8",
        at_least=1,
    )
    columns: int = option(4, "Molecules in a row of a picture.", metavar="N", at_least=1, at_most=20)
    protocol: str = option(
        "edm", "How molecules are judged, as `gaga evaluate` does.", choices=PROTOCOLS,
    )  # fmt: skip
    dataset: str = option(
        "qm9",
        "The data set that novelty and histograms are compared with; your own is judged once.",
        metavar="qm9|PATH|none",
    )
