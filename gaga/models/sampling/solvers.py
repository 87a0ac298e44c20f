"""Samplers as coefficient tables: each method is K evaluations of the network, each followed by one linear update,

    eps    = eps_hat(z, time)
    z'     = c_z z - c_eps eps + c_memory memory + sigma noise
    memory' = m_z z + m_eps eps

with coefficients of its own. `loop` runs such a table; `batch` runs the same step on a device.

In variance-exploding coordinates x = z / alpha, s = sigma / alpha, the probability-flow equation is dx/ds = eps
(Karras et al. 2022, arXiv 2206.00364, equation 1 for sigma(t) = t), whatever path a network was trained on.

    ddpm      z_s drawn from p(z_s | z_t) (Ho et al. 2020; in EDM's form Hoogeboom et al. 2022, algorithm 2)
    ddim      Euler steps of that equation (Song et al. 2021, arXiv 2010.02502); order 1
    heun      the trapezoidal rule, two evaluations a step (Karras et al. 2022, algorithm 1); order 2
    dpm++     two-step Adams in ln s for D = x - s eps (Lu et al. 2022, arXiv 2211.01095, algorithm 2); order 2
    sde       the same with much fresh noise (Lu et al. 2022: SDE-DPM-Solver++ 2M is churn 1); order 2
    annealed  Euler steps from s raised by a factor with fresh noise (Karras et al. 2022, algorithm 2 without its second
              order, as VEDA anneals); one evaluation a step, order 1 where nothing is raised
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.models.diffusion import PosteriorStep
from gaga.models.model import Model
from gaga.models.sampling.config import BY_STEP, EVALUATIONS, MAX_BEND, SPACINGS, SampleConfig
from gaga.noise import Path, Schedule

Levels = Float64[np.ndarray, " n"]

BOND_SPREAD = 0.1  # Å; bonds of one kind spread less, bonds of all kinds more
_WIDTHS = (2.0, 0.3, 0.1, 0.03, 0.01)  # Å^2, of Gaussian data: from a molecule of QM9 to a bond's spread
_ROWS = ("time", "c_z", "c_eps", "c_memory", "sigma", "m_z", "m_eps")
_POWER = 7.0  # rho of Karras et al. 2022, equation 5


@dataclass(frozen=True, eq=False)
class Solver:
    """The K evaluations of a method and the coefficients of the update after each, as the module says. Float64.

    Attributes:
        time: t of each evaluation, in steps of the schedule and between them.
        positions_only_last: whether the last step leaves the types as they are in z_0 (EDM, section 3.2).
    """

    time: Float64[np.ndarray, " K"]
    c_z: Float64[np.ndarray, " K"]
    c_eps: Float64[np.ndarray, " K"]
    c_memory: Float64[np.ndarray, " K"]
    sigma: Float64[np.ndarray, " K"]
    m_z: Float64[np.ndarray, " K"]
    m_eps: Float64[np.ndarray, " K"]
    positions_only_last: bool

    def __len__(self) -> int:
        return len(self.time)

    @property
    def noisy(self) -> bool:
        """Whether any step draws noise."""
        return bool(self.sigma.any())

    @property
    def remembers(self) -> bool:
        """Whether any update reads the memory."""
        return bool(self.c_memory.any())


def solver_of(model: Model, config: SampleConfig) -> Solver:
    """The evaluations of a run and the steps behind them, from its first step down to the molecule.

    Raises:
        InvalidInput: the first step is out of range, or the stride longer than the way.
    """
    return repeated(_once_each(model, config), config.tries if config.holds else 1)


def repeated(solver: Solver, tries: int) -> Solver:
    """The same steps, each but the last taken so often; `known.Known` noises back between tries (RePaint).

    A two-step method's held D is then that of the try before, at the same level, and is used as it is. Of Gaussian data
    (six atoms, three known) the others have 0.98 (5 tries) and 0.97 (10) of their conditional variance. With no D after
    a jump back it is 0.77 and 0.83: the term stands for the spread that a prediction lacks. With the D of the level
    before, held over the tries, errors grow without end (8,000 draws, seed 0; benchmarks/resampling.py).
    """
    if tries == 1:
        return solver
    often = np.append(np.full(len(solver) - 1, tries), 1)
    rows: dict[str, Any] = {name: np.repeat(getattr(solver, name), often) for name in _ROWS}
    return replace(solver, **rows)


def _once_each(model: Model, config: SampleConfig) -> Solver:
    schedule, first = model.schedule, first_step(model, config)
    if config.noised == 0:
        times = np.array([1.0, 0.0])  # nothing depends on them
    elif config.steps is None and config.method in BY_STEP:
        times = np.array(step_sequence(model, config), dtype=np.float64)
    else:
        evaluations = config.steps or EVALUATIONS
        n = (evaluations + 1) // 2 if config.method == "heun" else evaluations
        times = spaced(schedule, first, n, config.placed, bend=config.bend)
    if config.method == "annealed":
        return annealed(schedule, times, config.raised, config.raised_between)
    if config.method == "sde":
        return renewing(schedule, times, config.churn)
    return {"ddpm": ancestral, "ddim": euler, "heun": heun, "dpm++": two_step}[config.method](schedule, times)


def returned_variance(path: Path, solver: Solver, variances: Sequence[float]) -> Float64[np.ndarray, " V"]:
    """What a solver makes of Gaussian data: the variance that it returns, over the true one, for each of V.

    For data N(0, v) the best noise prediction is sigma z / (alpha^2 v + sigma^2). Every step is then linear in
    (z, memory), and their covariance follows exactly, without a network. 1 keeps the distribution. Less sharpens it, as
    a temperature below 1 does.

    Args:
        path: that of the solver; the start is q(z_t) itself.
        variances: v of the data, in the squared unit of the positions that the network sees.
    """
    v = np.asarray(variances, dtype=np.float64)
    alpha, sigma = path.alpha_sigma_at(solver.time)
    covariance = np.zeros((len(v), 2, 2))
    covariance[:, 0, 0] = alpha[0] ** 2 * v + sigma[0] ** 2
    step = np.zeros_like(covariance)
    for k in range(len(solver)):
        gain = sigma[k] / (alpha[k] ** 2 * v + sigma[k] ** 2)  # eps_hat / z
        step[:, 0, 0], step[:, 0, 1] = solver.c_z[k] - solver.c_eps[k] * gain, solver.c_memory[k]
        step[:, 1, 0] = solver.m_z[k] + solver.m_eps[k] * gain
        covariance = step @ covariance @ step.transpose(0, 2, 1)
        covariance[:, 0, 0] += solver.sigma[k] ** 2
    returned: Float64[np.ndarray, " V"] = covariance[:, 0, 0] / v
    return returned


def returned_variances(model: Model, config: SampleConfig) -> tuple[float, float]:
    """`returned_variance` of a run for data as wide as the model's molecules, and for data as narrow as bonds are."""
    bond = (BOND_SPREAD / model.space.unit) ** 2
    widths = (float(model.known_moments().block[0]) or bond, bond)  # single atoms have no width
    wide, narrow = returned_variance(model.schedule, _once_each(model, config), widths)
    return float(wide), float(narrow)


