"""The state of a training run on disk: enough to go on bit for bit on the CPU, and nothing that executes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gaga.base.errors import Conflict, InvalidInput
from gaga.base.files import atomic_write


@dataclass
class Counters:
    """What changes from step to step beside the tensors.

    Attributes:
        step: optimiser steps taken, skipped ones included.
        seconds: time spent training, over all sittings.
        bad_steps: steps on end whose loss or gradient was not finite.
    """

    step: int = 0
    seconds: float = 0.0
    bad_steps: int = 0


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Counters, the run's identity, and tensors by name (gaga.models.optimiser.Optimiser.tensors).

    `window` is what the next row of the log will be about (gaga.models.measuring.Window), as JSON has it.
    """

    counters: Counters
    identity: dict[str, Any]
    tensors: dict[str, Tensor]
    window: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the state; the one before stays until this one is whole."""
        header = json.dumps({"counters": asdict(self.counters), "window": self.window, "identity": self.identity})
        data = save({k: v.detach().cpu().contiguous() for k, v in self.tensors.items()}, {"gaga": header})
        with atomic_write(path) as partial:
            partial.write_bytes(data)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "TrainingState":
        """Read a state.

        Raises:
            InvalidInput: there is none, or it cannot be read.
        """
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                header = json.loads((file.metadata() or {})["gaga"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(Counters(**header["counters"]), header["identity"], tensors, header["window"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"no training state to resume at {path}: {error}") from error

    def refuse_other(self, identity: dict[str, Any], path: Path) -> None:
        """Stop where the state belongs to another run.

        Raises:
            Conflict: the identity differs; the line names what differs.
        """
        differing = differences(self.identity, json.loads(json.dumps(identity)))
        if differing:
            raise Conflict(
                f"the run in {path.parent} was started with another {', '.join(differing)}",
                remedy="resume with the settings it was started with, or give this run another --name",
            )


def differences(identity: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What differs between the identities of two runs, by name; hyperparameters each by its own."""
    names = [k for k in wanted if k != "recipe" and identity.get(k) != wanted[k]]
    recipe = identity.get("recipe", {})
    return names + [k for k, value in wanted.get("recipe", {}).items() if recipe.get(k) != value]


def write_skipped_step(path: Path, step: int, seed: int, molecules: Int64[np.ndarray, " B"]) -> None:
    """What repeats a step whose loss or gradient was not finite: its number, the seed, and the molecules."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps({"step": step, "seed": seed, "molecules": molecules.tolist()}))
