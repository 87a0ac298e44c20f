"""Ways from noise to molecules as tables: every solver is K evaluations of the network with a linear step behind each,

    eps = eps_hat(z, time)
    z    <- keep z - remove eps + add held + sigma noise        held <- hold_z z + hold_eps eps   (of the z before)

with coefficients of its own, so that one recorded step on a device serves them all.

In variance-exploding coordinates x = z / alpha, s = sigma / alpha, the probability-flow equation is dx/ds = eps
(Karras et al. 2022, arXiv 2206.00364, equation 1 for sigma(t) = t), whatever path a network was trained on.

    ddpm      z_s drawn from p(z_s | z_t) (Ho et al. 2020; in EDM's form Hoogeboom et al. 2022, algorithm 2)
    ddim      Euler steps of that equation (Song et al. 2021, arXiv 2010.02502); order 1
    heun      the trapezoidal rule, two evaluations a step (Karras et al. 2022, algorithm 1); order 2
    dpm++     two-step Adams in ln s for D = x - s eps (Lu et al. 2022, arXiv 2211.01095, algorithm 2); order 2
    annealed  Euler steps from s raised by a factor with fresh noise (Karras et al. 2022, algorithm 2 without its second
              order, as VEDA anneals); one evaluation a step, order 1 where nothing is raised
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from gaga.base.errors import InvalidInput
from gaga.models.diffusion import PosteriorStep
from gaga.noise import Schedule

Method = Literal["ddpm", "ddim", "heun", "dpm++", "annealed"]
METHODS: tuple[Method, ...] = get_args(Method)
Spacing = Literal["steps", "log-snr", "arcsine", "power"]
SPACINGS: tuple[Spacing, ...] = get_args(Spacing)
Levels = Float64[np.ndarray, " n"]

_POWER = 7.0  # rho of Karras et al. 2022, equation 5
MAX_BEND = 2.75  # beyond it the arcsine rule would go back: its slope at 1/2 is 1 - bend (1 - 2/pi)


@dataclass(frozen=True, eq=False)
class Solver:
    """The K evaluations of a way and the coefficients of the steps behind them, as the module says. Float64.

    Attributes:
        time: t of each evaluation, in steps of the schedule and between them.
        positions_only_last: whether the last step leaves the types as they are in z_0 (EDM, section 3.2).
    """

    time: Float64[np.ndarray, " K"]
    keep: Float64[np.ndarray, " K"]
    remove: Float64[np.ndarray, " K"]
    add: Float64[np.ndarray, " K"]
    sigma: Float64[np.ndarray, " K"]
    hold_z: Float64[np.ndarray, " K"]
    hold_eps: Float64[np.ndarray, " K"]
    positions_only_last: bool

    def __len__(self) -> int:
        return len(self.time)

    @property
    def noisy(self) -> bool:
        """Whether any step draws noise."""
        return bool(self.sigma.any())

    @property
    def holds(self) -> bool:
        """Whether any step needs what an earlier one held."""
        return bool(self.add.any())


def ancestral(schedule: Schedule, time: Levels) -> Solver:
    """DDPM through these times, growing smaller, and from the last, which stands for z_0, to the molecule."""
    gamma = schedule.gamma_at(time)
    step = PosteriorStep.of_levels(gamma[:-1], gamma[1:])
    alpha, sigma = (values[-1] for values in _alpha_sigma(gamma))
    return _solver(
        time,
        keep=np.append(step.keep, 1 / alpha),
        remove=np.append(step.remove, sigma / alpha),
        sigma=np.append(step.sigma, sigma / alpha),
        positions_only_last=True,
    )


def euler(schedule: Schedule, time: Levels) -> Solver:
    """DDIM through these times, and from the last to the molecule."""
    s, alpha = _levels(schedule, time)
    return _solver(time, keep=alpha[1:] / alpha[:-1], remove=alpha[1:] * (s[:-1] - s[1:]), positions_only_last=True)


def heun(schedule: Schedule, time: Levels) -> Solver:
    """The trapezoidal rule through these times; the step to the molecule is Euler's."""
    s, alpha = _levels(schedule, time)
    steps, times = [], []
    for k in range(len(time) - 1):
        half = 0.5 * (s[k + 1] - s[k])
        # to the other end by Euler, holding x and half of its slope; then the other half from there
        steps.append((alpha[k + 1] / alpha[k], -2 * half * alpha[k + 1], 0.0, 1 / alpha[k], half))
        steps.append((0.0, -half * alpha[k + 1], alpha[k + 1], 0.0, 0.0))
        times += [time[k], time[k + 1]]
    steps.append((1 / alpha[-2], s[-2], 0.0, 0.0, 0.0))
    keep, remove, add, hold_z, hold_eps = np.array(steps).T
    return _solver(np.append(times, time[-1]), keep=keep, remove=remove, add=add, hold_z=hold_z, hold_eps=hold_eps)


