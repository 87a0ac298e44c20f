"""T* by price: on average and for each number of atoms."""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.text import nats
from gaga.stats.price import PriceResult
from gaga.stats.price_curve import tstar_by_price
from gaga.stats.price_summary import PriceSummary

FEW = 1_000  # molecules: with fewer T* is off by more than ten steps, and too early (docs/TSTAR.md)


@dataclass(frozen=True, kw_only=True)
class PricedStep:
    """A first step with a fraction and its interval; None for later than the last step."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ByPrice:
    """The first step from which a start from a Gaussian costs at most `tolerance` nats a molecule, and stays there.

    T steps, S numbers of atoms.

    Attributes:
        tolerance: nats per molecule, of positions and types together.
        step: T*, averaged over the data's sizes; level: of its interval.
        nats: the price at every step, [T + 1].
        n_molecules: number of molecules. share_of_positions: part of the price at T* that is of positions alone.
        sizes, molecules: numbers of atoms, and how many molecules have them, [S].
        step_by_size, low_by_size, high_by_size: T* at the same price for each size, [S]; infinite if later than T.
    """

    tolerance: float = field(metadata={"unit": "nats"})
    step: PricedStep
    level: float
    nats: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})
    n_molecules: int
    share_of_positions: float
    sizes: Int64[np.ndarray, " S"] = field(metadata={"unit": "atoms", "dims": ("sizes",)})
    molecules: Int64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    step_by_size: Float64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    low_by_size: Float64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    high_by_size: Float64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})

    @property
    def first(self) -> int | None:
        """The first whole step from which the price is within the tolerance, and that can be trained."""
        return None if self.step.value is None else max(1, math.ceil(self.step.value))

    @property
    def few_molecules(self) -> bool:
        """Whether there are too few molecules for a T* to ten steps."""
        return self.n_molecules < FEW

    @property
    def reason(self) -> str:
        """What decided, in a sentence."""
        since = "at no step" if self.first is None else f"from t = {self.first} on"
        return (
            f"a start from the matched Gaussian, of the data's covariance at each size, costs at most "
            f"{nats(self.tolerance)} a molecule {since}, averaged over {self.n_molecules:,} molecules; "
            f"{100 * self.share_of_positions:.0f} % of that is the price of positions."
        )


def by_price(price: PriceSummary | PriceResult, tolerance: float) -> ByPrice:
    """T* at this tolerance.

    Raises:
        InvalidInput: the tolerance is not above 0.
    """
    summary = PriceSummary.of(price) if isinstance(price, PriceResult) else price
    found = tstar_by_price(price.price, tolerance)
    of_sizes = [tstar_by_price(price.curve_of(int(n)), tolerance) for n in price.sizes]
    steps = np.array([[np.inf if end is None else end for end in one] for one in of_sizes], dtype=np.float64)
    return ByPrice(
        tolerance=tolerance,
        step=PricedStep(value=found.t, low=found.low, high=found.high),
        level=price.level,
        nats=price.price.nats,
        n_molecules=price.n_molecules,
        share_of_positions=summary.share_of_positions(price.T if found.t is None else round(found.t)),
        sizes=price.sizes,
        molecules=price.molecules,
        step_by_size=steps[:, 0],
        low_by_size=steps[:, 1],
        high_by_size=steps[:, 2],
    )
