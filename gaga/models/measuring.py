"""What a training run measures on the way: one row of its log."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaga.chem import edm_stability
from gaga.models.model import Model
from gaga.models.samplers import SampleConfig, sample_stream


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """One row of the log; None where a quantity was not measured at this step.

    Losses are 1/2 |eps - eps_hat|^2 per column and atom; `gradient_norm` is the mean before clipping, `clipped` the
    share of steps since the last row whose gradient was clipped; stabilities are fractions by EDM's rule.
    """

    step: int
    epoch: int
    seconds: float
    learning_rate: float
    train_loss: float | None
    gradient_norm: float | None
    clipped: float | None = None
    valid_loss: float | None = None
    atom_stable: float | None = None
    molecule_stable: float | None = None

    def append_to(self, path: Path) -> None:
        """Add the row to a file of JSON lines."""
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.plain()) + "\n")

    def plain(self) -> dict[str, Any]:
        """The row with null for what is not finite."""
        row = asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


@dataclass
class Window:
    """Losses and gradient norms since the last measurement."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    clipped: int = 0

    def add(self, loss: float, norm: float, limit: float) -> None:
        """One step: its loss, its gradient's norm before clipping, and the largest norm allowed."""
        self.losses.append(loss)
        self.norms.append(norm)
        self.clipped += norm > limit

    def means(self) -> dict[str, float | None]:
        """Mean loss and norm, and the share of steps that were clipped; None where there were no steps."""
        if not self.losses:
            return {"train_loss": None, "gradient_norm": None, "clipped": None}
        return {
            "train_loss": float(np.mean(self.losses)),
            "gradient_norm": float(np.mean(self.norms)),
            "clipped": self.clipped / len(self.losses),
        }


def rows_up_to(path: Path, step: int) -> list[str]:
    """The lines of a log that were written up to this step; a torn last line is left out."""
    if not path.is_file():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["step"] <= step:
            kept.append(line)
    return kept


def read_rows(path: Path) -> list[Metrics]:
    """The log as rows; none where the file is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Metrics(**json.loads(line)) for line in lines]


def sampled_stability(model: Model, n_molecules: int, seed: int) -> tuple[float, float]:
    """Fractions of stable atoms and of stable molecules among freshly sampled ones (EDM's rule)."""
    drawn = sample_stream(model, range(n_molecules), SampleConfig(), seed=seed)
    counts = [(*edm_stability(m.atomic_numbers, m.positions), len(m.atomic_numbers)) for m in drawn]
    atoms, stable, sizes = (np.array(column, dtype=np.float64) for column in zip(*counts, strict=True))
    return float(atoms.sum() / sizes.sum()), float(stable.mean())
