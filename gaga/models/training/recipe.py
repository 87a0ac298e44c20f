"""Training recipes: one frozen configuration, and the presets that users name."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from gaga.core.errors import InvalidInput
from gaga.data.features import EDM_FACTORS, FeatureSpace
from gaga.models.network.kernels.choose import Precision
from gaga.models.network.precondition import Prediction
from gaga.noise import Schedule, make_schedule

LearningRateSchedule = Literal["constant", "cosine"]
OptimizerName = Literal["adamw", "muon"]
Clipping = Literal["adaptive", "median", "none"]
NoiseLevels = Literal["uniform", "lognormal"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every hyperparameter of a training run. The defaults are GAGA's published recipe for QM9 (`gaga-qm9`).

    Attributes:
        hidden: width of the network (nf). n_layers: blocks. inv_sublayers: message layers of a block.
        include_charges: a column with the atomic number. centred_features: types centred in each molecule.
        tuned_for_atoms: the mean size of the molecules that the other values were chosen with. Sums over a molecule's
            atoms are divided by the training set's mean size relative to it, if that is above one; 0: they are not.
        factors: what positions, types and charges are divided by.
        prediction: what the network's output means: the noise (EDM), v, or x0 as Karras et al. 2022 precondition it.
        noise_levels: steps t drawn evenly, or ln(sigma_t / alpha_t) from a normal of noise_mean and noise_spread,
            cut to [0, T*] (Karras et al. 2022; the defaults are those of VEDA).
        max_t: T*, the largest step trained on. schedule, diffusion_steps, precision_of_schedule: the noise schedule.
        batch_size: molecules in a step. batch_edges: if given, the room for edges in a step instead, of which a
            molecule of N atoms takes N^2 (training.batches.Epochs); the loss is the mean over each batch either way.
        epochs: passes over the training set; steps: if given, the run ends there instead.
        learning_rate, lr_schedule, warmup_steps: linear warm-up, then constant or a cosine to zero.
        optimizer: AdamW for everything, or Muon for the matrices inside blocks (training.muon), at matrix_rate times
            the learning rate.
        weight_decay, amsgrad: of AdamW. clipping: of the gradient norm: EDM's adaptive one, or by the median
            of late, which outliers do not move.
        ema_decay: of the averaged weights; ema_warmup: start at (1 + step) / (10 + step) instead of at ema_decay.
        ema_width: if given, instead of both a power-function average whose profile has this standard deviation,
            relative to the steps done (Karras et al. 2024, arXiv 2312.02696, equation 121 and algorithm 2).
        stratified_t: spread a batch's steps evenly over [0, T*] instead of drawing each alone.
        padded_denominator: divide the loss by the batch's largest size, as the published code does.
        precision: float32, or bfloat16 for the matrix products (coordinates stay float32).
        validate_every, sample_every: steps between validation losses, and between stability samples (0: at the end).
        stability_samples: how many molecules each stability sample draws. save_every_s: seconds between saved states.
    """

    hidden: int = 256
    n_layers: int = 9
    inv_sublayers: int = 1
    tuned_for_atoms: float = 0.0
    include_charges: bool = False
    centred_features: bool = True
    factors: tuple[float, float, float] = EDM_FACTORS
    prediction: Prediction = "eps"
    noise_levels: NoiseLevels = "uniform"
    noise_mean: float = -1.26
    noise_spread: float = 1.41
    max_t: int = 550
    schedule: str = "polynomial_2"
    diffusion_steps: int = 1000
    precision_of_schedule: float = 1e-5
    batch_size: int = 256
    batch_edges: int | None = None
    epochs: int = 1650
    steps: int | None = None
    learning_rate: float = 1e-4
    optimizer: OptimizerName = "adamw"
    matrix_rate: float = 3.0
    lr_schedule: LearningRateSchedule = "constant"
    warmup_steps: int = 0
    weight_decay: float = 1e-12
    amsgrad: bool = True
    clipping: Clipping = "adaptive"
    ema_decay: float = 0.9999
    ema_warmup: bool = False
    ema_width: float | None = None
    stratified_t: bool = False
    padded_denominator: bool = False
    precision: Precision = "float32"
    validate_every: int = 2000
    sample_every: int = 20000
    stability_samples: int = 1000
    save_every_s: float = 120.0

    def __post_init__(self) -> None:
        for f in fields(self):
            right, words = _TYPES.get(_type_name(f.type), (_is_text, "text"))
            if not right(getattr(self, f.name)):
                raise InvalidInput(f"{f.name} must be {words}", received=repr(getattr(self, f.name)))
        for names, right, words in _RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not right(value):
                    raise InvalidInput(words.format(name), received=value)
        if self.max_t > self.diffusion_steps:
            raise InvalidInput(
                f"max_t must be 1 to {self.diffusion_steps}, the steps of the schedule", received=self.max_t
            )
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in get_args(allowed):
                raise InvalidInput(f"{name} is one of {', '.join(get_args(allowed))}", received=getattr(self, name))

    def space(self, vocabulary: tuple[int, ...]) -> FeatureSpace:
        """The columns of molecules of these elements."""
        return FeatureSpace(
            vocabulary=vocabulary, factors=self.factors, include_charges=self.include_charges,
            centred_features=self.centred_features,
        )  # fmt: skip

    def noise_schedule(self) -> Schedule:
        """The noise schedule, with all its steps."""
        return make_schedule(self.schedule, self.diffusion_steps, self.precision_of_schedule)

    def described(self) -> dict[str, Any]:
        """All hyperparameters except newer ones at their neutral value, so that older runs still compare equal."""
        later = {("batch_edges", None), ("tuned_for_atoms", 0.0)}
        return {name: value for name, value in asdict(self).items() if (name, value) not in later}

    def learning_rate_at(self, step: int, fraction: float) -> float:
        """The learning rate of a step (from 0), when this fraction of the run is done."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fade = 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0))) if self.lr_schedule == "cosine" else 1.0
        return self.learning_rate * warm * fade

    def ema_decay_at(self, step: int) -> float:
        """The decay of the averaged weights at a step (from 0)."""
        if self.ema_width is not None:
            return float((1 - 1 / (step + 1)) ** (_ema_power(self.ema_width) + 1))
        return min(self.ema_decay, (1 + step) / (10 + step)) if self.ema_warmup else self.ema_decay

    def measures_after(self, step: int) -> bool:
        """Whether something is measured after this many steps."""
        return self.until_measured(step - 1) == 1

    def until_measured(self, step: int) -> int:
        """Steps from here until something is measured."""
        return min(every - step % every for every in (self.validate_every, self.sample_every) if every)


def _refuse_unused(recipe: Recipe, given: set[str]) -> None:
    """Reject hyperparameters that were given and have no effect together with the others."""
    averaged = recipe.ema_width is not None
    for names, unused, remedy in (
        ({"noise_mean", "noise_spread"}, recipe.noise_levels == "uniform", "noise_levels=lognormal"),
        ({"matrix_rate"}, recipe.optimizer == "adamw", "optimizer=muon"),
        ({"ema_decay", "ema_warmup"}, averaged, "either these or ema_width"),
        ({"batch_size"}, recipe.batch_edges is not None, "either this or batch_edges"),
    ):
        if unused and (named := sorted(names & given)):
            raise InvalidInput(f"{' and '.join(named)} without effect in this recipe", remedy=f"use {remedy}")


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and annotation is not tuple else str(annotation)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


Check = Callable[[Any], bool]
_TYPES: dict[str, tuple[Check, str]] = {
    "int": (_is_whole, "a whole number"),
    "int | None": (lambda v: v is None or _is_whole(v), "a whole number"),
    "float": (_is_finite, "a finite number"),
    "float | None": (lambda v: v is None or _is_finite(v), "a finite number"),
    "bool": (lambda v: isinstance(v, bool), "true or false"),
    "tuple[float, float, float]": (lambda v: isinstance(v, tuple) and all(map(_is_finite, v)), "three finite numbers"),
}
_POSITIVE = ("hidden", "n_layers", "inv_sublayers", "batch_size", "epochs", "diffusion_steps", "max_t",
             "stability_samples", "validate_every", "steps", "batch_edges")  # fmt: skip
_RANGES: tuple[tuple[tuple[str, ...], Check, str], ...] = (
    (_POSITIVE, lambda v: v >= 1, "{} must be at least 1"),
    (("learning_rate",), lambda v: 0 < v < 1, "the learning rate must be between 0 and 1"),
    (("ema_decay",), lambda v: 0 <= v < 1, "the EMA decay must be in [0, 1)"),
    (("tuned_for_atoms",), lambda v: v == 0 or v >= 1, "tuned_for_atoms must be at least 1, or 0"),
    (("ema_width",), lambda v: 0 < v < 0.288, "the EMA's width must be above 0 and below 0.288"),
    (("matrix_rate", "noise_spread"), lambda v: v > 0, "{} must be positive"),
    (("warmup_steps", "weight_decay", "sample_every", "save_every_s"), lambda v: v >= 0, "{} must not be negative"),
    (("factors",), lambda v: len(v) == 3 and min(v) > 0, "factors are three positive numbers"),
)
_CHOICES = {
    "lr_schedule": LearningRateSchedule,
    "clipping": Clipping,
    "precision": Precision,
    "prediction": Prediction,
    "noise_levels": NoiseLevels,
    "optimizer": OptimizerName,
}


@cache
def _ema_power(width: float) -> float:
    """gamma of the profile t^gamma with this relative standard deviation: the root of a cubic (Karras et al. 2024)."""
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
