"""What a training step does with a gradient: clipping, AdamW or Muon, the moving average of the weights.

A step whose loss or gradient is not finite changes nothing. All of this is decided on the device, from tensors that
stay where they are: a CUDA graph can hold it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gaga.core.errors import InvalidInput
from gaga.models.device_rng import exact_device
from gaga.models.training.clipping import AdaptiveClipping, Clipping, MedianClipping
from gaga.models.training.muon import Muon
from gaga.models.training.recipe import Recipe


class Optimiser:
    """AdamW or Muon, clipping, and the averaged weights (Hoogeboom et al. 2022, appendix E).

    Attributes:
        parameters: of the network, in its order.
        ema: the averaged weights by name.
        clipping: the norms of the last gradients.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        named = dict(network.named_parameters())
        self.parameters = list(named.values())
        device = self.parameters[0].device
        self.ema = {name: p.detach().clone() for name, p in named.items()}
        self._names, self._exact = list(named), exact_device(device)
        self._on_device = self._exact == device
        self._rate = torch.tensor(recipe.learning_rate, device=self._exact)
        self._forget = torch.zeros((), device=self._exact)
        self._no_limit = torch.tensor(float("inf"), dtype=torch.float64, device=self._exact)
        self._clips = recipe.clipping != "none"
        by_median = recipe.clipping == "median"
        self.clipping: Clipping = (MedianClipping if by_median else AdaptiveClipping)(self._exact)
        matrices = _inner_matrices(network) if recipe.optimizer == "muon" else []
        self._muon = Muon(matrices) if matrices else None
        self._matrix_rate, self._weight_decay = recipe.matrix_rate, recipe.weight_decay
        others = [p for p in self.parameters if not any(p is matrix for matrix in matrices)]
        self._adamw = torch.optim.AdamW(
            others, lr=self._rate, weight_decay=recipe.weight_decay, amsgrad=recipe.amsgrad, foreach=False,
            fused=self._on_device, capturable=device.type == "cuda",
        )  # fmt: skip
        self._make_moments()

    def set(self, learning_rate: float, ema_decay: float) -> None:
        """What the next steps take."""
        self._rate.fill_(learning_rate)
        self._forget.fill_(1.0 - ema_decay)

    def apply(self, gradient: Float[Tensor, " P"], loss: Float[Tensor, ""]) -> Float[Tensor, "4"]:
        """Take a step along a gradient of all parameters, which is clipped in place.

        Returns:
            loss, norm of the gradient before clipping, largest norm allowed, and 1 if the step was taken, else 0.
        """
        loss = loss.to(self._exact, torch.float64)
        norm = torch.linalg.vector_norm(gradient).to(self._exact, torch.float64)
        taken = torch.isfinite(loss) & torch.isfinite(norm)
        limit = self.clipping.limit() if self._clips else self._no_limit
        gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0).to(gradient))
        self._descend(gradient, taken)
        self._average(taken)
        self.clipping.add(norm, taken)
        return torch.stack([loss, norm, limit, taken.double()])

    def _descend(self, gradient: Float[Tensor, " P"], taken: Bool[Tensor, ""]) -> None:
        parts = torch.split(gradient, [p.numel() for p in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        if self._on_device:
            self._adamw.found_inf = (~taken).float()  # type: ignore[attr-defined]
            self._adamw.step()
        elif bool(taken):
            self._adamw.step()
        if self._muon is not None:
            rate = (self._rate * self._matrix_rate).to(gradient)
            self._muon.step(rate, taken.to(gradient.device), self._weight_decay)

    @torch.no_grad()
    def _average(self, taken: Bool[Tensor, ""]) -> None:
        """ema <- ema + (1 - decay)(weights - ema); both are finite, since no step that is not was taken."""
        averages, weights = list(self.ema.values()), [p.detach() for p in self.parameters]
        change = torch._foreach_sub(weights, averages)
        torch._foreach_mul_(change, (self._forget * taken).to(averages[0].device))
        torch._foreach_add_(averages, change)

    def _make_moments(self) -> None:
        """AdamW makes its moments, zeros, in its first step: take one that changes nothing."""
        zeros = torch.zeros_like(torch.cat([p.detach().reshape(-1) for p in self.parameters]))
        if self._on_device:
            self._descend(zeros, torch.zeros((), dtype=torch.bool, device=self._exact))
            return
        self._rate.fill_(0.0)
        self._descend(zeros, torch.ones((), dtype=torch.bool, device=self._exact))
        for moments in self._adamw.state.values():
            moments["step"].zero_()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on: network.*, ema.*, optimizer.<i>.<moment>, muon.*, clipping.*."""
        moments = self._adamw.state_dict()["state"]
        return {
            **{f"network.{name}": p.detach() for name, p in zip(self._names, self.parameters, strict=True)},
            **{f"ema.{name}": value for name, value in self.ema.items()},
            **{f"optimizer.{i}.{name}": value for i, values in moments.items() for name, value in values.items()},
            **{f"muon.{name}": value for name, value in (self._muon.tensors() if self._muon else {}).items()},
            "clipping.norms": self.clipping.norms,
            "clipping.count": self.clipping.count,
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Copy what `tensors` gave back, in place.

        Raises:
            InvalidInput: they are of another network.
        """
        own = self.tensors()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in tensors.items()}:
            raise InvalidInput("the training state holds other tensors than this network and its optimiser have")
        for name, value in own.items():
            value.copy_(tensors[name])


def _inner_matrices(network: nn.Module) -> list[nn.Parameter]:
    """The matrices inside blocks; not embeddings, nor those that end in a single number."""
    named = network.named_parameters()
    return [p for name, p in named if name.startswith("blocks.") and p.ndim == 2 and min(p.shape) > 1]
