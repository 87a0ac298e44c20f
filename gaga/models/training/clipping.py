"""Gradient clipping by the norms of the last fifty steps: EDM's, by mean and spread, and one by their median.

The mean of EDM's follows a gradient that is a thousand times too large, and starts at 3000; the median does not, and
what it allows is about what is usual. The norms stay on the device, so that a training step neither waits for them nor
changes with them.
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_LENGTH = 50
_FIRST = 3000.0
_TIMES_MEDIAN = 2.0


class Clipping(Protocol):
    """The norms of the last fifty gradients, a ring, and how many have been recorded in all."""

    norms: Float[Tensor, "50"]
    count: Int64[Tensor, ""]

    def limit(self) -> Float[Tensor, ""]:
        """The largest norm allowed now."""

    def add(self, norm: Float[Tensor, ""], wanted: Bool[Tensor, ""]) -> None:
        """Record a gradient norm before clipping, where it is wanted."""


class AdaptiveClipping:
    """The norms of the last fifty gradients, themselves clipped (Hoogeboom et al. 2022, published code).

    Attributes:
        norms: what is remembered, a ring.
        count: how many have been recorded in all; the first is EDM's 3000, before any gradient.
    """

    norms: Float[Tensor, "50"]
    count: Int64[Tensor, ""]

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.norms = torch.zeros(_LENGTH, dtype=torch.float64, device=device)
        self.norms[0] = _FIRST
        self.count = torch.ones((), dtype=torch.int64, device=device)
        self._places = torch.arange(_LENGTH, device=device)

    def limit(self) -> Float[Tensor, ""]:
        """The largest norm allowed now."""
        remembered = self._places < self.count
        n = remembered.sum()
        mean = torch.where(remembered, self.norms, 0.0).sum() / n
        variance = torch.where(remembered, (self.norms - mean).square(), 0.0).sum() / n
        return 1.5 * mean + 2.0 * variance.sqrt()

    def add(self, norm: Float[Tensor, ""], wanted: Bool[Tensor, ""]) -> None:
        """Record a gradient norm before clipping, where it is wanted."""
        place = (self.count % _LENGTH).reshape(1)
        kept = torch.where(wanted, torch.minimum(norm, self.limit()), self.norms.index_select(0, place))
        self.norms.index_copy_(0, place, kept)
        self.count.add_(wanted)


class MedianClipping:
    """No norm larger than twice the median of the last fifty, whatever the outliers among them; any norm at first.

    Attributes:
        norms: what is remembered, a ring.
        count: how many have been recorded in all.
    """

    norms: Float[Tensor, "50"]
    count: Int64[Tensor, ""]

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.norms = torch.zeros(_LENGTH, dtype=torch.float64, device=device)
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self._places = torch.arange(_LENGTH, device=device)

    def limit(self) -> Float[Tensor, ""]:
        """The largest norm allowed now."""
        ordered = torch.where(self._places < self.count, self.norms, torch.inf).sort().values
        middle = (self.count.clamp(1, _LENGTH) - 1) // 2
        return _TIMES_MEDIAN * ordered.index_select(0, middle.reshape(1))[0]

    def add(self, norm: Float[Tensor, ""], wanted: Bool[Tensor, ""]) -> None:
        """Record a gradient norm before clipping, where it is wanted."""
        place = (self.count % _LENGTH).reshape(1)
        self.norms.index_copy_(0, place, torch.where(wanted, norm, self.norms.index_select(0, place)))
        self.count.add_(wanted)
