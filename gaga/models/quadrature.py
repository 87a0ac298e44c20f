"""A quadrature rule for integrals over the signal-to-noise ratio."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

_KNEE = 0.1  # snr around which the variable of integration turns from snr to ln snr
_PANEL = 0.25  # widest panel in ln(1 + snr / _KNEE)
_POINTS, _SHARES = np.polynomial.legendre.leggauss(2)


@dataclass(frozen=True, eq=False)
class Grid:
    """A Gauss-Legendre rule of two points on each panel.

    The variable of the panels, ln(1 + snr / 0.1), is proportional to snr while noise dominates (integrands are
    polynomials of snr there), and to ln snr while data dominate.

    Attributes:
        edges: snr between panels, ascending, [P + 1].
        snr: the nodes, ascending, [2 P].
        weights: what a value at a node counts in the integral over snr, [2 P].
    """

    edges: Float64[np.ndarray, " P_plus_1"]
    snr: Float64[np.ndarray, " n"]
    weights: Float64[np.ndarray, " n"]

    @classmethod
    def between(cls, snr: Float64[np.ndarray, " S"]) -> "Grid":
        """The rule with panels that end at each of these."""
        stops = np.log1p(np.unique(snr) / _KNEE)
        counts = np.ceil(np.diff(stops) / _PANEL).astype(int)
        parts = [np.linspace(*ends, n, endpoint=False) for ends, n in zip(pairwise(stops), counts, strict=True)]
        edges = np.concatenate([*parts, stops[-1:]])
        half = np.diff(edges)[:, None] / 2
        positions = (edges[:-1, None] + half * (1 + _POINTS)).ravel()
        nodes = _KNEE * np.expm1(positions)
        return cls(_KNEE * np.expm1(edges), nodes, (half * _SHARES).ravel() * (nodes + _KNEE))

    def upto(self, snr: Float64[np.ndarray, " S"]) -> Float64[np.ndarray, "S n"]:
        """The weights of the integrals up to each of these, which are edges."""
        return self.weights * (self.snr < snr[:, None])
