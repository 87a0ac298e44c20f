"""EDM's adaptive gradient clipping: no norm larger than 1.5 means and 2 standard deviations of the last fifty."""

from collections import deque
from collections.abc import Iterable

import numpy as np

_LENGTH = 50
_FIRST = 3000.0


class AdaptiveClipping:
    """The norms of the last fifty gradients, themselves clipped (Hoogeboom et al. 2022, published code)."""

    def __init__(self, norms: Iterable[float] = (_FIRST,)) -> None:
        self._norms = deque(norms, maxlen=_LENGTH)

    def limit(self) -> float:
        """The largest norm allowed now."""
        return float(1.5 * np.mean(self._norms) + 2 * np.std(self._norms))

    def add(self, norm: float) -> None:
        """Record a gradient norm before clipping."""
        self._norms.append(min(norm, self.limit()))

    def norms(self) -> list[float]:
        """What is remembered, oldest first."""
        return list(self._norms)
