"""The state of a training run on disk: enough to go on bit for bit on the CPU, and nothing that executes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
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
        norms: the gradient norms that adaptive clipping remembers.
    """

    step: int = 0
    seconds: float = 0.0
    bad_steps: int = 0
    norms: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Counters, the run's identity, and tensors by name: network.*, ema.*, optimizer.<index>.<moment>."""

    counters: Counters
    identity: dict[str, Any]
    tensors: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write the state; the one before stays until this one is whole."""
        header = json.dumps({"counters": asdict(self.counters), "identity": self.identity})
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
            return cls(Counters(**header["counters"]), header["identity"], tensors)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"no training state to resume at {path}: {error}") from error

    def refuse_other(self, identity: dict[str, Any], path: Path) -> None:
        """Stop where the state belongs to another run.

        Raises:
            Conflict: the identity differs; the line names what differs.
        """
        wanted = json.loads(json.dumps(identity))
        differing = [k for k in wanted if k != "recipe" and self.identity.get(k) != wanted[k]]
        recipe = self.identity.get("recipe", {})
        differing += [k for k, value in wanted.get("recipe", {}).items() if recipe.get(k) != value]
        if differing:
            raise Conflict(
                f"the run in {path.parent} was started with another {', '.join(differing)}",
                remedy="resume with the settings it was started with, or give this run another --name",
            )

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def optimizer_moments(self) -> dict[int, dict[str, Tensor]]:
        """The optimiser's moments by parameter index."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in self.part("optimizer.").items():
            index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = value
        return moments


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments as optimizer.<index>.<moment>."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{name}": value for i, moments in state.items() for name, value in moments.items()}
