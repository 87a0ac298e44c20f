"""The training step: the gradient of a batch, summed over processes, moves the weights. Batches are prepared ahead.

On a CUDA device the step is recorded once for all batches of a capacity and replayed, and the host does not wait for
the device until it asks for outcomes. On other devices the same function simply runs.
"""

import math
import time
from collections.abc import Generator, Iterator
from functools import reduce
from itertools import islice
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from gaga.core.threads import ahead, map_in_threads
from gaga.models.device_rng import exact_device
from gaga.models.diffusion import Diffusion
from gaga.models.network.capture import Replay
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.choose import STATIC
from gaga.models.network.kernels.products import fast_products
from gaga.models.network.layout import Capacity
from gaga.models.ranks import ALONE, Ranks
from gaga.models.training.batches import Batch
from gaga.models.training.features import Features
from gaga.models.training.objective import Objective
from gaga.models.training.optimiser import Optimiser

REMEMBERED = 32  # steps whose outcomes are kept until the host asks for them
_PLANNED = 32  # batches that the first capacity is made for
_SPARE = 1.1  # room for molecules if batches are filled by edges
_AHEAD = 4  # batches that are ready besides those that are being read

Prepared = tuple[int, Int64[np.ndarray, " B"], Batch]  # step, members of the whole batch, this process's share of it


class Stepper:
    """Takes training steps.

    Args:
        objective: what is minimised.
        diffusion: its network is trained.
        features: the training set.
        optimiser: of that network.
        ranks: the processes that share each batch.
    """

    def __init__(
        self, objective: Objective, diffusion: Diffusion, features: Features, optimiser: Optimiser, ranks: Ranks = ALONE
    ) -> None:
        self.objective, self.diffusion, self.features = objective, diffusion, features
        self.optimiser, self.ranks, self.device = optimiser, ranks, features.device
        kernel = diffusion.network.kernel if isinstance(diffusion.network, EGNN) else None
        self.records = self.device.type == "cuda" and kernel in STATIC
        self._capacity = self._first_capacity() if self.records else None
        self._batch: Batch | None = None
        self._replay = Replay(self.take, self.device, enabled=self.records)
        exact = exact_device(self.device)
        self._step = torch.zeros((), dtype=torch.int64, device=exact)
        self._outcomes = torch.zeros(REMEMBERED, 4, dtype=torch.float64, device=exact)

    def __call__(self, batch: Batch, step: int, learning_rate: float, ema_decay: float) -> None:
        """Take a step on this batch. Does not wait for the device."""
        self.load(batch, step)
        self.optimiser.set(learning_rate, ema_decay)
        self._replay()  # calls `take`, or replays its recording

    def take(self) -> None:
        """The step on the loaded batch: gradient, sum over processes, descent. All tensors stay where they are."""
        total = self.ranks.sum(self.gradient())
        outcome = self.optimiser.apply(total[:-1], total[-1])
        self._outcomes.index_copy_(0, (self._step % REMEMBERED).reshape(1), outcome[None])

    def gradient(self) -> Float[Tensor, " P_plus_1"]:
        """The gradient of this process's share of the loss by all parameters, with that share as the last element."""
        assert self._batch is not None  # noqa: S101 - cannot happen: the batch is set before
        with fast_products(self.device):
            loss = self.objective.losses(self.diffusion, self.features, self._batch, self._step).sum()
            parts = torch.autograd.grad(loss, self.optimiser.parameters)
        return torch.cat([*(part.reshape(-1) for part in parts), loss.detach().reshape(1)])

    def outcomes(self, first: int, last: int) -> Float64[np.ndarray, "steps 4"]:
        """Loss, gradient norm, largest norm allowed, and 1 if the step was taken, of steps first to last - 1.

        Waits for the device. At most REMEMBERED steps are kept.
        """
        assert last - first <= REMEMBERED  # noqa: S101 - cannot happen: the trainer asks often enough
        return self._outcomes.cpu().numpy()[np.arange(first, last) % REMEMBERED]

    def load(self, batch: Batch, step: int) -> None:
        """Put a batch where `take` reads it."""
        self._step.fill_(step)
        if not self.records:
            self._batch = batch.to(self.device)
        elif self._batch is not None and self._batch.layout.capacity == batch.layout.capacity:
            self._batch.copy_(batch)
        else:
            self.forget()
            self._batch = batch.to(self.device)

    def forget(self) -> None:
        """Drop the recorded step with the memory that it holds; the next step is recorded anew."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._batch, self._replay = None, Replay(self.take, self.device, enabled=self.records)

    def fetch(self, members: Int64[np.ndarray, " B"]) -> Shaped[Tensor, "a *C"]:
        """The atoms of this process's share of a batch. Does not touch the device; may run in several threads."""
        return self.features.fetch(members[self.ranks.share(len(members))])

    def prepare(
        self, members: Int64[np.ndarray, " B"], step: int, atoms: Shaped[Tensor, "a *C"] | None = None
    ) -> Batch:
        """This process's share of a batch, on the host, of atoms that `fetch` gave. For one thread, in order."""
        n_atoms = self.sizes(members)
        if self._capacity is not None and not self._capacity.holds(n_atoms):
            self._capacity = self._capacity.grown(n_atoms)
        batch = self.objective.batch(
            self.features, members, step, ranks=self.ranks, capacity=self._capacity, atoms=atoms
        )
        if self.records:
            batch.tensors()  # made here, so that the device does not wait for them
        return batch

    def prepared(self, step: int) -> Generator[Prepared, None, None]:
        """The batches from this step on, without end."""
        batches = self.objective.batches(self.features, step)
        fetched = map_in_threads(lambda item: (*item, self.fetch(item[1])), batches, self.features.readers)
        for number, members, atoms in fetched:
            yield number, members, self.prepare(members, number, atoms)

    def sizes(self, members: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " share"]:
        """Numbers of atoms of this process's share of a batch."""
        share: Int64[np.ndarray, " share"] = self.features.n_atoms[members[self.ranks.share(len(members))]]
        return share

    def _first_capacity(self) -> Capacity:
        """Room for the heaviest of the first batches, and for the longest if their numbers of molecules differ."""
        batches = islice(self.objective.batches(self.features, 0), _PLANNED)
        shares = [self.sizes(members) for _, members in batches]
        heaviest = max(shares, key=lambda n_atoms: int((n_atoms**2).sum()))
        if self.objective.recipe.batch_edges is None:
            return Capacity.around(heaviest)
        capacity = Capacity.around(heaviest, molecules=math.ceil(_SPARE * max(map(len, shares))))
        return reduce(Capacity.grown, shares, capacity)


class Prefetch:
    """An iterator over a stepper's batches from a step on, without end; they are prepared before they are asked for.

    Features in a file are read by a few threads, a few batches ahead; one more thread prepares what a CUDA device will
    take. In other cases a thread would gain nothing. The numbers are the same either way.

    Attributes:
        waited: seconds that the steps have waited for batches. On a GPU this is an upper bound: the device may have
            been busy meanwhile.
    """

    def __init__(self, stepper: Stepper, step: int) -> None:
        prepared = stepper.prepared(step)
        in_threads = stepper.features.readers > 1 or stepper.device.type == "cuda"
        self._batches = cast("Generator[Prepared, None, None]", ahead(prepared, _AHEAD)) if in_threads else prepared
        self.waited = 0.0

    def __iter__(self) -> Iterator[Prepared]:
        return self

    def __next__(self) -> Prepared:
        began = time.monotonic()
        batch = next(self._batches)
        self.waited += time.monotonic() - began
        return batch

    def close(self) -> None:
        """End the threads."""
        self._batches.close()
