"""Muon: averaged gradients made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

A gradient of a matrix W [a, b] is averaged, M <- M + (1 - mu)(G - M), looked ahead, G + mu (M - G), and replaced by the
nearest matrix with all singular values about one, through five Newton-Schulz iterations, none of which waits for the
device. W then moves by 0.2 sqrt(max(a, b)) times the rate, which has the root mean square of a step of AdamW's (Liu et
al. 2025, arXiv 2502.16982, section 2.2), so that one learning rate serves both.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

MOMENTUM = 0.95
_ITERATIONS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315  # of the quintic a x + b x^3 + c x^5, steep at zero


class Muon:
    """Steps for matrices, those of one shape together.

    Args:
        matrices: parameters of two dimensions, whose gradients are in `.grad` at each step.
    """

    def __init__(self, matrices: Sequence[nn.Parameter]) -> None:
        shapes = sorted({tuple(p.shape) for p in matrices})
        self._groups = [[p for p in matrices if tuple(p.shape) == shape] for shape in shapes]
        self._momenta = [torch.zeros_like(torch.stack(list(group)).detach()) for group in self._groups]

    @torch.no_grad()
    def step(self, rate: Float[Tensor, ""], taken: Bool[Tensor, ""], weight_decay: float = 0.0) -> None:
        """One step at this learning rate, with AdamW's weight decay; if it is not taken, nothing changes."""
        for group, momentum in zip(self._groups, self._momenta, strict=True):
            gradient = torch.stack([p.grad for p in group if p.grad is not None])
            averaged = torch.lerp(momentum, gradient, 1.0 - MOMENTUM)
            momentum.copy_(torch.where(taken, averaged, momentum))
            change = orthogonal(torch.lerp(gradient, averaged, MOMENTUM))
            scale = 0.2 * math.sqrt(max(group[0].shape))
            torch._foreach_mul_(list(group), torch.where(taken, 1.0 - rate * weight_decay, 1.0))
            change = torch.where(taken, change * (-scale * rate), 0.0)
            torch._foreach_add_(list(group), list(change.unbind()))

    def tensors(self) -> dict[str, Tensor]:
        """What the next step depends on, by name."""
        return {f"momentum.{i}": momentum for i, momentum in enumerate(self._momenta)}


def orthogonal(matrices: Float[Tensor, "k a b"], products: torch.dtype | None = None) -> Float[Tensor, "k a b"]:
    """Matrices with the same singular vectors and singular values near one (between about 0.7 and 1.2).

    Unless said otherwise, products are in bfloat16 on CUDA, as its authors do: an error of a few per cent changes no
    direction that matters. A processor without instructions for it takes far longer for them than in float32: 1.1 to
    1.4 s against 0.06 to 0.10 s a step of the preset `small` (one core of an AMD Zen 3), whose gradient takes about
    half a second.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    products = products or (torch.bfloat16 if matrices.is_cuda else torch.float32)
    x = (matrices.mT if tall else matrices).to(products)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return (x.mT if tall else x).to(matrices.dtype)
