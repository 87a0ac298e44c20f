"""The states of a training run on disk: enough to resume bit for bit on the CPU, and nothing that executes.

The newest three are kept, each with a checksum: if the newest is damaged, the one before it is used.
"""

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gaga.core.errors import Conflict, InvalidInput
from gaga.models.checkpoint import tensor_digest
from gaga.models.training.recipe import Recipe
from gaga.storage.files import atomic_write, with_utf8_name

_BACKUPS = 2  # kept besides the newest
log = logging.getLogger(__name__)


@dataclass
class Counters:
    """What changes from step to step besides the tensors.

    Attributes:
        step: optimiser steps taken, skipped ones included.
        seconds: time spent training, interruptions left out.
        bad_steps: steps in a row whose loss or gradient was not finite.
    """

    step: int = 0
    seconds: float = 0.0
    bad_steps: int = 0


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Counters, the run's identity, and tensors by name (gaga.models.training.optimiser.Optimiser.tensors).

    `window` is what the next row of the log will be about (training.log.Window), as JSON has it. `products` is
    the library that computed float32 products on a CPU (gaga.models.network.kernels.products); older states have none.
    """

    counters: Counters
    identity: dict[str, Any]
    tensors: dict[str, Tensor]
    window: dict[str, Any] = field(default_factory=dict)
    products: str = ""

    def save(self, path: Path, *, first: bool = False) -> None:
        """Write the state; the one before stays until this one is whole, and then as one of the last three.

        The first state of a run replaces all that another run left there.
        """
        about = {"window": self.window, "identity": self.identity, "products": self.products}
        header = json.dumps({"counters": asdict(self.counters), **about})
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.tensors.items()}
        data = save(tensors, {"gaga": header, "sha256": tensor_digest(header, tensors)})
        held = None if first else _hold(path)
        try:
            with atomic_write(path) as partial:
                partial.write_bytes(data)
        except BaseException:
            if held is not None:
                held.unlink(missing_ok=True)
            raise
        _rotate(path, held)

    @classmethod
    def load_newest(cls, path: Path, device: torch.device) -> "TrainingState":
        """The state at this path, or if it is damaged the newest backup that is not; the log says so.

        Raises:
            InvalidInput: none of them can be read.
        """
        problems: list[InvalidInput] = []
        for candidate in newest_first(path):
            try:
                state = cls.load(candidate, device)
            except InvalidInput as error:
                problems.append(error)
                continue
            if problems:
                log.warning("%s; continuing from %s, step %d", problems[0], candidate.name, state.counters.step)
            return state
        raise problems[0]

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "TrainingState":
        """Read a state.

        Raises:
            InvalidInput: there is none, or it cannot be read.
        """
        try:
            with with_utf8_name(path) as utf8, safe_open(utf8, framework="pt", device=str(device)) as file:
                header = json.loads((file.metadata() or {})["gaga"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                wanted = file.metadata().get("sha256")  # states of the first versions have none
                if wanted is not None and wanted != tensor_digest(file.metadata()["gaga"], tensors):
                    raise ValueError("its checksum does not match")
            return cls(
                Counters(**header["counters"]), dict(header["identity"]), tensors, header.get("window", {}),
                header.get("products", ""),
            )  # fmt: skip
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InvalidInput(f"no training state to resume at {path}: {error}") from error

    def refuse_other(self, identity: dict[str, Any], path: Path) -> None:
        """Reject a state of another run.

        Raises:
            Conflict: the identity differs; the line names what differs.
        """
        differing = differences(self.identity, json.loads(json.dumps(identity)))
        if differing:
            raise Conflict(
                f"the run in {path.parent} was started with another {', '.join(differing)}",
                remedy="resume with the settings it was started with, or give this run another `name`",
            )


def differences(identity: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What differs between the identities of two runs, by name; hyperparameters each by its own."""
    identity = {"vocabulary": wanted.get("vocabulary")} | identity  # an older gaga's states do not say
    names = [k for k in wanted if k != "recipe" and identity.get(k) != wanted[k]]
    defaults = json.loads(json.dumps(asdict(Recipe())))  # of hyperparameters that an older gaga did not have
    recipe = defaults | json.loads(json.dumps(identity.get("recipe", {})))
    wanted = json.loads(json.dumps(wanted))
    return names + [k for k, value in wanted.get("recipe", {}).items() if recipe.get(k) != value]


def write_skipped_step(path: Path, step: int, seed: int, molecules: Int64[np.ndarray, " B"]) -> None:
    """What repeats a step whose loss or gradient was not finite: its number, the seed, and the molecules."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps({"step": step, "seed": seed, "molecules": molecules.tolist()}))


def newest_first(path: Path) -> list[Path]:
    """Paths of the states that are kept."""
    return [path, *_backups(path)]


def _backups(path: Path) -> list[Path]:
    """Paths of the states before the newest, newer ones first."""
    return [path.with_name(f"{path.stem}.{k}{path.suffix}") for k in range(1, _BACKUPS + 1)]


def _hold(path: Path) -> Path | None:
    """A second name for the state at this path until it becomes a backup; None if there is no state."""
    held = path.with_name(f".{path.name}.former")
    held.unlink(missing_ok=True)
    if not path.exists():
        return None
    try:
        os.link(path, held)
    except OSError:  # a file system without links
        shutil.copyfile(path, held)  # not atomic: it is read only under the name that it gets when it is whole
    return held


def _rotate(path: Path, held: Path | None) -> None:
    """Rotate the backups (state -> state.1 -> state.2); with no previous state, delete them."""
    for newer, older in reversed(list(pairwise(_backups(path)))):
        if held is None:
            older.unlink(missing_ok=True)
        elif newer.exists():
            newer.replace(older)
    newest = _backups(path)[0]
    if held is None:
        newest.unlink(missing_ok=True)
    else:
        held.replace(newest)
