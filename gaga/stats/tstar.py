"""T*: the step from which noised molecules may be replaced by a Gaussian, by five estimators.

- `price`, the default: the first step from which the price of a Gaussian start, in nats per molecule, stays within a
  tolerance (`gaga.stats.price_curve.tstar_by_price`). Its unit means something, it sees molecules, and it is known
  between the steps of the grid.
- `effects`: the first step from which the effect of every statistic that sees molecules is shown to be below a
  tolerance (`gaga.stats.tolerance`).
- `mean` and `quantile`: of the earliest step of each molecule from which `consecutive` steps pass the published
  per-molecule test. A molecule that never passes counts as T in the mean, which is then a lower bound, and as
  later than every step in the quantile.
- `paper` (Qu et al. 2026, arXiv 2507.09043): T* = max(T_ID, T_DS), the first steps from which Dep_t <= eps_dep and
  D_t <= eps_DS, and hold to the last step. The worst block, and the worse of feature and atom pairs, decide.

A step that is not reached is None. But for `price` steps are those of the grid that was tested: T* is known to one
grid spacing.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gaga.core.errors import InvalidInput
from gaga.stats.config import TstarConfig
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.price import PriceResult
from gaga.stats.tolerance import NEVER, ToleranceTable, tolerance_table
from gaga.stats.tstar_by_price import ByPrice, by_price
from gaga.stats.tstar_curves import (
    WorstCurves,
    first_lasting,
    first_run,
    steps_at,
    worst_curves,
    worst_null_curves,
)


@dataclass(frozen=True, kw_only=True)
class StepEstimate:
    """A step with its bootstrap interval; None if no step passes.

    Attributes:
        value: the step; low, high: the ends of the interval, None for "later than every step tested".
        never: share of the resamples (of the molecules, for `mean` and `quantile`) in which no step passes.
    """

    value: float | None
    low: float | None
    high: float | None
    never: float

    @property
    def text(self) -> str:
        """Such as "650 (600 to 700)"."""
        if self.value is None:
            return "no step passes"
        low, high = ("never" if end is None else f"{end:.0f}" for end in (self.low, self.high))
        return f"{self.value:.0f} ({low} to {high})"


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """An estimate of the data, and what true Gaussians of the same sizes score through the same code."""

    data: StepEstimate
    null: StepEstimate


@dataclass(frozen=True, kw_only=True, eq=False)
class EpsTable:
    """T* by `paper` for a range of thresholds; a step that is not reached is -1.

    Attributes:
        eps_dependence: nats, [E]; eps_distance: [E].
        t_dependence, t_distance: T_ID and T_DS, [E]; tstar: the larger, [E].
    """

    eps_dependence: Float64[np.ndarray, " E"] = field(metadata={"unit": "nats", "dims": ("thresholds",)})
    eps_distance: Float64[np.ndarray, " E"] = field(metadata={"dims": ("thresholds",)})
    t_dependence: Int64[np.ndarray, " E"] = field(metadata={"dims": ("thresholds",)})
    t_distance: Int64[np.ndarray, " E"] = field(metadata={"dims": ("thresholds",)})
    tstar: Int64[np.ndarray, " E"] = field(metadata={"dims": ("thresholds",)})


@dataclass(frozen=True, kw_only=True, eq=False)
class TstarResult:
    """T* by every estimator; `tstar` is the chosen one's, rounded up to a whole step, None if none passes.

    What the source does not hold is None: a price alone has no curves, and results of earlier versions no price and
    no effects.

    Attributes:
        tstar: the answer; T: number of steps of the schedule; gamma: its table.
        estimator: what the answer is by; reason: why, in a sentence.
        reference: the Gaussian that the curves are to; the price is of the data's own covariance, `matched`.
        resolution: how far apart the steps around T* are that could be the answer.
        mean, quantile, paper: the published estimators, each with its null.
        t_dependence, t_distance: T_ID and T_DS, the two parts of `paper`.
        table: `paper` as a function of its thresholds.
        price: T* by price, on average and by size. effects: T* by the statistics that see molecules.
    """

    tstar: int | None
    T: int
    schedule: str
    gamma: Float64[np.ndarray, " T_plus_1"] = field(metadata={"dims": ("t",)})
    estimator: str
    reference: str
    reason: str
    resolution: int
    consecutive: int
    quantile_level: float
    eps_dependence: float = field(metadata={"unit": "nats"})
    eps_distance: float
    mean: Calibrated | None
    quantile: Calibrated | None
    paper: Calibrated | None
    t_dependence: Calibrated | None
    t_distance: Calibrated | None
    table: EpsTable | None
    price: ByPrice | None = None
    effects: ToleranceTable | None = None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Ends of the interval of the estimator that was chosen; `effects` has none, and gives T* twice."""
        if self.estimator == "price" and self.price is not None:
            return self.price.step.low, self.price.step.high
        chosen = {"mean": self.mean, "quantile": self.quantile, "paper": self.paper}.get(self.estimator)
        return (self.tstar, self.tstar) if chosen is None else (chosen.data.low, chosen.data.high)


