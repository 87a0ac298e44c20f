"""What the measurement of T*'s price is asked for. Needs no torch."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from gaga.core.config import Config, option
from gaga.core.errors import InvalidInput
from gaga.noise import REFERENCE_KINDS

if TYPE_CHECKING:
    from gaga.models.model import Model

STEPS = (250, 350, 450, 550, 650, 800, 1000)


@dataclass(frozen=True, kw_only=True)
class TruncationConfig(Config):
    """Which molecules are denoised from which steps, and the bootstrap over them.

    No `timesteps` are those of STEPS below the last step that the model was trained on, and this one.
    """

    max_molecules: int = option(
        1000, "At most N molecules of the split, drawn by the seed; more contain fewer.", metavar="N", at_least=2
    )
    timesteps: tuple[int, ...] = option(
        (),
        f"Steps to start from.  [default: {','.join(map(str, STEPS))} as far as the model goes]",
        metavar="STEPS",
    )  # fmt: skip
    batch_size: int = option(64, "Molecules at a time.", metavar="N", at_least=1)
    references: tuple[str, ...] = option(REFERENCE_KINDS, "The Gaussians to start from.", choices=REFERENCE_KINDS)
    n_resamples: int = option(1000, "Bootstrap resamples of the molecules.", at_least=2)
    level: float = option(0.95, "Level of intervals.", above=0, below=1)

    def steps_of(self, model: "Model") -> Int64[np.ndarray, " S"]:
        """The steps, ascending.

        Raises:
            InvalidInput: the model was not trained on one of them.
        """
        chosen = self.timesteps or (*(t for t in STEPS if t < model.max_t), model.max_t)
        if outside := [t for t in chosen if not 1 <= t <= model.max_t]:
            raise InvalidInput(f"the model was trained on steps 0 to {model.max_t}", received=f"step {outside[0]}")
        return np.unique(np.array(chosen, dtype=np.int64))

    def effective(self) -> dict[str, Any]:
        """The options that the result depends on, by name."""
        return {name: value for name, value in asdict(self).items() if name != "batch_size"}
