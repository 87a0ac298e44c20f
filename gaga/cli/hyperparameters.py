"""The options of `gaga train` that are hyperparameters: one for each field of a recipe, and the TOML file of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli.errors import usage_error
from gaga.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from gaga.models.training.recipe import Recipe

PRESETS = ("gaga-qm9", "edm", "edm-geom", "large", "large-geom", "small", "tiny")  # of gaga.models.training.recipe
_PANEL = "Hyperparameters (the preset's where not given)"


def _option(flag: str, metavar: str, help: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=help, rich_help_panel=_PANEL, show_default=False)


Hidden = Annotated[int | None, _option("--hidden", "N", "Width of the network (nf).")]
Layers = Annotated[int | None, _option("--layers", "N", "Blocks of the network.")]
InvSublayers = Annotated[int | None, _option("--inv-sublayers", "N", "Message layers of a block.")]
TunedForAtoms = Annotated[
    float | None,
    _option("--tuned-for-atoms", "N", "Divide sums over atoms by the data's mean size over N, if above 1; 0: do not."),
]
Charges = Annotated[
    bool | None,
    typer.Option("--charges/--no-charges", help="A column with the nuclear charge.", rich_help_panel=_PANEL),
]
Centred = Annotated[
    bool | None,
    typer.Option(
        "--centred-features/--uncentred-features", help="Types centred in each molecule.", rich_help_panel=_PANEL
    ),
]
PredictionName = Annotated[
    str | None, _option("--prediction", "eps|v|x0", "What the network predicts; x0 as Karras et al. precondition it.")
]
NoiseLevelsName = Annotated[
    str | None, _option("--noise-levels", "uniform|lognormal", "Steps drawn evenly, or ln(sigma/alpha) from a normal.")
]
NoiseMean = Annotated[float | None, _option("--noise-mean", "X", "Mean of that normal.")]
NoiseSpread = Annotated[float | None, _option("--noise-spread", "X", "Its standard deviation.")]
Factors = Annotated[str | None, _option("--factors", "X,Y,Z", "What positions, types and charges are divided by.")]
ScheduleName = Annotated[str | None, _option("--schedule", "polynomial_2|cosine", "Noise schedule.")]
DiffusionSteps = Annotated[int | None, _option("--diffusion-steps", "T", "Steps of the whole schedule.")]
BatchSize = Annotated[int | None, _option("--batch-size", "N", "Molecules in a step.")]
BatchEdges = Annotated[
    int | None, _option("--batch-edges", "N", "Fill steps by edges instead: a molecule of 44 atoms takes 44^2 of them.")
]
Epochs = Annotated[int | None, _option("--epochs", "N", "Passes over the training set.")]
Steps = Annotated[int | None, _option("--steps", "N", "End after so many optimiser steps instead.")]
LearningRate = Annotated[float | None, _option("--lr", "RATE", "Learning rate.")]
OptimizerChoice = Annotated[str | None, _option("--optimizer", "adamw|muon", "Muon is for the matrices inside blocks.")]
MatrixRate = Annotated[float | None, _option("--matrix-rate", "X", "Rate of Muon's matrices, relative to --lr.")]
LrSchedule = Annotated[str | None, _option("--lr-schedule", "constant|cosine", "Learning rate after the warm-up.")]
Warmup = Annotated[int | None, _option("--warmup-steps", "N", "Steps of linear warm-up.")]
WeightDecay = Annotated[float | None, _option("--weight-decay", "X", "Weight decay of AdamW.")]
AmsGrad = Annotated[
    bool | None, typer.Option("--amsgrad/--no-amsgrad", help="AdamW with amsgrad, as EDM.", rich_help_panel=_PANEL)
]
ClippingName = Annotated[
    str | None, _option("--clipping", "adaptive|median|none", "Gradient clipping; adaptive is EDM's.")
]
EmaDecay = Annotated[float | None, _option("--ema-decay", "X", "Decay of the averaged weights.")]
EmaWarmup = Annotated[
    bool | None,
    typer.Option("--ema-warmup/--no-ema-warmup", help="Average over fewer steps at first.", rich_help_panel=_PANEL),
]
EmaWidth = Annotated[
    float | None, _option("--ema-width", "X", "Power-function average of this relative width, such as 0.1, instead.")
]
Stratified = Annotated[
    bool | None,
    typer.Option(
        "--stratified-t/--independent-t", help="Spread a batch's steps evenly over [0, T*].", rich_help_panel=_PANEL
    ),
]
PaddedLoss = Annotated[
    bool | None,
    typer.Option(
        "--padded-denominator/--own-denominator",
        help="Divide the loss by the batch's largest size, as published, or by each molecule's own.",
        rich_help_panel=_PANEL,
    ),
]
PrecisionName = Annotated[str | None, _option("--precision", "float32|bfloat16", "Precision of matrix products.")]
ValidateEvery = Annotated[int | None, _option("--validate-every", "N", "Steps between validation losses.")]
SampleEvery = Annotated[int | None, _option("--sample-every", "N", "Steps between stability samples; 0: at the end.")]
StabilitySamples = Annotated[int | None, _option("--stability-samples", "N", "Molecules of a stability sample.")]
SaveEvery = Annotated[float | None, _option("--save-every-s", "SECONDS", "Time between saved states.")]


def recipe_of(preset: str | None, config: Path | None, given: dict[str, Any]) -> "Recipe":
    """The preset, changed by the TOML file, changed by the options.

    Raises:
        NotFound: no such TOML file.
        InvalidInput: the file or a value in it is wrong, or a hyperparameter is out of range.
    """
    from gaga.models.training.recipe import make_recipe

    from_file = read_config(config) if config else {}
    named = from_file.pop("preset", "small")
    if not isinstance(named, str):
        raise InvalidInput("a preset is named by text", received=named)
    chosen = preset or named
    return make_recipe(chosen, **(from_file | {name: value for name, value in given.items() if value is not None}))


def read_config(path: Path) -> dict[str, Any]:
    """A TOML file of hyperparameters by their names in gaga.models.training.recipe.Recipe, and perhaps `preset`."""
    import tomllib

    if not path.is_file():
        raise NotFound("no such configuration file", received=path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path} is not TOML: {error}") from error


def parse_factors(text: str | None) -> tuple[float, ...] | None:
    """Three numbers from "1,4,10"."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise usage_error(f"invalid value for --factors: {text!r}; write three numbers such as 1,4,10") from None


def parse_duration(text: str | None) -> float | None:
    """Seconds from "90s", "30m", "2h" or "1d".

    Raises:
        UsageError: the text is none of these.
    """
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * units[unit]
    except (ValueError, KeyError):
        raise usage_error(f"invalid value for --budget: {text!r}; write 90s, 30m, 2h or 1d") from None
    if not 0 < seconds < 3.2e8:
        raise usage_error(f"invalid value for --budget: {text!r} is not between 0 and ten years")
    return seconds
