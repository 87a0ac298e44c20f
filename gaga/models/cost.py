"""What a training run will cost, measured on this machine without training anything."""

import time

import numpy as np

from gaga.models.samplers import SampleConfig, seconds_per_molecule
from gaga.models.training import Trainer


def seconds_per_step(trainer: Trainer, n_steps: int = 4) -> float:
    """Median time of a step after a first one, which is slower."""
    batches = trainer.objective.batches(trainer.train_set, 0)
    times = []
    for k in range(n_steps + 1):
        members = next(batches)[1]
        start = time.perf_counter()
        loss = trainer.objective.loss(trainer.diffusion, trainer.train_set, members, k).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # waits for the device
        times.append(time.perf_counter() - start)
    trainer.optimizer.zero_grad()
    return float(np.median(times[1:]))


def seconds_per_sample(trainer: Trainer) -> float:
    """Time of drawing one molecule for a stability sample."""
    return seconds_per_molecule(trainer.model(), SampleConfig(), min(64, trainer.recipe.stability_samples))


def memory_bytes(trainer: Trainer) -> int:
    """An estimate of the memory of training: weights, EMA, three optimiser moments, gradients, activations.

    Activations are counted as eight [F] rows for each edge of each edge network, kept for the backward pass.
    """
    recipe = trainer.recipe
    sizes = np.diff(trainer.train_set.offsets).astype(np.float64)
    edges = float(np.quantile(sizes**2, 0.95)) * recipe.batch_size
    networks = recipe.n_layers * (recipe.inv_sublayers + 1)
    return int(4 * (6 * trainer.network.n_parameters + 8 * edges * recipe.hidden * networks))
