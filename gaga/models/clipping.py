"""EDM's adaptive gradient clipping: no norm larger than 1.5 means and 2 standard deviations of the last fifty.

The norms stay on the device, so that a training step neither waits for them nor changes with them.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_LENGTH = 50
_FIRST = 3000.0


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
