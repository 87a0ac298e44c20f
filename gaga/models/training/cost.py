"""What a training run will cost, measured on this machine without training anything."""

import time
from itertools import islice

import numpy as np

from gaga.models.network.capture import WARMUP, Replay
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.engine import wait_for
from gaga.models.sampling.stream import seconds_per_molecule
from gaga.models.training.features import InMemoryFeatures
from gaga.models.training.trainer import Trainer

_LOOKED_AT = 32  # batches
# Measured as growth of the process on a CPU, float32, 2 x 181 and 30 x 44 atoms, 64 and 256 features; `compile` by its
# plain form. `triton` keeps z2 in bfloat16, and for one network at a time its gradients (docs/KERNELS.md): counted.
_ROWS = {"naive": 9.0, "compile": 9.0, "torch": 3.6, "triton": 0.75}


def seconds_per_step(trainer: Trainer, n_steps: int = 4) -> float:
    """Median time of the gradient of a batch, after the first ones, which are slower; the weights stay as they are."""
    stepper, recorded = trainer.stepper, WARMUP + 1 if trainer.stepper.records else 1
    step, members = next(trainer.objective.batches(trainer.train_set, 0))

    def gradient() -> None:
        stepper.gradient()

    replay = Replay(gradient, trainer.device, enabled=stepper.records)
    stepper.load(stepper.prepare(members, step), step)
    times = []
    for _ in range(recorded + n_steps):
        start = time.perf_counter()
        replay()
        wait_for(trainer.device)
        times.append(time.perf_counter() - start)
    stepper.forget()
    return float(np.median(times[recorded:]))


def seconds_per_sample(trainer: Trainer) -> float:
    """Time of drawing one molecule for a stability sample, with all processes at work."""
    alone = seconds_per_molecule(trainer.model(), SampleConfig(), min(64, trainer.recipe.stability_samples))
    return alone / trainer.ranks.size


def memory_bytes(trainer: Trainer) -> int:
    """An estimate for each process: weights, EMA, three optimiser moments, gradients, columns, activations.

    Activations are what the heaviest of the first batches keeps for its backward pass, in rows of F numbers for each
    edge of each edge network (_ROWS); `naive` has the edges of its padding too.
    """
    recipe, features = trainer.recipe, trainer.train_set
    table = features.values.numel() if isinstance(features, InMemoryFeatures) else 0
    networks = recipe.n_layers * (recipe.inv_sublayers + 1)
    kept = _ROWS[trainer.network.kernel] * _edges(trainer) * recipe.hidden * networks
    return int(4 * (6 * trainer.network.n_parameters + table + kept))


def _edges(trainer: Trainer) -> int:
    """Edges of the heaviest share of the first batches."""
    batches = islice(trainer.objective.batches(trainer.train_set, 0), _LOOKED_AT)
    shares = [trainer.stepper.sizes(members) for _, members in batches]
    if trainer.network.kernel == "naive":
        return max(len(sizes) * int(sizes.max()) ** 2 for sizes in shares)
    return max(int((sizes**2).sum()) for sizes in shares)
