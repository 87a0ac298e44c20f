"""The diffusion of molecules: noise predictions, the posterior p(z_s | z_t), and the training objective.

Hoogeboom et al. 2022 (EDM, arXiv 2203.17003), sections 2 and 3, with Qu et al. 2026 (GAGA): t in [0, T*] only,
on the unchanged schedule. A path (the schedule), a network and a space of columns are separate arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.data.features import Space
from gaga.models.network.egnn import EGNN
from gaga.models.network.layout import Layout
from gaga.models.network.precondition import EPS, Coefficients, Precondition
from gaga.noise import Schedule

Network = Callable[[Tensor, Tensor, Layout], Tensor]


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A network that predicts eps from z_t = alpha_t x + sigma_t eps, over packed molecules.

    A condition gives each molecule a context, K numbers that the network receives with the time.

    Attributes:
        network: maps (z_t [A, C], time [M], layout) to [A, C]; any such callable will do. With a context it receives
            time and context in one tensor, [M, 1 + K].
        schedule: the variance-preserving path.
        space: the columns of a molecule, and which of them are centred.
        precondition: what the network's output means; by default the noise, of a time in [0, 1].
    """

    network: EGNN | Network
    schedule: Schedule
    space: Space
    precondition: Precondition = field(default=EPS, kw_only=True)
    _tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor, Tensor]] = field(
        default_factory=dict, repr=False, init=False
    )

    def __post_init__(self) -> None:
        if self.precondition.sd and len(self.precondition.sd) != self.space.columns:
            raise InvalidInput(
                f"x0 needs a scale for each of {self.space.columns} columns", received=self.precondition.sd
            )

    @property
    def centred_columns(self) -> int:
        """How many columns, from the first, have zero mean in each molecule."""
        return self.space.centred_columns

    def alpha_sigma(self, t: Int64[Tensor, " M"], like: Tensor) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """alpha_t and sigma_t of integer steps, from the float64 table, in the type of `like`."""
        alphas, sigmas, _, _ = self._tables_like(like)
        return alphas[t], sigmas[t]

    def given(self, t: Float[Tensor, " M"], context: Float[Tensor, "M K"] | None) -> Float[Tensor, "M *k"]:
        """What the network receives of each molecule: the time, and behind it the context if there is one."""
        return t if context is None else torch.cat([t[:, None], context], dim=1)

    def noise(
        self,
        z: Float[Tensor, "A C"],
        t: Float[Tensor, " M"],
        layout: Layout,
        context: Float[Tensor, "M K"] | None = None,
    ) -> Float[Tensor, "A C"]:
        """Predicted eps on the zero-mean subspace; t in [0, 1], between the steps of the schedule too."""
        if self.precondition.plain:
            return layout.centre(self.network(z, self.given(t, context), layout), self.centred_columns)
        return self._preconditioned(z, self._coefficients(t, z), layout, context)

    def _preconditioned(self, z: Tensor, at: Coefficients, layout: Layout, context: Tensor | None) -> Tensor:
        c_in, c_skip, c_out = (layout.per_atom(value) for value in (at.c_in, at.c_skip, at.c_out))
        output = self.network(c_in * z, self.given(at.c_noise, context), layout)
        return layout.centre(c_skip * z + c_out * output, self.centred_columns)

    def alpha_sigma_between(
        self, t: Float[Tensor, " M"], like: Tensor
    ) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """alpha and sigma at times t in [0, 1], between the steps of the schedule too, in the type of `like`."""
        gamma = self._gamma(t, like)
        return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()

    def _coefficients(self, t: Float[Tensor, " M"], like: Tensor) -> Coefficients:
        """The precondition at times t in [0, 1]."""
        return self.precondition.coefficients(self._gamma(t, like), t, self.space.columns, self._tables_like(like)[3])

    def _gamma(self, t: Float[Tensor, " M"], like: Tensor) -> Float[Tensor, " M"]:
        """gamma at times t in [0, 1]: linear between the steps of the schedule."""
        gamma, position = self._tables_like(like)[2], t * self.schedule.T
        below = position.floor().clamp_(0, self.schedule.T - 1)
        return torch.lerp(gamma[below.long()], gamma[below.long() + 1], position - below)

    def _tables_like(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha, sigma and gamma of all steps and the precondition's sd, in the type and on the device of `like`."""
        key = (like.device, like.dtype)
        if key not in self._tables:
            alpha, sigma = np.sqrt(self.schedule.alpha2), np.sqrt(self.schedule.sigma2)
            tables = (alpha, sigma, self.schedule.gamma, np.array(self.precondition.sd, dtype=np.float64))
            self._tables[key] = tuple(torch.from_numpy(table).to(like) for table in tables)  # type: ignore[assignment]
        return self._tables[key]

    def noised(
        self, x: Float[Tensor, "A C"], eps: Float[Tensor, "A C"], t: Int64[Tensor, " M"], layout: Layout
    ) -> Float[Tensor, "A C"]:
        """z_t = alpha_t x + sigma_t eps."""
        alpha, sigma = (layout.per_atom(value)[:, None] for value in self.alpha_sigma(t, x))
        return alpha * x + sigma * eps

    def loss(
        self,
        x: Float[Tensor, "A C"],
        eps: Float[Tensor, "A C"],
        t: Int64[Tensor, " M"],
        layout: Layout,
        context: Float[Tensor, "M K"] | None = None,
    ) -> Float[Tensor, " M"]:
        """The L2 objective of each molecule, 1/2 |(eps - eps_hat) / c_out|^2 / (C N), N its own number of atoms.

        It is the squared error of the network's own output: EDM's objective if it predicts the noise (c_out = 1),
        Karras et al.'s weight 1 / c_out^2 if it predicts x0. At t = 0 EDM's objective holds the likelihood of the
        types given z_0, which no parameter enters: only the positions count there, if the noise is predicted.

        Args:
            x: clean columns on the zero-mean subspace.
            eps: standard normal noise, centred here.
            t: integer steps.
            layout: sizes of the molecules.
            context: of each molecule; None if the network takes none.
        """
        eps = layout.centre(eps, self.centred_columns)
        z = self.noised(x, eps, t, layout)
        time = t.to(x.dtype) / self.schedule.T
        if self.precondition.plain:
            error = (eps - self.noise(z, time, layout, context)).square()
        else:
            at = self._coefficients(time, z)
            error = ((eps - self._preconditioned(z, at, layout, context)) / layout.per_atom(at.c_out)).square()
        types = error[:, 3:].sum(dim=1)
        if self.precondition.plain:
            types = types.masked_fill(layout.per_atom(t == 0), 0.0)
        total = layout.sum(error[:, :3].sum(dim=1) + types)
        return 0.5 * total / (x.shape[1] * layout.sizes)

    def predict_noise(
        self,
        z_t: Float[Tensor, "B N C"],
        t: Float[Tensor, "B 1"],
        n_atoms: Int64[np.ndarray, " B"] | Int64[Tensor, " B"],
    ) -> Float[Tensor, "B N C"]:
        """Predicted eps of padded molecules; padding comes back as zeros. Differentiable.

        Args:
            z_t: columns, padded to N atoms.
            t: time in [0, 1].
            n_atoms: number of atoms of each molecule.

        Raises:
            InvalidInput: shapes and sizes do not fit together.
        """
        layout, real = self._padded(z_t, t, n_atoms)
        eps = self.noise(z_t[real], t.reshape(-1).to(z_t.dtype), layout)
        return torch.zeros_like(z_t).masked_scatter(real[..., None].expand_as(z_t), eps)

    def posterior(
        self,
        z_t: Float[Tensor, "B N C"],
        t: Float[Tensor, "B 1"],
        s: Float[Tensor, "B 1"],
        n_atoms: Int64[np.ndarray, " B"] | Int64[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B N C"], Float[Tensor, " B"]]:
        """Mean [B, N, C] and standard deviation [B] of p(z_s | z_t), s < t in [0, 1] (EDM, equations 3 and 4)."""
        eps = self.predict_noise(z_t, t, n_atoms)
        steps = [torch.round(time.reshape(-1) * self.schedule.T).long() for time in (t, s)]
        step = PosteriorStep.between(self.schedule, *(time.cpu().numpy() for time in steps))
        c_z, c_eps, sigma = (torch.from_numpy(v).to(z_t) for v in (step.c_z, step.c_eps, step.sigma))
        return c_z[:, None, None] * z_t - c_eps[:, None, None] * eps, sigma

    def _padded(self, z_t: Tensor, t: Tensor, n_atoms: np.ndarray | Tensor) -> tuple[Layout, Tensor]:
        sizes = np.asarray(torch.as_tensor(n_atoms).cpu(), dtype=np.int64)
        if z_t.ndim != 3 or z_t.shape[2] != self.space.columns:
            raise InvalidInput(f"z_t must be [B, N, {self.space.columns}]", received=tuple(z_t.shape))
        if len(sizes) != len(z_t) or t.numel() != len(z_t) or sizes.max() > z_t.shape[1]:
            raise InvalidInput("z_t, t and n_atoms do not fit together", received=(tuple(z_t.shape), sizes.tolist()))
        layout = Layout.of(sizes, z_t.device)
        return layout, torch.arange(z_t.shape[1], device=z_t.device) < layout.sizes[:, None]


@dataclass(frozen=True, eq=False)
class PosteriorStep:
    """Coefficients of p(z_s | z_t): mean = c_z z_t - c_eps eps_hat, standard deviation sigma. Float64."""

    c_z: Float64[np.ndarray, " B"]
    c_eps: Float64[np.ndarray, " B"]
    sigma: Float64[np.ndarray, " B"]

    @classmethod
    def between(cls, schedule: Schedule, t: Int64[np.ndarray, " B"], s: Int64[np.ndarray, " B"]) -> "PosteriorStep":
        """From step t down to step s."""
        return cls.of_levels(schedule.gamma[t], schedule.gamma[s])

    @classmethod
    def of_levels(cls, gamma_t: Float64[np.ndarray, " B"], gamma_s: Float64[np.ndarray, " B"]) -> "PosteriorStep":
        """From one noise level, gamma = -ln snr, down to another (EDM, section 2: alpha_t|s = alpha_t / alpha_s)."""
        sigma2_ts = -np.expm1(np.logaddexp(0, gamma_s) - np.logaddexp(0, gamma_t))
        alpha_ts = np.exp(0.5 * (np.logaddexp(0, gamma_s) - np.logaddexp(0, gamma_t)))
        sigma_t, sigma_s = (np.exp(-0.5 * np.logaddexp(0, -gamma)) for gamma in (gamma_t, gamma_s))
        return cls(1 / alpha_ts, sigma2_ts / (alpha_ts * sigma_t), np.sqrt(sigma2_ts) * sigma_s / sigma_t)
