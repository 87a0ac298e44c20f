"""How molecules, images and other arrays are compared. Each option is declared here, once."""

from dataclasses import dataclass

from gaga.core.config import Config, option

CENTRES = ("sample", "data", "none")


@dataclass(frozen=True, kw_only=True)
class ModalityConfig(Config):
    """What is subtracted from the samples, and what they are tested with."""

    centre: str = option(
        "sample",
        "What is subtracted first from each column: the mean of each sample, the mean of all data, or nothing. "
        "Molecules have sample.",
        choices=CENTRES,
    )
    n_values: int = option(
        54, "Values that are drawn from each sample for the test at equal numbers.", metavar="N", at_least=2
    )
    alpha: float = option(0.05, "Level of the test of each sample.", metavar="ALPHA", above=0, below=1)
    n_resamples: int = option(200, "Bootstrap resamples.", metavar="N", at_least=2)
    level: float = option(0.95, "Level of intervals.", metavar="LEVEL", above=0, below=1)