def two_step(schedule: Schedule, time: Levels) -> Solver:
    """DPM-Solver++ 2M through these times; its first step and that to the molecule are of order one."""
    s, alpha = _levels(schedule, time)
    h = np.log(s[:-2] / s[1:-1])  # lengths in ln s; the step to s = 0 has none
    extra = np.zeros(len(time))
    extra[1:-1] = 0.5 * h[1:] / h[:-1]
    q = s[1:] / s[:-1]
    # x <- q x + (1 - q) ((1 + extra) D - extra held), D = x - s eps
    weight = (1 - q) * (1 + extra)
    return _solver(
        time,
        keep=alpha[1:] / alpha[:-1] * (q + weight),
        remove=alpha[1:] * weight * s[:-1],
        add=-alpha[1:] * (1 - q) * extra,
        hold_z=1 / alpha[:-1],
        hold_eps=-s[:-1],
    )


def annealed(schedule: Schedule, time: Levels, raised: float, between: tuple[float, float]) -> Solver:
    """Euler steps, each from its level raised by a factor with fresh noise, where the level lies between two.

    No level is raised beyond the first, the largest that the start stands for.
    """
    s, _ = _levels(schedule, time)
    inside = (between[0] <= s[:-1]) & (s[:-1] <= between[1])
    up = np.append(np.minimum(np.where(inside, raised, 1.0) * s[:-1], s[0]), 0.0)
    lifted = np.append(schedule.time_at(2 * np.log(up[:-1])), 0.0)
    lifted[:-1] = np.where(inside, lifted[:-1], time)
    alpha = np.append(_alpha_sigma(schedule.gamma_at(lifted[:-1]))[0], 1.0)
    return _solver(
        lifted[:-1],
        keep=alpha[1:] / alpha[:-1],
        remove=alpha[1:] * (up[:-1] - s[1:]),
        sigma=alpha[1:] * np.sqrt(np.maximum(up[1:] ** 2 - s[1:] ** 2, 0.0)),
    )


def spaced(
    schedule: Schedule, first: float, n: int, spacing: str, *, last: float = 0.0, bend: float = 2.0
) -> Float64[np.ndarray, " n"]:
    """n times from `first` down to `last`, in steps of the schedule.

    `steps`: even in t. `log-snr`: even in ln s. `arcsine`: ln s follows (1 - bend) u + bend (2/pi) arcsin(sqrt u) (as
    VEDA: few steps at both ends, many in the middle). `power`: even in s^(1/7) (Karras et al. 2022, equation 5).

    Raises:
        InvalidInput: the spacing is unknown, or n or bend out of range.
    """
    if n < 1:
        raise InvalidInput("there must be at least one level", received=n)
    if not 0 <= bend < MAX_BEND:
        raise InvalidInput(f"the arcsine rule's bend must be from 0 to below {MAX_BEND}", received=bend)
    u = np.linspace(0.0, 1.0, n)
    if spacing == "steps":
        return first + (last - first) * u
    s = np.exp(0.5 * schedule.gamma_at(np.array([first, last])))
    if spacing == "power":
        root = s ** (1 / _POWER)
        level = _POWER * np.log(root[0] + u * (root[1] - root[0]))
    elif spacing in ("log-snr", "arcsine"):
        if spacing == "arcsine":
            u = (1 - bend) * u + bend * (2 / np.pi) * np.arcsin(np.sqrt(u))
        level = np.log(s[0]) + u * (np.log(s[1]) - np.log(s[0]))
    else:
        raise InvalidInput("unknown spacing", received=spacing, remedy=f"use one of {', '.join(SPACINGS)}")
    times = schedule.time_at(2 * level)
    times[0], times[-1] = first, (last if n > 1 else first)
    return times


def _levels(
    schedule: Schedule, time: Levels
) -> tuple[Float64[np.ndarray, " n_plus_1"], Float64[np.ndarray, " n_plus_1"]]:
    """s and alpha at these times, and of the molecule, s = 0."""
    alpha, sigma = _alpha_sigma(schedule.gamma_at(time))
    return np.append(sigma / alpha, 0.0), np.append(alpha, 1.0)


def _alpha_sigma(gamma: Levels) -> tuple[Levels, Levels]:
    return np.exp(-0.5 * np.logaddexp(0, gamma)), np.exp(-0.5 * np.logaddexp(0, -gamma))


def _solver(time: Levels, *, positions_only_last: bool = False, **given: NDArray[np.float64]) -> Solver:
    unused = ("add", "sigma", "hold_z", "hold_eps")
    rows = {**{name: np.zeros(len(time)) for name in unused}, **given}
    return Solver(time=time, positions_only_last=positions_only_last, **rows)