def what_happens_to_variances(model: Model, config: SampleConfig) -> str:
    """`returned_variances` in a sentence; empty if they are within 3 % of the data's."""
    wide, narrow = (round(ratio, 2) for ratio in returned_variances(model, config))
    if max(abs(wide - 1), abs(narrow - 1)) <= 0.03:
        return ""
    change = "sharpens" if max(wide, narrow) <= 1 else "widens" if min(wide, narrow) >= 1 else "changes widths"
    remedy = "" if config.method == "sde" else " `method=sde` keeps the distribution."
    return (
        f"This way of sampling {change}: Gaussian data come out with {wide:.2f} of their variance at the scale of "
        f"a molecule and {narrow:.2f} at that of bonds.{remedy}"
    )


def step_sequence(model: Model, config: SampleConfig) -> list[int]:
    """The steps of the schedule that are visited, from the first down to 0, every `stride`-th."""
    first = first_step(model, config)
    if config.stride > first:
        raise InvalidInput(f"the stride must be at most the first step, {first}", received=config.stride)
    return [*range(first, 0, -config.stride), 0]


def first_step(model: Model, config: SampleConfig) -> int:
    """The step that sampling starts at: that of the configuration or of its strength, else the model's T*.

    Raises:
        InvalidInput: it is out of range.
    """
    if config.noised is not None:
        return step_of_strength(model, config.noised)
    first = model.max_t if config.t_start is None else config.t_start
    if not 1 <= first <= model.schedule.T:
        raise InvalidInput(f"the first step must be 1 to {model.schedule.T}", received=first)
    if first > model.max_t:
        raise InvalidInput(
            f"this model was trained on steps 0 to {model.max_t} only",
            received=f"t-start {first}",
            remedy=f"start at {model.max_t} or below",
        )
    return first


