"""Gradient clipping by the norms of the last fifty steps: EDM's, by mean and spread, and one by their median.

EDM's mean follows a gradient that is a thousand times too large, and starts at 3000; the median does not, and its limit
is about what is usual. The norms stay on the device, so that a training step neither waits for them nor changes with
them.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_LENGTH = 50
_FIRST = 3000.0
_TIMES_MEDIAN = 2.0


class Clipping(ABC):
    """The norms of the last fifty gradients, and the largest norm that they allow.

    Attributes:
        norms: what is remembered, a ring.
        count: how many have been recorded in all.
    """

    norms: Float[Tensor, "50"]
    count: Int64[Tensor, ""]

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.norms = torch.zeros(_LENGTH, dtype=torch.float64, device=device)
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self._indices = torch.arange(_LENGTH, device=device)

    @abstractmethod
    def limit(self) -> Float[Tensor, ""]:
        """The largest norm allowed now."""

    def add(self, norm: Float[Tensor, ""], wanted: Bool[Tensor, ""]) -> None:
        """Record a gradient norm before clipping, if it is wanted."""
        index = (self.count % _LENGTH).reshape(1)
        self.norms.index_copy_(0, index, torch.where(wanted, self._kept(norm), self.norms.index_select(0, index)))
        self.count.add_(wanted)

    def _kept(self, norm: Float[Tensor, ""]) -> Float[Tensor, ""]:
        return norm


class AdaptiveClipping(Clipping):
    """The limit is 1.5 mean + 2 standard deviations of the norms, themselves clipped (Hoogeboom et al. 2022, code).

    The first norm is EDM's 3000, before any gradient.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__(device)
        self.norms[0] = _FIRST
        self.count.fill_(1)

    def limit(self) -> Float[Tensor, ""]:
        """The largest norm allowed now."""
        remembered = self._indices < self.count
        n = remembered.sum()
        mean = torch.where(remembered, self.norms, 0.0).sum() / n
        variance = torch.where(remembered, (self.norms - mean).square(), 0.0).sum() / n
        return 1.5 * mean + 2.0 * variance.sqrt()

    def _kept(self, norm: Float[Tensor, ""]) -> Float[Tensor, ""]:
        return torch.minimum(norm, self.limit())


class MedianClipping(Clipping):
    """The limit is twice the median of the norms, whatever the outliers among them; any norm is allowed at first."""

    def limit(self) -> Float[Tensor, ""]:
        """The largest norm allowed now."""
        ordered = torch.where(self._indices < self.count, self.norms, torch.inf).sort().values
        middle = (self.count.clamp(1, _LENGTH) - 1) // 2
        return _TIMES_MEDIAN * ordered.index_select(0, middle.reshape(1))[0]
