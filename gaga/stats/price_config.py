"""What the price of truncation from cumulants is asked for. Each option is declared here, once."""

from dataclasses import dataclass

from gaga.core.config import Config, option

AGAINST = ("matched", "shape")  # what is started from
# Å of noise, sigma / alpha: with less, bonds show, of which cumulants up to the fourth say too little against shapes.
BONDS_SHOW = 0.75
TOLERANCES = (0.1, 0.3, 1.0)


@dataclass(frozen=True, kw_only=True)
class PriceConfig(Config):
    """How cumulants are estimated, and with what precision."""

    n_pairs: int = option(
        1_000_000, "Pairs of molecules of each number of atoms, about; few molecules have fewer.", metavar="N",
        at_least=1,
    )  # fmt: skip
    n_resamples: int = option(200, "Bootstrap resamples.", metavar="N", at_least=2)
    level: float = option(0.95, "Level of intervals.", metavar="LEVEL", above=0, below=1)