def step_of_strength(model: Model, strength: float) -> int:
    """The step whose noise, sigma / alpha, is nearest to this many Å; InvalidInput if it is more than at T*."""
    alpha, sigma = model.schedule.alpha_sigma_at(np.arange(1.0, model.max_t + 1))
    levels = model.space.unit * sigma / alpha
    if strength > levels[-1] * (1 + 1e-3):
        raise InvalidInput(
            f"this model's strongest noise, at its T* of {model.max_t}, is {levels[-1]:.2f} Å",
            received=f"strength {strength:g}",
            remedy="use a smaller `strength`; to forget the molecule, leave `around` out",
        )
    return 1 + int(np.argmin(np.abs(levels - strength)))


def ancestral(schedule: Schedule, time: Levels) -> Solver:
    """DDPM through these times, growing smaller, and from the last, which stands for z_0, to the molecule."""
    gamma = schedule.gamma_at(time)
    step = PosteriorStep.of_levels(gamma[:-1], gamma[1:])
    alpha, sigma = (values[-1] for values in schedule.alpha_sigma_at(time))
    return _solver(
        time,
        c_z=np.append(step.c_z, 1 / alpha),
        c_eps=np.append(step.c_eps, sigma / alpha),
        sigma=np.append(step.sigma, sigma / alpha),
        positions_only_last=True,
    )


def euler(path: Path, time: Levels) -> Solver:
    """DDIM through these times, and from the last to the molecule."""
    s, alpha = _levels(path, time)
    return _solver(time, c_z=alpha[1:] / alpha[:-1], c_eps=alpha[1:] * (s[:-1] - s[1:]), positions_only_last=True)


def heun(path: Path, time: Levels) -> Solver:
    """The trapezoidal rule through these times; the step to the molecule is Euler's."""
    s, alpha = _levels(path, time)
    steps, times = [], []
    for k in range(len(time) - 1):
        half = 0.5 * (s[k + 1] - s[k])
        # to the other end by Euler, keeping x and half of its slope in memory; then the other half from there
        steps.append((alpha[k + 1] / alpha[k], -2 * half * alpha[k + 1], 0.0, 1 / alpha[k], half))
        steps.append((0.0, -half * alpha[k + 1], alpha[k + 1], 0.0, 0.0))
        times += [time[k], time[k + 1]]
    steps.append((1 / alpha[-2], s[-2], 0.0, 0.0, 0.0))
    c_z, c_eps, c_memory, m_z, m_eps = np.array(steps).T
    return _solver(np.append(times, time[-1]), c_z=c_z, c_eps=c_eps, c_memory=c_memory, m_z=m_z, m_eps=m_eps)


def two_step(path: Path, time: Levels, churn: float = 0.0, weight: float = 0.5) -> Solver:
    """DPM-Solver++ 2M through these times; its first step and that to the molecule are of order one.

    With churn eta every step renews the share 1 - e^(-2 eta h) of the noise, h its length in ln s:

        x' = q x + (1 - q) (D + weight h / h_before (D - D_before)) + s' sqrt(1 - e^(-2 eta h)) xi,
        q = e^(-(1 + eta) h),    D = x - s eps

    eta 0 is the probability flow, eta 1 the reverse diffusion (SDE-DPM-Solver++ 2M of Lu et al. 2022); a larger eta
    forgets what the network got wrong together with the noise.
    """
    s, alpha = _levels(path, time)
    h = np.log(s[:-2] / s[1:-1])  # lengths in ln s; the step to s = 0 has none
    extra = np.zeros(len(time))
    extra[1:-1] = weight * h[1:] / h[:-1]
    q = s[1:] / s[:-1] * np.append(np.exp(-churn * h), 0.0)
    ahead = (1 - q) * (1 + extra)
    return _solver(
        time,
        c_z=alpha[1:] / alpha[:-1] * (q + ahead),
        c_eps=alpha[1:] * ahead * s[:-1],
        c_memory=-alpha[1:] * (1 - q) * extra,
        sigma=alpha[1:] * s[1:] * np.append(np.sqrt(-np.expm1(-2 * churn * h)), 0.0),
        m_z=1 / alpha[:-1],
        m_eps=-s[:-1],
    )