def usable(result: GaussianityResult | PriceResult, config: TstarConfig) -> TstarConfig:
    """The same, but by the paper's rule in place of the price if the result holds none.

    Raises:
        InvalidInput: the result does not hold what the estimator is read from.
    """
    if isinstance(result, PriceResult):
        if config.estimator != "price":
            raise InvalidInput(
                "a price has no curves and no effects",
                received=config.estimator,
                remedy="name a result of `gaga gaussianity`, or take T* by price",
            )
        return config
    if config.estimator == "effects" and result.effects is None:
        raise InvalidInput(
            "the Gaussianity result holds no effects, as an earlier version measured it",
            remedy="measure it again with `replace=True`",
        )
    return replace(config, estimator="paper") if config.estimator == "price" and result.price is None else config


def tstar(result: GaussianityResult | PriceResult, config: TstarConfig, *, seed: int = 0) -> TstarResult:
    """T* by every estimator that the result has data for, with intervals and nulls.

    A Gaussianity result without a price, of an earlier version, gives T* by `paper` where `price` is asked for.

    Raises:
        InvalidInput: the reference Gaussian was not tested, there are fewer steps than must pass in a row, or the
            result does not hold what the estimator is read from.
    """
    config = usable(result, config)
    if isinstance(result, PriceResult):
        return _answer(result, config, {}, None, by_price(result, config.tolerance), None)
    _check(result, config)
    curves, null_curves = worst_curves(result, config.reference), worst_null_curves(result, config.reference)
    estimates = _flag_estimates(result, config, np.random.default_rng(seed)) | {
        part: Calibrated(
            data=_first_step(curves, part, result, config), null=_first_step(null_curves, part, result, config)
        )
        for part in ("paper", "dependence", "distance")
    }
    return _answer(
        result,
        config,
        estimates,
        _eps_table(curves, result.timesteps, config),
        None if result.price is None else by_price(result.price, config.tolerance),
        None if result.effects is None else tolerance_table(result.effects, result.timesteps, (config.max_effect,)),
    )


def _answer(
    result: GaussianityResult | PriceResult,
    config: TstarConfig,
    estimates: dict[str, Calibrated],
    table: EpsTable | None,
    price: ByPrice | None,
    effects: ToleranceTable | None,
) -> TstarResult:
    if config.estimator == "price" and price is not None:
        step, reason, resolution = price.first, price.reason, 1
    else:
        chosen = estimates[config.estimator].data.value if config.estimator in estimates else _by_effects(effects)
        step = None if chosen is None else math.ceil(chosen)
        reason = _reason(config, estimates, effects)
        resolution = _resolution(step, getattr(result, "timesteps", np.arange(1, len(result.gamma))))
    return TstarResult(
        tstar=step,
        T=len(result.gamma) - 1,
        schedule=result.schedule,
        gamma=result.gamma,
        estimator=config.estimator,
        reference=config.reference,
        reason=reason,
        resolution=resolution,
        consecutive=config.consecutive,
        quantile_level=config.quantile,
        eps_dependence=config.eps_dependence,
        eps_distance=config.eps_distance,
        mean=estimates.get("mean"),
        quantile=estimates.get("quantile"),
        paper=estimates.get("paper"),
        t_dependence=estimates.get("dependence"),
        t_distance=estimates.get("distance"),
        table=table,
        price=price,
        effects=effects,
    )


def _by_effects(effects: ToleranceTable | None) -> float | None:
    return None if effects is None or effects.tstar[0] == NEVER else float(effects.tstar[0])


def _check(result: GaussianityResult, config: TstarConfig) -> None:
    if config.reference not in result.references:
        raise InvalidInput(
            "the Gaussianity result has no such reference Gaussian",
            received=config.reference,
            remedy=f"use one of {', '.join(result.references)}",
        )
    if config.consecutive > len(result.timesteps):
        raise InvalidInput(
            f"the Gaussianity result has {len(result.timesteps)} steps, fewer than must pass in a row",
            received=config.consecutive,
        )


