"""The price as a Gaussianity result holds it: the average at every step, sizes and terms at every tenth.

T* needs no more than that. A `gaga.stats.price.PriceResult` has every step of every size and the norms too; of QM9 that
is ten times as many bytes.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64, Int64

from gaga.core.errors import InvalidInput
from gaga.stats.price import PriceResult
from gaga.stats.price_curve import PriceCurve

_INTERVALS = 100  # of the grid of steps


@dataclass(frozen=True, kw_only=True, eq=False)
class PriceSummary:
    """What a start from the matched Gaussian costs, nats per molecule; T steps, S numbers of atoms, a grid of G steps.

    Attributes:
        price: averaged over the molecules, with its interval.
        steps: the grid, from 0 to T, [G].
        terms: names of the parts of `price`; by_term: each part, [G, terms].
        sizes: numbers of atoms, [S]; molecules: how many there are of each, [S].
        nats_by_size, low_by_size, high_by_size: the curves of each size with their intervals, [S, G].
        n_molecules: of two atoms or more. level: of intervals.
    """

    price: PriceCurve
    steps: Int64[np.ndarray, " G"] = field(metadata={"dims": ("steps",)})
    terms: tuple[str, ...]
    by_term: Float32[np.ndarray, "G terms"] = field(metadata={"unit": "nats", "dims": ("steps", "terms")})
    sizes: Int64[np.ndarray, " S"] = field(metadata={"unit": "atoms", "dims": ("sizes",)})
    molecules: Int64[np.ndarray, " S"] = field(metadata={"dims": ("sizes",)})
    nats_by_size: Float32[np.ndarray, "S G"] = field(metadata={"unit": "nats", "dims": ("sizes", "steps")})
    low_by_size: Float32[np.ndarray, "S G"] = field(metadata={"unit": "nats", "dims": ("sizes", "steps")})
    high_by_size: Float32[np.ndarray, "S G"] = field(metadata={"unit": "nats", "dims": ("sizes", "steps")})
    n_molecules: int
    level: float

    @classmethod
    def of(cls, result: PriceResult) -> "PriceSummary":
        """What is kept of a price at every step."""
        steps = np.unique(np.linspace(0, result.T, min(_INTERVALS, result.T) + 1).round().astype(np.int64))
        return cls(
            price=result.price,
            steps=steps,
            terms=result.terms,
            by_term=result.by_term[steps].astype(np.float32),
            sizes=result.sizes,
            molecules=result.molecules,
            nats_by_size=result.nats_by_size[:, steps].astype(np.float32),
            low_by_size=result.low_by_size[:, steps].astype(np.float32),
            high_by_size=result.high_by_size[:, steps].astype(np.float32),
            n_molecules=result.n_molecules,
            level=result.level,
        )

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.price.nats) - 1

    def curve_of(self, n_atoms: int) -> PriceCurve:
        """The curve of the molecules of this number of atoms; between steps of the grid a mean of logarithms.

        Raises:
            InvalidInput: the data has no molecule of this size.
        """
        found = np.flatnonzero(self.sizes == n_atoms)
        if not len(found):
            raise InvalidInput("the data has no molecule of this number of atoms", received=n_atoms)
        i = int(found[0])
        nats, low, high = (
            _at_every_step(self.steps, rows[i]) for rows in (self.nats_by_size, self.low_by_size, self.high_by_size)
        )
        return PriceCurve(nats=nats, low=low, high=high, spread=np.full(len(nats), np.nan))

    def share_of_positions(self, t: int) -> float:
        """Part of the price at the step of the grid next to t that is of positions alone; parts below 0 are noise."""
        parts = np.maximum(self.by_term[np.abs(self.steps - t).argmin()], 0.0)
        return float(parts[self.terms.index("positions_c4")] / parts.sum()) if parts.any() else 0.0


def _at_every_step(
    steps: Int64[np.ndarray, " G"], values: Float32[np.ndarray, " G"]
) -> Float64[np.ndarray, " T_plus_1"]:
    """A curve of the grid at every step: between two, a line of logarithms, or of values if one is not above 0."""
    every, known = np.arange(steps[-1] + 1), values.astype(np.float64)
    straight = np.interp(every, steps, known)
    right = np.clip(np.searchsorted(steps, every), 1, len(steps) - 1)
    positive = np.minimum(known[right - 1], known[right]) > 0
    logarithms = np.log(np.where(known > 0, known, 1.0))
    return np.where(positive, np.exp(np.interp(every, steps, logarithms)), straight)
