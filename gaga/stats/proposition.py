"""H^(4) of Proposition 3.1 of GAGA (Qu et al. 2026), from the cumulants of molecules, under any weights and units."""

import numpy as np
from jaxtyping import Float64

from gaga.core.errors import InvalidInput
from gaga.stats.cumulants import signed_root
from gaga.stats.price import PriceResult

UNITS = ("columns", "whitened", "standard")


def proposition(
    result: PriceResult, weights: tuple[float, float, float] = (1.0, 1 / 6, 1 / 24), units: str = "whitened"
) -> dict[str, Float64[np.ndarray, " T_plus_1"]]:
    """H^(4) of Proposition 3.1 at every step, [T + 1], of positions, of types and of both together.

    The paper prints neither its weights nor its units; the order of two blocks depends on both. Averaged over the
    molecules whose size has cumulants of its own. Positions have no first and no third term, by symmetry.

    Args:
        result: with the norms at t = 0.
        weights: beta, w_3 and w_4.
        units: `columns`, as the columns are (positions in Å, one-hot / 4); `whitened`, over the deviation of each block
            of z_t; `standard`, each block of variance 1 before it is noised.

    Raises:
        InvalidInput: there are no such units.
    """
    own = ~result.borrowed
    shares = result.molecules[own] / result.molecules[own].sum()
    alpha2 = result.alpha2[:, None]
    x, h = (alpha2 * v[own] for v in (result.variance, result.type_variance))
    if units == "whitened":
        x, h = x / (x + 1 - alpha2), h / (h + 1 - alpha2)
    elif units == "standard":
        x = h = alpha2 * np.ones(own.sum())
    elif units != "columns":
        raise InvalidInput("unknown units", received=units, remedy=f"use one of {', '.join(UNITS)}")
    offdiag, p4, c3, c4, t3, t4 = result.squares[own].T
    orders = {
        "positions": (0 * x, 0 * x, p4 * x**4),
        "types": (offdiag * h**2, t3 * h**3, t4 * h**4),
        "both": (offdiag * h**2, c3 * x**2 * h + t3 * h**3, p4 * x**4 + c4 * x**2 * h**2 + t4 * h**4),
    }
    return {
        block: np.asarray(sum(w * signed_root(s) @ shares for w, s in zip(weights, squares, strict=True)))
        for block, squares in orders.items()
    }
