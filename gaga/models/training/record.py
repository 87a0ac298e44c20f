"""What the result store keeps of a training run: its log, and which checkpoint it left."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from gaga.models.checkpoint import file_digest

if TYPE_CHECKING:
    from gaga.models.training.log import Metrics
    from gaga.models.training.trainer import Trainer


@dataclass(frozen=True, eq=False)
class MetricsLog:
    """The log as columns, one entry for each measurement; NaN if a quantity was not measured."""

    step: Int64[np.ndarray, " L"]
    epoch: Int64[np.ndarray, " L"]
    seconds: Float64[np.ndarray, " L"] = field(metadata={"unit": "s"})
    learning_rate: Float64[np.ndarray, " L"]
    train_loss: Float64[np.ndarray, " L"]
    gradient_norm: Float64[np.ndarray, " L"]
    clipped: Float64[np.ndarray, " L"]
    valid_loss: Float64[np.ndarray, " L"]
    atom_stable: Float64[np.ndarray, " L"]
    molecule_stable: Float64[np.ndarray, " L"]
    data_wait: Float64[np.ndarray, " L"] | None = None  # an earlier gaga did not measure it

    def __post_init__(self) -> None:
        if self.data_wait is None:
            object.__setattr__(self, "data_wait", np.full(len(self.step), np.nan))

    @classmethod
    def of(cls, rows: "list[Metrics]") -> "MetricsLog":
        """The columns of these rows."""

        def column(name: str) -> np.ndarray:
            values = [getattr(row, name) for row in rows]
            if name in ("step", "epoch"):
                return np.array(values, dtype=np.int64)
            return np.array([np.nan if v is None else v for v in values], dtype=np.float64)

        return cls(**{f.name: column(f.name) for f in fields(cls)})


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """A training run, finished or not.

    Attributes:
        finished: whether it ran to its end.
        checkpoint: path of model.safetensors.
        checkpoint_sha256: hash of that file.
        max_t: T*. steps: optimiser steps taken. seconds: spent training.
        metrics: the log.
        products: the library that computed float32 products on a CPU, mkl or onednn; empty on other devices.
    """

    finished: bool
    checkpoint: str
    checkpoint_sha256: str
    max_t: int
    steps: int
    seconds: float
    metrics: MetricsLog
    products: str = ""


def record_of(trainer: "Trainer", *, finished: bool) -> TrainingRecord:
    """What the store keeps of this run now; before its first save it has no checkpoint."""
    path: Path = trainer.model_path
    return TrainingRecord(
        finished=finished,
        checkpoint=str(path.absolute()),
        checkpoint_sha256=file_digest(path) if trainer.saved_step is not None and path.exists() else "",
        max_t=trainer.recipe.max_t,
        steps=trainer.counters.step,
        seconds=trainer.counters.seconds,
        metrics=MetricsLog.of(trainer.history.measured),
        products=trainer.products or "",
    )