def _first_step(curves: WorstCurves, part: str, result: GaussianityResult, config: TstarConfig) -> StepEstimate:
    """T_ID ("dependence"), T_DS ("distance") or the later of both ("paper"), from curves and their resamples."""
    dependence = np.vstack([curves.dependence, curves.dependence_resampled]) <= config.eps_dependence
    distance = np.vstack([curves.distance, curves.distance_resampled]) <= config.eps_distance
    passes = {"dependence": dependence, "distance": distance, "paper": dependence & distance}[part]
    steps = steps_at(first_lasting(passes), result.timesteps)
    return _estimate(steps, result.level, never=float(np.isinf(steps[1:]).mean()))


def _flag_estimates(result: GaussianityResult, config: TstarConfig, rng: np.random.Generator) -> dict[str, Calibrated]:
    """`mean` and `quantile`, of the data and of the null."""
    data = _mean_and_quantile(result.reference.passes, result, config, rng)
    null = _mean_and_quantile(result.reference.null_passes, result, config, rng)
    return {name: Calibrated(data=data[name], null=null[name]) for name in data}


def _mean_and_quantile(
    passes: Bool[np.ndarray, "M S K 3"], result: GaussianityResult, config: TstarConfig, rng: np.random.Generator
) -> dict[str, StepEstimate]:
    """A bootstrap over molecules needs only how many first pass at each step, or (last) never."""
    first = first_run(np.logical_and.reduce(passes, axis=(2, 3)), config.consecutive)
    counts = np.bincount(first, minlength=len(result.timesteps) + 1)
    draws = np.vstack([counts, rng.multinomial(len(first), counts / len(first), size=config.n_resamples)])
    never = float(counts[-1] / len(first))
    # A molecule that never passes counts as T, which it is at least.
    mean = draws @ np.append(result.timesteps, len(result.gamma) - 1) / len(first)
    too_few = np.cumsum(draws[:, :-1], axis=1) < config.quantile * len(first)
    quantile = steps_at(too_few.sum(axis=1), result.timesteps)
    return {"mean": _estimate(mean, result.level, never), "quantile": _estimate(quantile, result.level, never)}


def _estimate(steps: Float64[np.ndarray, " B_plus_1"], level: float, never: float) -> StepEstimate:
    """The first of these steps, with the interval that holds the middle `level` of the others, its resamples."""
    low, high = np.quantile(steps[1:], [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return StepEstimate(value=_finite(steps[0]), low=_finite(low), high=_finite(high), never=never)


def _finite(step: float) -> float | None:
    return None if np.isinf(step) else float(step)


def _resolution(step: int | None, timesteps: Int64[np.ndarray, " S"]) -> int:
    """The gap of the grid below this step; the widest if there is no step, or none below it."""
    edges = np.concatenate([[0], timesteps])
    gaps = np.diff(edges)
    if step is None:
        return int(gaps.max())
    return int(gaps[min(int(np.searchsorted(timesteps, step)), len(gaps) - 1)])


def _eps_table(curves: WorstCurves, timesteps: Int64[np.ndarray, " S"], config: TstarConfig) -> EpsTable:
    factors = np.array(config.table)
    eps_dependence, eps_distance = factors * config.eps_dependence, factors * config.eps_distance
    dependence = curves.dependence <= eps_dependence[:, None]
    distance = curves.distance <= eps_distance[:, None]
    steps = np.append(timesteps, NEVER)
    return EpsTable(
        eps_dependence=eps_dependence,
        eps_distance=eps_distance,
        t_dependence=steps[first_lasting(dependence)],
        t_distance=steps[first_lasting(distance)],
        tstar=steps[first_lasting(dependence & distance)],
    )


def _reason(config: TstarConfig, estimates: dict[str, Calibrated], effects: ToleranceTable | None) -> str:
    """What decided the step of an estimator other than the price."""
    if config.estimator == "effects" and effects is not None:
        passed = "at no step tested" if effects.tstar[0] == NEVER else f"from t = {effects.tstar[0]}"
        few = " Even true Gaussians of as many molecules would fail." if effects.too_few_molecules[0] else ""
        return (
            f"the upper limit of every effect is below {config.max_effect:g} {passed}; the last to pass is: "
            f"{effects.decided_by[0]}.{few}"
        )
    if config.estimator != "paper":
        mean, null_mean = estimates["mean"].data, estimates["mean"].null
        return (
            f"{mean.never:.1%} of the molecules never pass the published test of each, and neither do "
            f"{null_mean.never:.1%} of true Gaussians of the same sizes, whose mean step is {null_mean.value:.0f}."
        )
    dependence, distance = estimates["dependence"].data, estimates["distance"].data
    return (
        f"in every block Dep_t stays at or below {config.eps_dependence:g} nats {_since(dependence)}, and D_t to the "
        f"{config.reference} Gaussian at or below {config.eps_distance:g} {_since(distance)}."
    )


def _since(step: StepEstimate) -> str:
    return "at no step tested" if step.value is None else f"from t = {step.value:.0f}"
