"""The training objective of a batch, with everything random in it keyed by (seed, stream, step)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gaga.models.batches import Columns, batches_from, batches_of_epoch
from gaga.models.diffusion import Diffusion
from gaga.models.layout import Layout
from gaga.models.recipes import Recipe

TRAINING, VALIDATION = 0, 1


@dataclass(frozen=True)
class Objective:
    """What a recipe minimises, under a seed."""

    recipe: Recipe
    seed: int

    def batches(self, columns: Columns, step: int) -> Iterator[tuple[int, Int64[np.ndarray, " B"]]]:
        """(epoch, members) from this step on; random batches where the loss depends on a batch's largest size."""
        sizes = np.diff(columns.offsets)
        like = not self.recipe.padded_denominator
        return batches_from(sizes, self.recipe.batch_size, self.seed, step, like_sizes=like)

    def loss(
        self,
        diffusion: Diffusion,
        columns: Columns,
        members: Int64[np.ndarray, " B"],
        step: int,
        stream: int = TRAINING,
    ) -> Float[Tensor, " B"]:
        """The objective of each molecule, at steps and with noise of its own."""
        x, layout = columns.batch(members)
        t, eps = self._draw(x, layout, step, stream)
        widest = int(layout.n_atoms.max()) if self.recipe.padded_denominator else None
        return diffusion.loss(x, eps, t, layout, widest)

    def validation_loss(self, diffusion: Diffusion, columns: Columns, max_molecules: int = 2000) -> float:
        """Mean objective over the first validation molecules, always with the same noise; NaN if there are none."""
        sizes = np.diff(columns.offsets)[:max_molecules]
        if len(sizes) == 0:
            return float("nan")
        batches = enumerate(batches_of_epoch(sizes, self.recipe.batch_size, 0, 0))
        with torch.no_grad():
            losses = [self.loss(diffusion, columns, members, k, VALIDATION) for k, members in batches]
        return float(torch.cat(losses).mean())

    def _draw(self, x: Tensor, layout: Layout, step: int, stream: int) -> tuple[Int64[Tensor, " B"], Tensor]:
        key = np.random.SeedSequence((self.seed, stream, step)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(key >> np.uint64(1)))
        batch, n_steps = len(layout), self.recipe.max_t + 1
        if self.recipe.stratified_t:
            u = (torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)) / batch
            t = (u * n_steps).long().clamp_(max=n_steps - 1)
        else:
            t = torch.randint(0, n_steps, (batch,), generator=generator)
        eps = torch.randn(x.shape, generator=generator)
        return t.to(x.device), eps.to(x.device)
