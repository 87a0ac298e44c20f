"""Which properties each molecule is asked to have: values or ranges that are given, or drawn from p(c | N)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.rng import STREAM_FURTHER, uniforms
from gaga.models.conditioning import Conditioning

STREAM_TARGET = STREAM_FURTHER - 16  # and those below, one for each property
_NEAREST = 10  # molecules of the library, if none of a size has what is asked for
_LIKE = 256  # the same of all sizes
_JITTER = 1e-3  # of the range at a size


@dataclass(frozen=True, eq=False)
class Targets:
    """A condition (`loop.Condition`): the properties of a random molecule of the library of the same size that has
    those asked for, each moved at random by a thousandth of the range at that size.

    If no molecule of the size has them, it is one of the ten nearest, with the properties asked for put right.

    Attributes:
        conditioning: properties and library.
        low, high: ends of what is asked for, in the properties' units, [K]; infinite if nothing is.
        seed: of the run.
    """

    conditioning: Conditioning
    low: Float64[np.ndarray, " K"]
    high: Float64[np.ndarray, " K"]
    seed: int = 0

    def values(self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]) -> Float64[np.ndarray, "M K"]:
        """The properties that molecules of these keys and numbers of atoms are asked to have, in their units."""
        chance, k = uniforms(self.seed, keys, STREAM_TARGET), len(self.conditioning.names)
        moved = [uniforms(self.seed, keys, STREAM_TARGET - 1 - j) - 0.5 for j in range(k)]
        values = np.zeros((len(keys), k))
        for n in np.unique(sizes).tolist():
            here, rows = sizes == n, self.conditioning.of_size(n)
            jitter = _JITTER * np.ptp(rows, axis=0) * np.stack(moved, axis=1)[here]
            having = rows[self._near(rows, _NEAREST)]
            values[here] = having[(chance[here] * len(having)).astype(np.int64)] + jitter
        return np.clip(values, self.low, self.high)

    def context(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]
    ) -> Float64[np.ndarray, "M K_plus_1"]:
        """As `loop.Condition`."""
        return self.conditioning.context(self.values(keys, sizes))

    def counts(self, length: int) -> Int64[np.ndarray, " length"]:
        """Molecules of each size 0 to length - 1 among those of the library that have what is asked for.

        If none has, among the 256 nearest.
        """
        library = self.conditioning
        near = library.n_atoms[self._near(library.values.astype(np.float64), _LIKE)]
        return np.bincount(near[near < length], minlength=length)

    def _near(self, values: Float64[np.ndarray, "s K"], least: int) -> Int64[np.ndarray, " n"]:
        """Rows that have what is asked for; if there are none, the nearest ones."""
        away = np.maximum(np.maximum(self.low - values, values - self.high), 0.0)
        distance = (away / np.array(self.conditioning.scale.deviation)).max(axis=1)
        having = np.flatnonzero(distance == 0)
        return having if len(having) else np.argsort(distance, kind="stable")[:least]
