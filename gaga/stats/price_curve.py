"""A price at every step, and T*, the first step from which it stays within a tolerance."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from gaga.core.errors import InvalidInput


class PriceStep(NamedTuple):
    """A first step, with fractions, and its interval; None is "later than the last step"."""

    t: float | None
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """Such as "573 (566 to 580)"."""
        if self.t is None:
            return "no step"
        low, high = ("never" if end is None else f"{end:.0f}" for end in (self.low, self.high))
        return f"{self.t:.0f} ({low} to {high})"


@dataclass(frozen=True, kw_only=True, eq=False)
class PriceCurve:
    """Nats per molecule at every step 0..T, with the ends of their bootstrap interval over molecules."""

    nats: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})
    low: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})
    high: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})
    spread: Float64[np.ndarray, " T_plus_1"] = field(metadata={"unit": "nats", "dims": ("t",)})


def tstar_by_price(curve: PriceCurve, tolerance: float) -> PriceStep:
    """The first step from which the price is at most `tolerance` nats and stays so up to T, with its interval.

    Steps are taken from T downwards and the first failure ends it (fixed sequence), so that several steps need no
    correction: from `high` the upper limit of the price is within the tolerance. Between the last step that fails and
    the one above it the price is interpolated on a logarithmic scale. A price that never fails gives 0.

    Raises:
        InvalidInput: the tolerance is not above 0.
    """
    if not 0 < tolerance < math.inf:
        raise InvalidInput("a tolerance is a number of nats above 0", received=tolerance)
    return PriceStep(*(first_step(values, tolerance) for values in (curve.nats, curve.low, curve.high)))


def first_step(values: Float64[np.ndarray, " T_plus_1"], eps: float) -> float | None:
    """The step, with a fraction, from which a curve over the steps 0..T stays at or below eps; None if it ends above.

    Between two steps the curve is interpolated on a logarithmic scale. A curve that is never above gives 0.
    """
    fails = np.flatnonzero(~(values <= eps))
    if not len(fails):
        return 0.0
    last = int(fails[-1])
    if last == len(values) - 1:
        return None
    above, below = float(values[last]), float(values[last + 1])
    if below <= 0:  # noise around 0 has no logarithm
        return last + (above - eps) / (above - below)
    return last + math.log(above / eps) / math.log(above / below)
