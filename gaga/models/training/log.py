"""What a training run measures on the way: one row of its log."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from gaga.chem import edm_stability
from gaga.core.errors import InvalidInput
from gaga.data.dataset import Dataset
from gaga.models.model import Model
from gaga.models.ranks import ALONE, Ranks
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.stream import sample_stream
from gaga.storage.files import atomic_write

_VALIDATED = 2000  # molecules of the validation split
_EARLY, _LATER = (1, 2, 5, 10, 20, 50, 100, 200, 500), 1000


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """One row of the log; None for quantities that were not measured at this step.

    Losses are those of the recipe's own prediction, per column and atom (`Diffusion.loss`): two recipes that predict
    other things cannot be compared by them. `gradient_norm` is the mean before clipping, `clipped` the
    share of steps since the last row whose gradient was clipped, `data_wait` the part of the time of those steps that
    went to waiting for data (on a GPU at most); stabilities are fractions by EDM's rule.

    A row that is not `measured` has the training loss and gradient norm alone, as means since the row before it; those
    of a measured row are means since the measured row before it.
    """

    step: int
    epoch: int
    seconds: float
    learning_rate: float
    train_loss: float | None
    gradient_norm: float | None
    clipped: float | None = None
    data_wait: float | None = None
    valid_loss: float | None = None
    atom_stable: float | None = None
    molecule_stable: float | None = None
    measured: bool = True

    def plain(self) -> dict[str, Any]:
        """The row with null for what is not finite; `measured` only if it is false."""
        row = {name: value for name, value in asdict(self).items() if (name, value) != ("measured", True)}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


@dataclass
class Window:
    """Losses and gradient norms since the last measurement; seconds that its steps took, and waited for data."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    clipped: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, loss: float, norm: float, limit: float) -> None:
        """One step: its loss, its gradient's norm before clipping, and the largest norm allowed."""
        self.losses.append(loss)
        self.norms.append(norm)
        self.clipped += norm > limit

    def spend(self, seconds: float, waited: float) -> None:
        """Add the time that some steps took in all, and waited for data."""
        self.seconds += seconds
        self.waited += waited

    @property
    def data_wait(self) -> float | None:
        """The part of the time that steps waited for data; None before the first."""
        return self.waited / self.seconds if self.seconds else None

    def note(self) -> str:
        """The recent loss, and the share of time spent waiting for data if it is 1 % or more."""
        share = self.data_wait or 0.0
        return f"loss {np.mean(self.losses[-100:]):.4f}" + (f", waits for data {share:.0%}" if share >= 0.01 else "")

    def means(self) -> dict[str, float | None]:
        """Mean loss and norm, shares of steps clipped and of time waited; None if there were no steps."""
        if not self.losses:
            return {"train_loss": None, "gradient_norm": None, "clipped": None, "data_wait": None}
        return {
            "data_wait": self.data_wait,
            "train_loss": float(np.mean(self.losses)),
            "gradient_norm": float(np.mean(self.norms)),
            "clipped": self.clipped / len(self.losses),
        }

    def latest(self, steps: int) -> dict[str, float]:
        """Mean loss and norm of the last steps, at least one."""
        return {
            "train_loss": float(np.mean(self.losses[-steps:])),
            "gradient_norm": float(np.mean(self.norms[-steps:])),
        }


@dataclass
class History:
    """The rows of a run's log, and the window that its next measured row is about."""

    rows: list[Metrics] = field(default_factory=list)
    window: Window = field(default_factory=Window)

    @property
    def measured(self) -> list[Metrics]:
        """The rows of measurements."""
        return [row for row in self.rows if row.measured]

    @property
    def last(self) -> Metrics | None:
        """The newest measured row."""
        return next((row for row in reversed(self.rows) if row.measured), None)

    @property
    def step(self) -> int:
        """The step that the newest row is about; 0 if there is none."""
        return self.rows[-1].step if self.rows else 0

    def reaches(self, step: int, *, sampled: bool = False) -> bool:
        """Whether the newest measured row is about this step, and has stabilities if `sampled` asks for them."""
        return self.last is not None and self.last.step == step and not (sampled and self.last.atom_stable is None)

    def add(self, row: Metrics) -> None:
        """The next row; after a measured one a new window begins."""
        self.rows.append(row)
        if row.measured:
            self.window = Window()

    def lowest_loss(self, *, before: Metrics) -> float:
        """The lowest validation loss of the rows before this one; infinite if none was measured."""
        losses = [row.valid_loss for row in self.rows if row is not before and row.valid_loss is not None]
        return min(filter(math.isfinite, losses), default=math.inf)

    def write(self, path: Path) -> None:
        """Write the log as JSON lines, atomically.

        Raises:
            Unavailable: it cannot be written.
        """
        with atomic_write(path) as partial:
            partial.write_text("".join(f"{json.dumps(row.plain())}\n" for row in self.rows), encoding="utf-8")

    @classmethod
    def at(cls, step: int, path: Path, window: dict[str, Any]) -> "History":
        """The history of a run that resumes from the state after this step, with its window; later rows are dropped."""
        history = cls([row for row in read_rows(path) if row.step <= step])
        if not history.reaches(step):
            history.window = Window(**window)
        return history


def is_logged(step: int) -> bool:
    """Whether the log has a row of losses after this many steps: 1, 2, 5, 10, ..., 500, and each thousandth."""
    return step in _EARLY or (step > 0 and step % _LATER == 0)


def read_rows(path: Path) -> list[Metrics]:
    """The log as rows; none if the file is missing.

    Raises:
        InvalidInput: it is no log of training.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    try:
        return [Metrics(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path} is no log of a training run", remedy="delete it") from error


def validated(dataset: Dataset) -> Int64[np.ndarray, " n"]:
    """The molecules that validation losses are of: the first of the split, or conformers from all over it.

    Conformers of a molecule are neighbours, so that the first ones would be of a few dozen molecules.
    """
    valid = dataset.splits["valid"]
    if dataset.groups is None or len(valid) <= _VALIDATED:
        return valid[:_VALIDATED]
    return valid[np.linspace(0, len(valid) - 1, _VALIDATED).astype(np.int64)]


def sampled_stability(
    model: Model, n_molecules: int, seed: int, device: torch.device, ranks: Ranks = ALONE
) -> dict[str, float]:
    """Fractions of stable atoms and of stable molecules (EDM's rule) among freshly sampled ones, by their names here.

    They are drawn as by default, in fifty evaluations of the network. Each process draws every size-th molecule on its
    device, and all get the same fractions.
    """
    share = range(n_molecules)[ranks.rank :: ranks.size]
    drawn = sample_stream(model, share, SampleConfig(), seed=seed)
    counts = [(*edm_stability(m.atomic_numbers, m.positions), len(m.atomic_numbers)) for m in drawn]
    total = np.array(counts, dtype=np.int64).reshape(-1, 3).sum(axis=0)
    atoms, molecules, of_atoms = ranks.sum(torch.from_numpy(total).to(device)).tolist()
    return {"atom_stable": atoms / of_atoms, "molecule_stable": molecules / n_molecules}
