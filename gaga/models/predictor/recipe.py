"""How a predictor is trained: one frozen configuration, and its presets."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gaga.core.config import Config, option
from gaga.core.errors import InvalidInput
from gaga.models.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class PredictorRecipe(Config):
    """Every hyperparameter of a predictor. The defaults are those of EDM's published classifier (`edm`)."""

    hidden: int = option(128, "Width of the network.", metavar="N", at_least=1)
    n_layers: int = option(7, "Message layers.", metavar="N", at_least=1)
    batch_size: int = option(96, "Molecules in a step.", metavar="N", at_least=1)
    epochs: int = option(1000, "Passes over the training molecules.", metavar="N", at_least=1)
    steps: int | None = option(None, "End after this many steps instead.", metavar="N", at_least=1)
    learning_rate: float = option(
        5e-4, "Learning rate of Adam at first; it falls to 0 along a cosine.", metavar="RATE", above=0, below=1
    )
    warmup_steps: int = option(0, "Steps of linear warm-up.", metavar="N", at_least=0)
    validate_every: int = option(500, "Steps between validation errors.", metavar="N", at_least=1)

    def optimisation(self) -> Recipe:
        """The part of it that the trainer of models has too."""
        return Recipe(
            learning_rate=self.learning_rate, lr_schedule="cosine", warmup_steps=self.warmup_steps, weight_decay=1e-16,
            amsgrad=False, clipping="median", ema_decay=0.0,
        )  # fmt: skip


EDM = PredictorRecipe()
SMALL = replace(EDM, hidden=64, n_layers=4, batch_size=32, epochs=10, learning_rate=2e-3, warmup_steps=100)
PRESETS: Mapping[str, PredictorRecipe] = {"small": SMALL, "edm": EDM}


def make_predictor_recipe(preset: str = "small", **changes: Any) -> PredictorRecipe:
    """A preset with changes.

    Raises:
        InvalidInput: the preset or a hyperparameter is unknown, or a value is out of range.
    """
    if preset not in PRESETS:
        raise InvalidInput("unknown preset", received=preset, remedy=f"use one of {', '.join(PRESETS)}")
    known = {f.name for f in fields(PredictorRecipe)}
    if unknown := sorted(set(changes) - known):
        raise InvalidInput(
            "unknown hyperparameters", received=", ".join(unknown), remedy=f"known ones are {', '.join(sorted(known))}"
        )
    return replace(PRESETS[preset], **changes)
