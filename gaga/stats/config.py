"""What the statistics are asked for. Each option is declared here, once."""

from dataclasses import dataclass
from itertools import pairwise

from gaga.core.config import Config, option
from gaga.core.errors import InvalidInput
from gaga.noise import REFERENCE_KINDS

ESTIMATORS = ("price", "effects", "paper", "mean", "quantile")
_TEST, _CURVES = "The published per-molecule test", "The curves D_t and Dep_t"


@dataclass(frozen=True, kw_only=True)
class GaussianityConfig(Config):
    """What is tested at each step, and with what precision."""

    timesteps: tuple[int, ...] = option(tuple(range(50, 1001, 50)), "Increasing steps of the schedule.", at_least=1)
    alpha: float = option(0.05, "Level of the KS test.", metavar="LEVEL", above=0, below=1, section=_TEST)
    mi_threshold: float = option(
        0.1, "Mean pairwise mutual information below which a molecule passes.", metavar="NATS", above=0, section=_TEST
    )
    k_positions: int = option(2, "Neighbours for positions.", metavar="K", at_least=1, section=_TEST)
    k_types: int = option(3, "Neighbours for types.", metavar="K", at_least=1, section=_TEST)
    test_variances: tuple[float, ...] | None = option(
        None,
        "Variances to standardise with, by block; by default what was published, mean deviations.",
        metavar="V,V", above=0, section=_TEST,
    )  # fmt: skip
    references: tuple[str, ...] = option(
        REFERENCE_KINDS,
        f"Some of {','.join(REFERENCE_KINDS)}; by default all.",
        metavar="KINDS", choices=REFERENCE_KINDS, section=_CURVES,
    )  # fmt: skip
    against: str = option(
        "size", "shape: also compare the statistics that see molecules with random shapes.",
        metavar="size|shape", choices=("size", "shape"), section=_CURVES,
    )  # fmt: skip
    n_null: int = option(10_000, "Number of true Gaussian molecules.", metavar="N", at_least=2, section=_CURVES)
    n_resamples: int = option(200, "Bootstrap resamples.", metavar="N", at_least=2, section=_CURVES)
    level: float = option(0.95, "Level of intervals.", metavar="LEVEL", above=0, below=1, section=_CURVES)
    until: float | None = option(
        None,
        "Use no more molecules than it takes to know every curve to ± this.",
        metavar="WIDTH", above=0, below=1, section=_CURVES,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.timesteps or any(a >= b for a, b in pairwise(self.timesteps)):
            raise InvalidInput("timesteps are one or more increasing steps", received=self.timesteps)
        if not self.references:
            raise InvalidInput("no reference Gaussian", remedy=f"use some of {', '.join(REFERENCE_KINDS)}")


@dataclass(frozen=True, kw_only=True)
class TstarConfig(Config):
    """How T* is read from a Gaussianity result, or from a price."""

    estimator: str = option("price", "The rule that T* is read by.", choices=ESTIMATORS)
    tolerance: float = option(1.0, "Price at most, nats per molecule, for price.", metavar="NATS", above=0)
    max_effect: float = option(
        0.2, "Effect of every statistic that sees molecules at most, for effects.", metavar="EFFECT", above=0
    )
    reference: str = option(
        "block", "The Gaussian that D_t and Dep_t are to, for paper.", metavar="KIND", choices=REFERENCE_KINDS
    )
    consecutive: int = option(
        2, "Steps in a row that a molecule must pass, for mean and quantile.", metavar="N", at_least=1
    )
    quantile: float = option(
        0.95, "Share of molecules that have passed, for quantile.", metavar="SHARE", above=0, below=1
    )
    eps_dependence: float = option(0.01, "Dep_t at most, for paper.", metavar="NATS", above=0)
    eps_distance: float = option(0.01, "D_t at most, for paper.", metavar="EPS", above=0)
    table: tuple[float, ...] = option(
        (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0), "Factors on both eps for which the paper's T* is tabulated.", above=0
    )
    n_resamples: int = option(
        1000, "Bootstrap resamples of the molecules' flags; paper uses those of the curves.", at_least=2
    )
