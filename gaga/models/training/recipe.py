# ruff: noqa: RUF009 - options are fields
"""Training recipes: one frozen configuration, and the presets that users name."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from gaga.core.config import Config, option
from gaga.core.errors import InvalidInput, NotFound
from gaga.data.published import EDM_FACTORS
from gaga.models.network.names import PRECISIONS, PREDICTIONS, Precision, Prediction

if TYPE_CHECKING:
    from gaga.data.features import FeatureSpace
    from gaga.noise import Schedule

LearningRateSchedule = Literal["constant", "cosine"]
OptimizerName = Literal["adamw", "muon"]
Clipping = Literal["adaptive", "median", "none"]
NoiseLevels = Literal["uniform", "lognormal"]
_option = partial(option, section="Hyperparameters (by default the preset's)")


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """Every hyperparameter of a training run. The defaults are GAGA's published recipe for QM9 (`gaga-qm9`).

    `tuned_for_atoms`: the mean size of the molecules that the other values were chosen with. `noise_levels`: the
    log-normal is cut to [0, T*] (Karras et al. 2022; the defaults are those of VEDA). `batch_edges`: the room for edges
    in a step (training.batches.Epochs); the loss is the mean over each batch either way. `clipping`: median is of
    recent gradient norms, which outliers do not move. `ema_decay`, `ema_warmup`: with the warm-up it starts at
    (1 + step) / (10 + step). `ema_width`: the standard deviation of the average's profile relative to the steps done
    (Karras et al. 2024, arXiv 2312.02696, equation 121 and algorithm 2); replaces both. `precision`: coordinates stay
    float32.
    """

    hidden: int = _option(256, "Width of the network (nf).", metavar="N", at_least=1)
    n_layers: int = _option(9, "Blocks of the network.", metavar="N", at_least=1)
    inv_sublayers: int = _option(1, "Message layers of a block.", metavar="N", at_least=1)
    tuned_for_atoms: float = _option(
        0.0, "Divide sums over atoms by the data's mean size over N, if above 1; 0: do not.", metavar="N", at_least=0
    )
    include_charges: bool = _option(False, "A column with the nuclear charge.")
    centred_features: bool = _option(True, "Types centred in each molecule.")
    factors: tuple[float, float, float] = _option(
        EDM_FACTORS, "What positions, types and charges are divided by.", metavar="X,Y,Z", above=0
    )
    prediction: Prediction = _option(
        "eps", "What the network predicts; x0 as Karras et al. precondition it.", choices=PREDICTIONS
    )
    noise_levels: NoiseLevels = _option(
        "uniform", "Steps drawn evenly, or ln(sigma/alpha) from a normal distribution.", choices=get_args(NoiseLevels)
    )
    noise_mean: float = _option(-1.26, "Mean of ln(sigma/alpha), for `noise_levels=lognormal`.", metavar="X")
    noise_spread: float = _option(
        1.41, "Standard deviation of ln(sigma/alpha), for `noise_levels=lognormal`.", metavar="X", above=0
    )
    max_t: int = _option(550, "T*, the largest step that is trained on.", metavar="STEP", at_least=1)
    schedule: str = _option("polynomial_2", "Noise schedule.", metavar="polynomial_2|cosine")
    diffusion_steps: int = _option(1000, "Steps of the whole schedule.", metavar="T", at_least=1)
    precision_of_schedule: float = _option(1e-5, "Smallest value of the schedule's clipping.")
    condition: tuple[str, ...] = _option(
        (), "Properties of the data set that the network is conditioned on.", metavar="NAME,NAME"
    )
    condition_dropout: float = _option(
        0.1, "Share of molecules that are shown without them, as `guidance` needs.", metavar="X", at_least=0, below=1
    )
    batch_size: int = _option(256, "Molecules in a step.", metavar="N", at_least=1)
    batch_edges: int | None = _option(
        None, "Fill steps by edges instead: a molecule of 44 atoms takes 44^2 of them.", metavar="N", at_least=1
    )
    epochs: int = _option(1650, "Passes over the training set.", metavar="N", at_least=1)
    steps: int | None = _option(None, "End after this many optimiser steps instead.", metavar="N", at_least=1)
    learning_rate: float = _option(1e-4, "Learning rate.", metavar="RATE", above=0, below=1)
    optimizer: OptimizerName = _option(
        "adamw", "Muon is for the matrices inside blocks.", choices=get_args(OptimizerName)
    )
    matrix_rate: float = _option(3.0, "Rate of Muon's matrices, relative to `learning_rate`.", metavar="X", above=0)
    lr_schedule: LearningRateSchedule = _option(
        "constant", "Learning rate after the warm-up.", choices=get_args(LearningRateSchedule)
    )
    warmup_steps: int = _option(0, "Steps of linear warm-up.", metavar="N", at_least=0)
    weight_decay: float = _option(1e-12, "Weight decay of AdamW.", metavar="X", at_least=0)
    amsgrad: bool = _option(True, "AdamW with amsgrad, as EDM.")
    clipping: Clipping = _option("adaptive", "Gradient clipping; adaptive is EDM's.", choices=get_args(Clipping))
    ema_decay: float = _option(0.9999, "Decay of the averaged weights.", metavar="X", at_least=0, below=1)
    ema_warmup: bool = _option(False, "Average over fewer steps at first.")
    ema_width: float | None = _option(
        None, "Power-function average of this relative width, such as 0.1, instead.", metavar="X", above=0, below=0.288
    )
    stratified_t: bool = _option(False, "Spread a batch's steps evenly over [0, T*].")
    padded_denominator: bool = _option(
        False, "Divide the loss by the batch's largest size, as published, or by each molecule's own."
    )
    precision: Precision = _option("float32", "Precision of matrix products.", choices=PRECISIONS)
    validate_every: int = _option(2000, "Steps between validation losses.", metavar="N", at_least=1)
    sample_every: int = _option(20000, "Steps between stability samples; 0: at the end.", metavar="N", at_least=0)
    stability_samples: int = _option(1000, "Molecules of a stability sample.", metavar="N", at_least=1)
    save_every_s: float = _option(120.0, "Time between saved states.", metavar="SECONDS", at_least=0)

    def __post_init__(self) -> None:
        self._check_types()
        super().__post_init__()
        if self.max_t > self.diffusion_steps:
            raise InvalidInput(
                f"max_t must be 1 to {self.diffusion_steps}, the steps of the schedule", received=self.max_t
            )
        if self.tuned_for_atoms and self.tuned_for_atoms < 1:
            raise InvalidInput("tuned_for_atoms must be at least 1, or 0", received=self.tuned_for_atoms)
        if len(self.factors) != 3:
            raise InvalidInput("factors are three positive numbers", received=self.factors)

    def space(self, vocabulary: tuple[int, ...]) -> "FeatureSpace":
        """The columns of molecules of these elements."""
        from gaga.data.features import FeatureSpace  # here: the command line reads the options without numpy

        return FeatureSpace(
            vocabulary=vocabulary, factors=self.factors, include_charges=self.include_charges,
            centred_features=self.centred_features,
        )  # fmt: skip

    def noise_schedule(self) -> "Schedule":
        """The noise schedule, with all its steps."""
        from gaga.noise import make_schedule

        return make_schedule(self.schedule, self.diffusion_steps, self.precision_of_schedule)

    def described(self) -> dict[str, Any]:
        """Every value by name, but for what came later and is not used: runs from before it are the same."""
        later = {("batch_edges", None), ("tuned_for_atoms", 0.0), ("condition", ())}
        if not self.condition:
            later.add(("condition_dropout", self.condition_dropout))
        return {name: value for name, value in asdict(self).items() if (name, value) not in later}

    def learning_rate_at(self, step: int, fraction: float) -> float:
        """The learning rate of a step (from 0), where this fraction of the run is done."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fade = 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0))) if self.lr_schedule == "cosine" else 1.0
        return self.learning_rate * warm * fade

    def ema_decay_at(self, step: int) -> float:
        """The decay of the averaged weights at a step (from 0)."""
        if self.ema_width is not None:
            return float((1 - 1 / (step + 1)) ** (_ema_power(self.ema_width) + 1))
        return min(self.ema_decay, (1 + step) / (10 + step)) if self.ema_warmup else self.ema_decay

    def measures_after(self, step: int) -> bool:
        """Whether something is measured after this number of steps."""
        return self.until_measured(step - 1) == 1

    def until_measured(self, step: int) -> int:
        """Steps from here until something is measured."""
        return min(every - step % every for every in (self.validate_every, self.sample_every) if every)

    def _check_types(self) -> None:
        """Whole numbers if whole numbers are meant, finite numbers, true or false, text."""
        for f in fields(self):
            value = getattr(self, f.name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            good = {
                "int": whole,
                "int | None": whole or value is None,
                "float": whole or (isinstance(value, float) and math.isfinite(value)),
                "float | None": value is None or whole or (isinstance(value, float) and math.isfinite(value)),
                "bool": isinstance(value, bool),
                "tuple[float, float, float]": isinstance(value, tuple)
                and all(isinstance(v, int | float) and math.isfinite(v) for v in value),
                "tuple[str, ...]": isinstance(value, tuple) and all(isinstance(v, str) for v in value),
            }
            if not good.get(_type_name(f.type), isinstance(value, str)):
                raise InvalidInput(
                    f"{f.name} must be {_TYPE_WORDS.get(_type_name(f.type), 'text')}", received=repr(value)
                )


def _refuse_unused(recipe: Recipe, given: set[str]) -> None:
    """Refuse hyperparameters that were asked for and have no effect with the others."""
    averaged = recipe.ema_width is not None
    for names, unused, remedy in (
        ({"noise_mean", "noise_spread"}, recipe.noise_levels == "uniform", "noise_levels=lognormal"),
        ({"matrix_rate"}, recipe.optimizer == "adamw", "optimizer=muon"),
        ({"ema_decay", "ema_warmup"}, averaged, "either these or ema_width"),
        ({"batch_size"}, recipe.batch_edges is not None, "either this or batch_edges"),
        ({"condition_dropout"}, not recipe.condition, "condition=NAME"),
    ):
        if unused and (named := sorted(names & given)):
            raise InvalidInput(f"{' and '.join(named)} without effect in this recipe", remedy=f"use {remedy}")


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and annotation is not tuple else str(annotation)


_TYPE_WORDS = {
    "int": "a whole number",
    "int | None": "a whole number",
    "float": "a finite number",
    "float | None": "a finite number",
    "bool": "true or false",
    "tuple[float, float, float]": "three finite numbers",
    "tuple[str, ...]": "names",
}


@cache
def _ema_power(width: float) -> float:
    """gamma of the profile t^gamma with this relative standard deviation: the root of a cubic (Karras et al. 2024)."""
    import numpy as np

    # width^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3))
    roots = np.roots([1.0, 7.0, 16.0 - width**-2, 12.0 - width**-2])
    return float(roots.real.max())


GAGA_QM9 = Recipe()
# EDM's own run on QM9 (Hoogeboom et al. 2022, appendix E): all steps, charges in, types not centred.
EDM = replace(GAGA_QM9, include_charges=True, centred_features=False, max_t=1000, batch_size=64, epochs=3000,
              padded_denominator=True)  # fmt: skip
# What learns fastest of what was tried (docs/QUALITY.md), on EDM's network and at a size for processors.
LARGE = replace(GAGA_QM9, prediction="x0", noise_levels="lognormal", batch_size=512, epochs=100, optimizer="muon",
                learning_rate=4e-4, matrix_rate=3.0, amsgrad=False, lr_schedule="cosine", warmup_steps=500,
                precision="bfloat16", clipping="median", tuned_for_atoms=18.0, ema_width=0.1, stratified_t=True,
                stability_samples=200)  # fmt: skip
# EDM's own run on GEOM-Drugs (appendix E, and the README of its code): 1.1 million steps.
EDM_GEOM = replace(EDM, n_layers=4, include_charges=False, epochs=13, stability_samples=500)
# LARGE on that network, up to the T* that Qu et al. 2026 give for GEOM-Drugs; 146,000 edges are 64 of its molecules.
LARGE_GEOM = replace(LARGE, n_layers=4, max_t=650, batch_size=256, batch_edges=146_000, epochs=13)
SMALL = replace(LARGE, hidden=128, n_layers=6, batch_size=16, epochs=40, learning_rate=1e-3, warmup_steps=400,
                precision="float32", sample_every=10000, stability_samples=100)  # fmt: skip
TINY = replace(SMALL, hidden=32, n_layers=3, batch_size=64, epochs=2, warmup_steps=50, validate_every=200,
               sample_every=0, stability_samples=32)  # fmt: skip
PRESETS: dict[str, Recipe] = {
    "gaga-qm9": GAGA_QM9, "edm": EDM, "edm-geom": EDM_GEOM,
    "large": LARGE, "large-geom": LARGE_GEOM, "small": SMALL, "tiny": TINY,
}  # fmt: skip


def make_recipe(preset: str = "gaga-qm9", **changes: Any) -> Recipe:
    """A preset with changes; changes that are None leave the preset's value.

    Raises:
        InvalidInput: the preset or a hyperparameter is unknown, or a value is out of range or of the wrong type.
    """
    if preset not in PRESETS:
        raise InvalidInput("unknown preset", received=preset, remedy=f"use one of {', '.join(PRESETS)}")
    known = {f.name for f in fields(Recipe)}
    if unknown := sorted(set(changes) - known):
        raise InvalidInput(
            "unknown hyperparameters",
            received=", ".join(unknown),
            remedy=f"known ones are {', '.join(sorted(known))}",
        )
    given: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in changes.items() if v is not None
    }
    if isinstance(named := given.get("condition"), str):
        given["condition"] = (named,)
    if given.keys() & {"ema_decay", "ema_warmup"}:
        given.setdefault("ema_width", None)
    if "batch_size" in given:
        given.setdefault("batch_edges", None)
    try:
        recipe = replace(PRESETS[preset], **given)
        _refuse_unused(recipe, set(given))
        return recipe
    except TypeError as error:
        raise InvalidInput(f"a hyperparameter has the wrong type: {error}", received=given) from error


def read_recipe(preset: str | None, path: Path | None, changes: Mapping[str, Any]) -> Recipe:
    """A preset, changed by a TOML file of hyperparameters (and perhaps `preset`), then by `changes`.

    Raises:
        NotFound: there is no such TOML file.
        InvalidInput: the file or a value in it is wrong; or as `make_recipe`.
    """
    from_file = _read_toml(path) if path else {}
    named = from_file.pop("preset", "small")
    if not isinstance(named, str):
        raise InvalidInput("a preset is named by text", received=named)
    return make_recipe(preset or named, **(from_file | dict(changes)))


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFound("no such configuration file", received=path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path} is not TOML: {error}") from error
