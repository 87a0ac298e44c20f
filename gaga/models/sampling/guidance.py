"""What a prediction is turned into before a solver uses it (`loop.Guidance`): by a condition, or by a scorer.

    classifier-free   eps = eps(z, c) + w (eps(z, c) - eps(z, null))       Ho and Salimans 2022, arXiv 2207.12598
    gradient          eps = eps(z) - scale sigma grad_z score(x_hat(z))    Dhariwal and Nichol 2021, arXiv 2105.05233;
                                                                           of x_hat: Chung et al. 2023, arXiv 2209.14687

Both work between two levels of noise alone, sigma / alpha in Å: above T*'s there is nothing to choose, and near 0 they
would bend bonds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.data.features import FeatureSpace, require_features
from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.sampling.config import GUIDED_BETWEEN
from gaga.models.sampling.loop import UNGUIDED, Guidance

Scorer = Callable[[Tensor, Tensor, Tensor], Tensor]
_MOST = 0.5  # length of a pull in a molecule, over that of its predicted noise
_LEAST = 1e-6  # of a type's probability, before all are divided by their sum


@dataclass(frozen=True)
class ClassifierFree:
    """Away from the prediction that knows no condition; where it is at work a step takes two evaluations.

    Attributes:
        weight: w; 0 is the condition alone.
        between: smallest and largest level of noise in Å.
    """

    weight: float
    between: tuple[float, float] = GUIDED_BETWEEN
    records = True

    def __call__(
        self,
        model: Model,
        z: Float[Tensor, "A C"],
        t: Float[Tensor, " M"],
        layout: Layout,
        context: Float[Tensor, "M K"] | None,
    ) -> Float[Tensor, "A C"]:
        """As `loop.Guidance`."""
        eps, weight = model.noise(z, t, layout, context), self.weight * _inside(model, t, z, self.between)
        if z.device.type == "cpu" and not weight.any():  # elsewhere the host must not wait for the device
            return eps
        return eps + layout.per_atom(weight)[:, None] * (eps - model.noise(z, t, layout))


@dataclass(frozen=True)
class Guide:
    """Along the gradient of a score of the molecule that a prediction stands for, x_hat = (z - sigma eps) / alpha.

    The gradient goes through the network, is centred in each molecule, and takes about three times as long as a
    prediction. It is not part of a CUDA graph. What it adds to a molecule is at most half as long as the predicted
    noise: a steep score would otherwise throw x_hat ever farther beyond its summit.

    Attributes:
        scorer: a differentiable function of positions in Å [A, 3], centred in each molecule, probabilities of the
            elements of the model's vocabulary [A, F], and numbers of atoms [M], atoms molecule by molecule; it returns
            something like a log-likelihood of each molecule, [M].
        scale: what its gradient is multiplied by; 1 if it is a log-likelihood.
        between: smallest and largest level of noise in Å.
        inner: what turns z into the prediction that is guided.
    """

    scorer: Scorer
    scale: float = 1.0
    between: tuple[float, float] = GUIDED_BETWEEN
    inner: Guidance = field(default=UNGUIDED, kw_only=True)
    records = False

    def __call__(
        self,
        model: Model,
        z: Float[Tensor, "A C"],
        t: Float[Tensor, " M"],
        layout: Layout,
        context: Float[Tensor, "M K"] | None,
    ) -> Float[Tensor, "A C"]:
        """As `loop.Guidance`.

        Raises:
            InvalidInput: the scorer does not give one differentiable number for each molecule.
        """
        inside = _inside(model, t, z, self.between)
        if not inside.any():
            return self.inner(model, z, t, layout, context)
        alpha, sigma = (layout.per_atom(value)[:, None] for value in model.alpha_sigma_between(t, z))
        with torch.enable_grad():
            noisy = z.detach().requires_grad_()
            eps = self.inner(model, noisy, t, layout, context)
            x_hat = (noisy - sigma * eps) / alpha
            space = require_features(model.space)
            scores = self.scorer(x_hat[:, :3] * space.unit, probabilities(x_hat, space, layout), layout.sizes)
            gradient = self._gradient(scores, noisy, len(layout))
        eps, pull = eps.detach(), self.scale * sigma * layout.centre(gradient, model.centred_columns)
        lengths = [layout.sum(values.square().sum(dim=1)).sqrt() for values in (eps, pull)]
        weight = inside * (_MOST * lengths[0] / lengths[1].clamp(min=1e-12)).clamp(max=1.0)
        return eps - layout.per_atom(weight)[:, None] * pull

    def _gradient(self, scores: object, z: Float[Tensor, "A C"], molecules: int) -> Float[Tensor, "A C"]:
        if not isinstance(scores, Tensor) or scores.shape != (molecules,):
            received = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise InvalidInput(f"a scorer returns one number for each of {molecules} molecules", received=received)
        if not scores.requires_grad:
            raise InvalidInput("a scorer is differentiable, and these scores depend on nothing that it was given")
        return torch.autograd.grad(scores.sum(), z)[0]


def probabilities(x: Float[Tensor, "A C"], space: FeatureSpace, layout: Layout) -> Float[Tensor, "A F"]:
    """Probabilities of the elements that columns of types stand for.

    Centred types lack the mean over the molecule. It is what makes the smallest number of each column 0, as it is if
    some atom is surely of another element; a molecule of one element has the same probability of all.
    """
    shares = x[:, 3 : 3 + space.n_types] * space.factors[1]
    if space.centred_features:
        index = layout.molecule[:, None].expand_as(shares)
        lowest = shares.new_zeros(len(layout), space.n_types).scatter_reduce(
            0, index, shares, "amin", include_self=False
        )
        shares = shares - layout.per_atom(lowest)
    shares = shares.clamp(min=0.0) + _LEAST
    return shares / shares.sum(dim=1, keepdim=True)


def _inside(model: Model, t: Float[Tensor, " M"], like: Tensor, between: tuple[float, float]) -> Float[Tensor, " M"]:
    """1 for molecules whose level of noise is between the two, else 0."""
    alpha, sigma = model.alpha_sigma_between(t, like)
    level = model.space.unit * sigma / alpha
    return ((between[0] <= level) & (level <= between[1])).to(like.dtype)
