"""Options of an evaluation."""

from dataclasses import dataclass

from gaga.core.config import Config, option

PROTOCOLS = ("edm", "strict")
SAMPLE_SIZE = 200
"""Molecules that a check of a sample draws by default."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """How molecules are evaluated."""

    protocol: str = option(
        "edm",
        "edm, as papers count; strict, bonds and formal charges perceived, sanitised, in one piece.",
        choices=PROTOCOLS,
    )
    dataset: str = option(
        "qm9",
        "The data set that novelty, bond lengths, angles and sizes are compared with; your own is judged once.",
        metavar="qm9|PATH|none",
    )
    reference_size: int = option(
        100_000,
        "At most N training molecules of your own data set are judged, and N / 10 of its test split.",
        metavar="N",
        at_least=1,
    )
    posebusters: bool = option(False, "PoseBusters' checks of a sample; pip install 'gaga-mol[posebusters]'.")
    relax: bool = option(False, "Relaxation energy of a sample at GFN2-xTB; needs the program xtb.")
    property: str | None = option(
        None,
        "Errors of a property beside those of guesses: shuffled, and by the number of atoms.",
        metavar="PROPERTY",
    )
    predictor: str | None = option(
        None,
        "What judges the molecules by their tags target_PROPERTY; `gaga train-property` makes one.",
        metavar="FILE",
    )
    sample_size: int = option(
        SAMPLE_SIZE, "Molecules that `posebusters` and `relax` draw by the seed.", metavar="N", at_least=1
    )
    time_limit: float | None = option(
        None,
        "For one molecule, which then fails; 60 by strict, 300 by PoseBusters, 600 by xtb, none by edm.",
        metavar="SECONDS",
        above=0,
        below=float("inf"),
    )
