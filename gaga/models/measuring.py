"""What a training run measures on the way: one row of its log."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaga.base.files import atomic_write
from gaga.chem import edm_stability
from gaga.models.model import Model
from gaga.models.ranks import ALONE, Ranks
from gaga.models.samplers import SampleConfig, sample_stream


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """One row of the log; None where a quantity was not measured at this step.

    Losses are those of the recipe's own prediction, per column and atom (`Diffusion.loss`): two recipes that predict
    other things cannot be compared by them. `gradient_norm` is the mean before clipping, `clipped` the
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


def drop_rows_after(path: Path, step: int) -> None:
    """Leave in a log what was written up to this step; a torn last line goes too."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    with atomic_write(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines if _step_of(line) <= step), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf


def read_rows(path: Path) -> list[Metrics]:
    """The log as rows; none where the file is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Metrics(**json.loads(line)) for line in lines]


def sampled_stability(
    model: Model, n_molecules: int, seed: int, device: torch.device, ranks: Ranks = ALONE
) -> tuple[float, float]:
    """Fractions of stable atoms and of stable molecules among freshly sampled ones (EDM's rule).

    They are drawn in fifty evaluations of the network (`annealed`). Each process draws every size-th molecule on its
    device, and all get the same fractions.
    """
    mine = range(n_molecules)[ranks.rank :: ranks.size]
    drawn = sample_stream(model, mine, SampleConfig(method="annealed"), seed=seed)
    counts = [(*edm_stability(m.atomic_numbers, m.positions), len(m.atomic_numbers)) for m in drawn]
    total = np.array(counts, dtype=np.int64).reshape(-1, 3).sum(axis=0)
    atoms, molecules, of_atoms = ranks.sum(torch.from_numpy(total).to(device)).tolist()
    return atoms / of_atoms, molecules / n_molecules
