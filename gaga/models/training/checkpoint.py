"""What a training run leaves behind to sample from: its averaged weights, as a model and as a checkpoint."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from gaga.models.checkpoint import Checkpoint
from gaga.models.model import Model
from gaga.models.network.egnn import EGNN
from gaga.version import __version__

if TYPE_CHECKING:
    from gaga.models.training.trainer import Trainer


def model_of(trainer: "Trainer") -> Model:
    """The averaged weights as a model."""
    network = EGNN(trainer.network.config, trainer.network.kernel, trainer.recipe.precision)
    network.load_state_dict({name: value.clone() for name, value in trainer.optimiser.ema.items()})
    network = network.to(trainer.device).eval().requires_grad_(False)
    return Model(network, trainer.diffusion.schedule, trainer.space, precondition=trainer.precondition,
                 max_t=trainer.recipe.max_t, moments=trainer.moments, dataset=trainer.dataset.name)  # fmt: skip


def checkpoint_of(trainer: "Trainer") -> Checkpoint:
    """The averaged weights with everything that sampling needs."""
    return Checkpoint(
        network=trainer.network.config,
        space=trainer.space,
        schedule=trainer.diffusion.schedule,
        precondition=trainer.precondition,
        max_t=trainer.recipe.max_t,
        moments=trainer.moments,
        weights=trainer.optimiser.ema,
        dataset=trainer.dataset.name,
        recipe=asdict(trainer.recipe),
        metrics=trainer.history.last.plain() if trainer.history.last else {},
        provenance={
            **trainer.provenance,
            "dataset_fingerprint": trainer.dataset.fingerprint, "seed": trainer.seed, "steps": trainer.counters.step,
            "molecules_seen": _molecules_seen(trainer), "training_seconds": round(trainer.counters.seconds),
            "torch_version": torch.__version__, "gaga_version": __version__, "device": str(trainer.device),
            "kernel": trainer.network.kernel, "threads": torch.get_num_threads(), "processes": trainer.ranks.size,
            "products": trainer.products or "",
        },
    )  # fmt: skip


def _molecules_seen(trainer: "Trainer") -> int:
    """By the batch size; where batches are filled by edges, by the mean batch."""
    steps, recipe = trainer.counters.step, trainer.recipe
    if recipe.batch_edges is None:
        return steps * recipe.batch_size
    return round(steps * len(trainer.train_set) / trainer.steps_per_epoch)