def renewing(path: Path, time: Levels, churn: float) -> Solver:
    """`two_step` with churn, its weight such that Gaussian data keep their variance on the average of their widths.

    One half is exact as steps get short. With few steps and much churn it returns too much variance: of twenty steps
    by a power of sigma up to 1.14 with churn 4, where the weight 0.44 returns 0.97 to 1.01. One half stays if no weight
    is better for all widths, as with the arcsine rule, whose first step is far too long.
    """
    half = two_step(path, time, churn)
    if churn == 0:
        return half

    def logs(solver: Solver) -> Float64[np.ndarray, " V"]:
        return np.asarray(np.log(returned_variance(path, solver, _WIDTHS)))

    weights = np.linspace(0.2, 0.7, 9)
    means = np.array([logs(two_step(path, time, churn, weight)).mean() for weight in weights])
    if not (means[0] < 0 < means[-1] and (np.diff(means) > 0).all()):
        return half
    balanced = two_step(path, time, churn, float(np.interp(0.0, means, weights)))
    return balanced if abs(logs(balanced)).max() < abs(logs(half)).max() else half


def annealed(path: Path, time: Levels, raised: float, between: tuple[float, float]) -> Solver:
    """Euler steps, each from its level raised by a factor with fresh noise, where the level lies between two.

    No level is raised beyond the first, the largest that the start stands for.
    """
    s, _ = _levels(path, time)
    inside = (between[0] <= s[:-1]) & (s[:-1] <= between[1])
    up = np.append(np.minimum(np.where(inside, raised, 1.0) * s[:-1], s[0]), 0.0)
    lifted = np.append(path.time_at(2 * np.log(up[:-1])), 0.0)
    lifted[:-1] = np.where(inside, lifted[:-1], time)
    alpha = np.append(path.alpha_sigma_at(lifted[:-1])[0], 1.0)
    return _solver(
        lifted[:-1],
        c_z=alpha[1:] / alpha[:-1],
        c_eps=alpha[1:] * (up[:-1] - s[1:]),
        sigma=alpha[1:] * np.sqrt(np.maximum(up[1:] ** 2 - s[1:] ** 2, 0.0)),
    )


def spaced(
    path: Path, first: float, n: int, spacing: str, *, last: float = 0.0, bend: float = 2.0
) -> Float64[np.ndarray, " n"]:
    """n times from `first` down to `last`, in steps of the path.

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
    s = np.exp(0.5 * path.gamma_at(np.array([first, last])))
    if spacing == "power":
        root = s ** (1 / _POWER)
        level = _POWER * np.log(root[0] + u * (root[1] - root[0]))
    elif spacing in ("log-snr", "arcsine"):
        if spacing == "arcsine":
            u = (1 - bend) * u + bend * (2 / np.pi) * np.arcsin(np.sqrt(u))
        level = np.log(s[0]) + u * (np.log(s[1]) - np.log(s[0]))
    else:
        raise InvalidInput("unknown spacing", received=spacing, remedy=f"use one of {', '.join(SPACINGS)}")
    times = path.time_at(2 * level)
    times[0], times[-1] = first, (last if n > 1 else first)
    return times


def _levels(path: Path, time: Levels) -> tuple[Float64[np.ndarray, " n_plus_1"], Float64[np.ndarray, " n_plus_1"]]:
    """s and alpha at these times, and of the molecule, s = 0."""
    alpha, sigma = path.alpha_sigma_at(time)
    return np.append(sigma / alpha, 0.0), np.append(alpha, 1.0)


def _solver(time: Levels, *, positions_only_last: bool = False, **given: NDArray[np.float64]) -> Solver:
    unused = ("c_memory", "sigma", "m_z", "m_eps")
    rows = {**{name: np.zeros(len(time)) for name in unused}, **given}
    return Solver(time=time, positions_only_last=positions_only_last, **rows)
