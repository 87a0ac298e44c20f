"""What a training run is: everything that is fixed before its first step and stays the same after an interruption."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.data.shapes import ShapeLibrary
from gaga.data.targets import scale_of, targets_of
from gaga.models.checkpoint import Checkpoint, file_digest, load_checkpoint
from gaga.models.conditioning import Conditioning
from gaga.models.model import Model
from gaga.models.network.egnn import EGNN
from gaga.models.network.precondition import Precondition
from gaga.models.training.initial import initial_network, precondition_of
from gaga.models.training.log import Metrics
from gaga.models.training.recipe import Recipe
from gaga.noise import Moments, Schedule
from gaga.version import __version__


@dataclass(frozen=True, eq=False, kw_only=True)
class Setup:
    """The facts of a training run.

    Attributes:
        dataset, fingerprint: name and content of the data set.
        recipe: every hyperparameter.
        space: the columns of a molecule.
        schedule: the noise schedule.
        precondition: what the network's output means.
        moments: second moments of the training split.
        shapes: shapes and compositions of some of its molecules; None if it is empty.
        conditioning: the properties that the network takes as a context; None if it takes none.
        seed: of weights, order and noise.
        budget_s: seconds of a full learning-rate schedule; None if the recipe says how many steps.
        init_digest: hash of the checkpoint whose weights are the start, None if they are random.
        provenance: what else a checkpoint should say about its origin.
    """

    dataset: str
    fingerprint: str
    recipe: Recipe
    space: FeatureSpace
    schedule: Schedule
    precondition: Precondition
    moments: Moments
    shapes: ShapeLibrary | None
    conditioning: Conditioning | None
    seed: int
    budget_s: float | None
    init_digest: str | None
    provenance: Mapping[str, Any]

    def identity(self) -> dict[str, Any]:
        """What makes a run the same run: a state of another identity is not resumed."""
        properties = {} if self.conditioning is None else {"properties": self.conditioning.digest}
        return {"seed": self.seed, "budget_s": self.budget_s, "recipe": asdict(self.recipe),
                "dataset": self.fingerprint, "vocabulary": list(self.space.vocabulary),
                "init_from": self.init_digest, **properties}  # fmt: skip


def begin(
    dataset: Dataset,
    recipe: Recipe,
    moments: Moments,
    *,
    seed: int,
    budget_s: float | None,
    kernel: str,
    init_from: Path | None,
    provenance: Mapping[str, Any] | None,
) -> tuple[Setup, EGNN]:
    """The facts of a run on this data by this recipe, and the network that it starts with, on the CPU.

    Raises:
        InvalidInput: recipe and data, or recipe and `init_from`, do not fit together; the data have no such property.
    """
    space = recipe.space(dataset.vocabulary)
    conditioning = _conditioning(dataset, recipe, space, init_from)
    sizes = dataset.molecules.n_atoms[dataset.splits["train"]]
    mean_atoms = float(sizes.mean()) if len(sizes) else None
    network = initial_network(recipe, space, seed, kernel, init_from, mean_atoms=mean_atoms)
    setup = Setup(
        dataset=dataset.name, fingerprint=dataset.fingerprint, recipe=recipe, space=space,
        schedule=recipe.noise_schedule(), precondition=precondition_of(recipe, space, moments, init_from),
        moments=moments, shapes=ShapeLibrary.of(dataset.molecules, dataset.splits["train"], space),
        conditioning=conditioning, seed=seed, budget_s=budget_s,
        init_digest=None if init_from is None else file_digest(init_from), provenance=provenance or {},
    )  # fmt: skip
    return setup, network


def _conditioning(dataset: Dataset, recipe: Recipe, space: FeatureSpace, init_from: Path | None) -> Conditioning | None:
    """What the network is conditioned on: on the scale of the validation molecules (EDM), or of the training molecules
    if there are none, or of the checkpoint whose weights are the start if it is conditioned too."""
    if not recipe.condition:
        return None
    targets, train, valid = targets_of(dataset, recipe.condition), dataset.splits["train"], dataset.splits["valid"]
    start = None if init_from is None else load_checkpoint(init_from).conditioning
    same = start is not None and start.names == recipe.condition
    scale = start.scale if start is not None and same else scale_of(targets, valid if len(valid) else train)
    return Conditioning.of(
        dataset.molecules, train, targets, scale=scale, space=space, dropout=recipe.condition_dropout
    )


def model_of(setup: Setup, network: EGNN, weights: Mapping[str, Tensor]) -> Model:
    """A model with these weights, by the kernel and on the device of the network that is trained."""
    copy = EGNN(network.config, network.kernel, network.precision)
    copy.load_state_dict({name: value.clone() for name, value in weights.items()})
    copy = copy.to(network.embedding.weight.device).eval().requires_grad_(False)
    return Model(copy, setup.schedule, setup.space, precondition=setup.precondition, max_t=setup.recipe.max_t,
                 moments=setup.moments, shapes=setup.shapes, conditioning=setup.conditioning,
                 dataset=setup.dataset)  # fmt: skip


def checkpoint_of(
    setup: Setup, network: EGNN, weights: Mapping[str, Tensor], metrics: Metrics | None, **about: Any
) -> Checkpoint:
    """These weights with everything that sampling needs; `about` says how far the run has come, and on what it runs."""
    return Checkpoint(
        network=network.config,
        space=setup.space,
        schedule=setup.schedule,
        precondition=setup.precondition,
        max_t=setup.recipe.max_t,
        moments=setup.moments,
        shapes=setup.shapes,
        conditioning=setup.conditioning,
        weights=weights,
        dataset=setup.dataset,
        recipe=asdict(setup.recipe),
        metrics=metrics.plain() if metrics else {},
        provenance={
            **setup.provenance, "dataset_fingerprint": setup.fingerprint, "seed": setup.seed, **about,
            "torch_version": torch.__version__, "gaga_version": __version__, "kernel": network.kernel,
            "threads": torch.get_num_threads(),
        },
    )  # fmt: skip
