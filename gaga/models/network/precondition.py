"""What the network's output means: the noise (EDM), v, or the clean molecule at unit scale (Karras et al. 2022).

Each is a linear map around the unchanged network F, by column and noise level,

    eps_hat(z_t, t) = c_skip z_t + c_out F(c_in z_t, c_noise),

so that samplers and statistics know noise predictions only. With s = sigma_t / alpha_t and sd the scale of a block:

    eps   c_in 1, c_skip 0, c_out 1, c_noise t / T                        (Hoogeboom et al. 2022, EDM)
    v     c_in 1, c_skip sigma_t, c_out alpha_t, c_noise t / T            (Salimans and Ho 2022, arXiv 2202.00512)
    x0    D = c_skip x + c_out F(c_in x, ln(s) / 4) with x = z_t / alpha_t, c_skip = sd^2 / (s^2 + sd^2),
          c_out = s sd / sqrt(s^2 + sd^2), c_in = 1 / sqrt(s^2 + sd^2); eps_hat = (x - D) / s
                                                                           (Karras et al. 2022, arXiv 2206.00364)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.models.network.names import PREDICTIONS, Prediction


@dataclass(frozen=True, eq=False)
class Coefficients:
    """The map of each molecule, in the names of Karras et al. 2022: c_in, c_skip and c_out [M, C]; c_noise [M] is the
    time input of the network."""

    c_in: Float[Tensor, "M C"]
    c_skip: Float[Tensor, "M C"]
    c_out: Float[Tensor, "M C"]
    c_noise: Float[Tensor, " M"]


@dataclass(frozen=True)
class Precondition:
    """A prediction, with the root mean square `sd` of each clean column if it needs one (x0).

    Raises:
        InvalidInput: the prediction is unknown, or `sd` is missing, superfluous or not positive.
    """

    prediction: Prediction = "eps"
    sd: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise InvalidInput("unknown prediction", received=self.prediction, remedy=f"use {', '.join(PREDICTIONS)}")
        if (self.prediction == "x0") != bool(self.sd) or not all(0 < v < float("inf") for v in self.sd):
            raise InvalidInput("x0 needs a positive scale of each column, eps and v none", received=self.sd)

    @property
    def plain(self) -> bool:
        """Whether the network itself predicts the noise."""
        return self.prediction == "eps"

    def coefficients(
        self, gamma: Float[Tensor, " M"], t: Float[Tensor, " M"], columns: int, sd: Float[Tensor, " C"] | None = None
    ) -> Coefficients:
        """The map at these noise levels, gamma = -ln snr, and times t / T.

        `sd` is that of this precondition on the device: a copy from the host cannot be part of a recorded step.
        """
        alpha, sigma = torch.sigmoid(-gamma).sqrt()[:, None], torch.sigmoid(gamma).sqrt()[:, None]
        if self.prediction == "eps":
            one = torch.ones_like(alpha).expand(-1, columns)
            return Coefficients(one, torch.zeros_like(one), one, t)
        if self.prediction == "v":
            one = torch.ones_like(alpha).expand(-1, columns)
            return Coefficients(one, sigma.expand_as(one), alpha.expand_as(one), t)
        sd = torch.tensor(self.sd, dtype=gamma.dtype, device=gamma.device) if sd is None else sd
        total = torch.rsqrt(sigma.square() + (alpha * sd).square())  # of z_t; s^2 + sd^2 = (its variance) / alpha_t^2
        return Coefficients(total, sigma * total.square(), -alpha * sd * total, gamma / 8)


EPS = Precondition()
