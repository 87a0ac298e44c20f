"""The training objective of a batch. What is random in it has keys: the steps t of a batch (seed, stream, step), the
noise of a molecule and whether it is shown without its context (seed, stream, molecule, step); none of them knows how
many processes share the batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, Shaped
from scipy.special import ndtr
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.core.rng import uniforms
from gaga.models.device_rng import exact_device, normals
from gaga.models.diffusion import Diffusion
from gaga.models.network.layout import Capacity
from gaga.models.ranks import ALONE, Ranks
from gaga.models.training.batches import Batch, Epochs
from gaga.models.training.features import Features
from gaga.models.training.recipe import Recipe

TRAINING, VALIDATION, DROPOUT = 0, 1, 2


@dataclass(frozen=True)
class Objective:
    """What a recipe minimises, under a seed."""

    recipe: Recipe
    seed: int

    def check(self, features: Features) -> None:
        """Refuse what cannot be drawn for these molecules.

        Raises:
            InvalidInput: no noise level of [0, T*] has a share in training, or a molecule is larger than a batch.
        """
        self.epochs(features)
        if self.recipe.noise_levels == "lognormal":
            _ = self._shares

    def epochs(self, features: Features) -> Epochs:
        """How these molecules become batches.

        Raises:
            InvalidInput: a molecule is larger than the recipe's batches.
        """
        return Epochs(features.n_atoms, self.recipe.batch_size, self.seed, self.recipe.batch_edges)

    def batches(self, features: Features, step: int) -> Iterator[tuple[int, Int64[np.ndarray, " B"]]]:
        """(step, members) from this step on."""
        return self.epochs(features).from_step(step)

    def batch(
        self,
        features: Features,
        members: Int64[np.ndarray, " B"],
        step: int,
        *,
        stream: int = TRAINING,
        ranks: Ranks = ALONE,
        capacity: Capacity | None = None,
        atoms: Shaped[Tensor, "a *C"] | None = None,
    ) -> Batch:
        """A process's share of a batch, on the host: every size-th molecule, so that shares weigh alike.

        Summed over all shares, weight times objective is the mean over the batch. If a batch has fewer molecules than
        there are processes, the processes left over take its first one with weight 0. `atoms` is what `features.fetch`
        gave for the share, if that was read ahead.
        """
        t = self._steps(len(members), step, stream)
        sizes = features.n_atoms[members]
        weights = self._weights(sizes) * (ranks.rank < len(members))
        share = ranks.share(len(members))
        atoms = features.fetch(members[share]) if atoms is None else atoms
        context = None if features.context is None else self._shown(features.context, members[share], step, stream)
        return Batch.of(atoms, sizes[share], members[share], t[share], weights[share], capacity, context)

    def losses(
        self,
        diffusion: Diffusion,
        features: Features,
        batch: Batch,
        step: int | Int64[Tensor, ""],
        stream: int = TRAINING,
    ) -> Float[Tensor, " M"]:
        """The weighted objective of each molecule, with noise of its own; does not wait for the device."""
        x = features.columns(batch.atoms)
        keys = batch.layout.per_atom(batch.keys)
        where = exact_device(x.device)
        eps = normals(stream_key(self.seed, stream), keys.to(where), batch.layout.place.to(where), x.shape[1], step)
        return diffusion.loss(x, eps.to(x.dtype).to(x.device), batch.t, batch.layout, batch.context) * batch.weights

    def validation_loss(self, diffusion: Diffusion, features: Features, *, ranks: Ranks = ALONE) -> float:
        """Mean objective over the validation molecules, always with the same noise; NaN if there are none.

        Steps are drawn evenly from [0, T*], however training draws them.

        Each process takes every size-th batch, and all get the same number.
        """
        if len(features) == 0:
            return float("nan")
        edges = self.recipe.batch_edges and max(self.recipe.batch_edges, int(features.n_atoms.max()) ** 2)
        batches = list(enumerate(Epochs(features.n_atoms, self.recipe.batch_size, 0, edges).batches(0)))
        total = torch.zeros(len(features), device=features.device)
        with torch.no_grad():
            for k, members in batches[ranks.rank :: ranks.size]:
                batch = self.batch(features, members, k, stream=VALIDATION).to(total.device)
                total[batch.keys] = len(members) * self.losses(diffusion, features, batch, k, VALIDATION)
        return float(ranks.sum(total).mean())

    def _shown(
        self, context: Float32[np.ndarray, "M K"], members: Int64[np.ndarray, " B"], step: int, stream: int
    ) -> Float32[np.ndarray, "B K"]:
        """The contexts of these molecules; in training, of a random share the null context."""
        shown: Float32[np.ndarray, "B K"] = context[members]
        if stream == TRAINING and self.recipe.condition_dropout:
            chance = uniforms(stream_key(self.seed, DROPOUT), members, step)
            shown[chance < self.recipe.condition_dropout] = 0.0
        return shown

    def _steps(self, batch: int, step: int, stream: int) -> Int64[np.ndarray, " B"]:
        """A step of the diffusion for each molecule of a batch."""
        key = np.random.SeedSequence((self.seed, stream, step)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(key >> np.uint64(1)))
        n_steps = self.recipe.max_t + 1
        uniform = stream == VALIDATION or self.recipe.noise_levels == "uniform"
        if uniform and not self.recipe.stratified_t:
            return torch.randint(0, n_steps, (batch,), generator=generator).numpy()
        u = torch.rand(batch, generator=generator)
        if self.recipe.stratified_t:
            u = (torch.randperm(batch, generator=generator) + u) / batch
        if uniform:
            return (u * n_steps).long().clamp_(max=n_steps - 1).numpy()
        return np.searchsorted(self._shares, u.double().numpy(), side="right").clip(max=n_steps - 1).astype(np.int64)

    @cached_property
    def _shares(self) -> Float64[np.ndarray, " n_steps"]:
        """The probability of steps up to each one, if ln(sigma_t / alpha_t) is normal.

        A step stands for all levels nearest to it; those beyond [0, T*] are left out.
        """
        recipe = self.recipe
        level = recipe.noise_schedule().gamma[: recipe.max_t + 1] / 2
        edges = np.concatenate([level[:1], (level[1:] + level[:-1]) / 2, level[-1:]])
        z = (edges - recipe.noise_mean) / recipe.noise_spread
        upto = ndtr(z) if z[0] + z[-1] < 0 else -ndtr(-z)  # by the tail in which differences are exact
        if not upto[-1] > upto[0]:
            raise InvalidInput(
                "no noise level of [0, T*] has a share in training",
                received=f"noise_mean {recipe.noise_mean}, noise_spread {recipe.noise_spread}",
            )
        shares: Float64[np.ndarray, " n_steps"] = (upto[1:] - upto[0]) / (upto[-1] - upto[0])
        return shares

    def _weights(self, n_atoms: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """1 / B; times N / N_max if the objective of each molecule is divided by the batch's largest size.

        B is the batch's own number of molecules: a step follows the mean over its batch, however many that are.
        """
        share = n_atoms / n_atoms.max() if self.recipe.padded_denominator else np.ones(len(n_atoms))
        return (share / len(n_atoms)).astype(np.float32)


def stream_key(seed: int, stream: int) -> int:
    """A key of 64 bits: what is drawn for training, for validation and for sampling under one seed stays apart."""
    return int(np.random.SeedSequence((seed, stream)).generate_state(1, np.uint64)[0])
