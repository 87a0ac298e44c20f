"""Molecules, images and other arrays [M, N, C] under the same noise: when does each become Gaussian?

GAGA (Qu et al. 2026, Figure 2) finds that molecules become Gaussian hundreds of steps before images. What it plots is
not known in full, and a comparison has three traps: a test sees more with more values; columns of a larger variance
drown in noise later, whatever their law; and a statistic may not see what it should. So these are measured:

- D_t, the KS distance of all entries to one Gaussian, N(0, alpha^2 v + sigma^2), and to each entry's own, whose mean
  and variance are those of this entry over the samples. The first also sees that entries have different variances,
  the second their marginals alone. Both as functions of the step or of the signal-to-noise ratio alpha^2 v / sigma^2.
- The share of samples that pass a KS test against the first Gaussian, with all their values and with as many values of
  each, drawn at random once.
- The Gaussian mutual information -ln(1 - r^2) / 2 of pairs of pixels, next to each other and random.
- The norms of the cumulants over powers of v, of at most 64 values, which depend on neither scale nor noise: H^(4) of
  Proposition 3.1 follows at every step (`gaga.stats.cumulants`).

D_t and the shares are also those of a Gaussian field with the mean and the covariance of the data, as many samples
through the same code. If samples are centred, so is the noise, and v is the variance per degree of freedom.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gaga.core.errors import InvalidInput
from gaga.stats.cumulants import signed_root

STEPS = tuple(range(0, 1001, 50))
REFERENCES = ("one variance", "each entry's own")
NUMBERS = ("all values", "equal number")
PAIRS = ("adjacent", "random")
_DIMS = ("modalities", "timesteps")
TEXTS = ("names", "centre")  # one of each modality


@dataclass(frozen=True, kw_only=True, eq=False)
class Modalities:
    """K modalities at S steps.

    Attributes:
        names: of the modalities. centre: what was subtracted: sample, data or none; of each.
        schedule: name of the noise schedule. timesteps: the steps, [S]; alpha2: alpha_t^2 there.
        samples: number of samples, [K]. values: entries of each, N C, [K]. tested: of those, in the test of equal
            numbers, [K].
        variance: v, per degree of freedom, [K].
        distances: D_t to `REFERENCES`, [K, S, 2]; reach: half the width of its interval, [K, S, 2].
        passes: share of samples that pass the test with `NUMBERS` of values, [K, S, 2].
        information: mean mutual information of `PAIRS`, nats, [K, S, 2]; nan if there are no such pairs. Of M samples
            chance gives 1 / (2 M).
        null_distances, null_passes: the same of the Gaussian field, [K, S, 2].
        columns: number of values that the cumulants are of, [K].
        squares: squared norms of offdiag Cov, C3 and C4 over v^2, v^3 and v^4, at t = 0, [K, 3].
        squares_low, squares_high: ends of their intervals, [K, 3]; nan if not known.
        alpha, level: of the test; of intervals.
    """

    names: tuple[str, ...]
    centre: tuple[str, ...]
    schedule: str
    timesteps: Int64[np.ndarray, " S"] = field(metadata={"dims": ("timesteps",)})
    alpha2: Float64[np.ndarray, " S"] = field(metadata={"dims": ("timesteps",)})
    samples: Int64[np.ndarray, " K"] = field(metadata={"dims": _DIMS[:1]})
    values: Int64[np.ndarray, " K"] = field(metadata={"dims": _DIMS[:1]})
    tested: Int64[np.ndarray, " K"] = field(metadata={"dims": _DIMS[:1]})
    variance: Float64[np.ndarray, " K"] = field(metadata={"dims": _DIMS[:1]})
    distances: Float64[np.ndarray, "K S 2"] = field(metadata={"dims": (*_DIMS, "references")})
    reach: Float64[np.ndarray, "K S 2"] = field(metadata={"dims": (*_DIMS, "references")})
    passes: Float64[np.ndarray, "K S 2"] = field(metadata={"dims": (*_DIMS, "numbers")})
    information: Float64[np.ndarray, "K S 2"] = field(metadata={"unit": "nats", "dims": (*_DIMS, "pairs")})
    null_distances: Float64[np.ndarray, "K S 2"] = field(metadata={"dims": (*_DIMS, "references")})
    null_passes: Float64[np.ndarray, "K S 2"] = field(metadata={"dims": (*_DIMS, "numbers")})
    columns: Int64[np.ndarray, " K"] = field(metadata={"dims": _DIMS[:1]})
    squares: Float64[np.ndarray, "K 3"] = field(metadata={"dims": ("modalities", "norms")})
    squares_low: Float64[np.ndarray, "K 3"] = field(metadata={"dims": ("modalities", "norms")})
    squares_high: Float64[np.ndarray, "K 3"] = field(metadata={"dims": ("modalities", "norms")})
    alpha: float
    level: float

    def select(self, kept: list[int]) -> "Modalities":
        """Some of them."""
        names: dict[str, Any] = {one: tuple(getattr(self, one)[k] for k in kept) for one in TEXTS}
        return replace(self, **names, **{one: getattr(self, one)[kept] for one in self.arrays()})

    @staticmethod
    def arrays() -> list[str]:
        """The fields that have an axis of modalities."""
        return [one.name for one in fields(Modalities) if one.metadata.get("dims", ("",))[0] == "modalities"]

    @property
    def snr(self) -> Float64[np.ndarray, "K S"]:
        """Signal-to-noise ratio per dimension, alpha_t^2 v / sigma_t^2."""
        return np.asarray(self.variance[:, None] * self.alpha2 / (1 - self.alpha2))

    @property
    def norms(self) -> Float64[np.ndarray, "K 3"]:
        """||offdiag Cov|| / v, ||C3|| / v^1.5 and ||C4|| / v^2: signed roots of the squares."""
        return signed_root(self.squares)

    def proposition(self, weights: tuple[float, float, float] = (1.0, 1 / 6, 1 / 24)) -> Float64[np.ndarray, "K S"]:
        """H^(4) of Proposition 3.1 at each step, of data that has v = 1 before it is noised."""
        powers = self.alpha2[:, None] ** np.array([1.0, 1.5, 2.0])
        return np.asarray((self.norms[:, None] * powers) @ np.array(weights))

    def first_step(self, holds: Bool[np.ndarray, "K S"]) -> list[int | None]:
        """The first step of each modality from which something holds at all later ones too; None if it never does."""
        lasting = np.logical_and.accumulate(holds[:, ::-1], axis=1)[:, ::-1]
        return [int(self.timesteps[row.argmax()]) if row.any() else None for row in lasting]


def joined(parts: list[Modalities]) -> Modalities:
    """Modalities of the same steps as one.

    Raises:
        InvalidInput: they were measured under another schedule, at other steps or levels.
    """
    first = parts[0]
    for part in parts[1:]:
        if any(getattr(part, name) != getattr(first, name) for name in ("schedule", "alpha", "level")) or (
            part.timesteps.tolist() != first.timesteps.tolist()
        ):
            raise InvalidInput(
                "modalities of one comparison need the same schedule, steps and levels",
                received=f"{', '.join(part.names)}: {part.schedule}, {len(part.timesteps)} steps, {part.level:g}",
            )
    names: dict[str, Any] = {one: tuple(text for part in parts for text in getattr(part, one)) for one in TEXTS}
    arrays: dict[str, Any] = {
        one: np.concatenate([getattr(part, one) for part in parts]) for one in Modalities.arrays()
    }
    return replace(first, **names, **arrays)
