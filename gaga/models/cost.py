"""What a training run will cost, measured on this machine without training anything."""

import time

import numpy as np
import torch

from gaga.models.capture import WARMUP, Replay
from gaga.models.samplers import SampleConfig, seconds_per_molecule
from gaga.models.training import Trainer


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
        _wait(trainer.device)
        times.append(time.perf_counter() - start)
    stepper.forget()
    return float(np.median(times[recorded:]))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_per_sample(trainer: Trainer) -> float:
    """Time of drawing one molecule for a stability sample, with all processes at work."""
    alone = seconds_per_molecule(trainer.model(), SampleConfig(), min(64, trainer.recipe.stability_samples))
    return alone / trainer.ranks.size


def memory_bytes(trainer: Trainer) -> int:
    """An estimate of the memory of each process: weights, EMA, three optimiser moments, gradients, activations.

    Activations are counted as eight [F] rows for each edge of each edge network, kept for the backward pass.
    """
    recipe = trainer.recipe
    edges = _edges_of_batch(trainer) / trainer.ranks.size
    networks = recipe.n_layers * (recipe.inv_sublayers + 1)
    return int(4 * (6 * trainer.network.n_parameters + 8 * edges * recipe.hidden * networks))


def _edges_of_batch(trainer: Trainer) -> float:
    recipe = trainer.recipe
    return recipe.batch_edges or float((trainer.train_set.n_atoms**2).mean()) * recipe.batch_size
