"""One training step after another: the gradient of a batch, summed over processes, and what it does to the weights.

On a CUDA device a step is recorded once for all batches of a capacity and replayed; nothing waits for the device until
somebody looks. Elsewhere the same function runs as it is.
"""

import math
from functools import reduce
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from gaga.models.device_rng import exact_device
from gaga.models.diffusion import Diffusion
from gaga.models.network.capture import Replay
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.choose import STATIC
from gaga.models.network.kernels.products import fast_products
from gaga.models.network.layout import Capacity
from gaga.models.ranks import ALONE, Ranks
from gaga.models.training.batches import Batch
from gaga.models.training.features import Columns
from gaga.models.training.objective import Objective
from gaga.models.training.optimiser import Optimiser

REMEMBERED = 32  # steps whose loss and norm are kept until somebody looks
_PLANNED = 32  # batches that the first capacity is made for
_SPARE = 1.1  # room for molecules where batches are filled by edges


class Stepper:
    """Takes training steps.

    Args:
        objective: what is minimised.
        diffusion: its network is trained.
        columns: the training set.
        optimiser: of that network.
        ranks: the processes that share each batch.
    """

    def __init__(
        self, objective: Objective, diffusion: Diffusion, columns: Columns, optimiser: Optimiser, ranks: Ranks = ALONE
    ) -> None:
        self.objective, self.diffusion, self.columns = objective, diffusion, columns
        self.optimiser, self.ranks, self.device = optimiser, ranks, columns.device
        kernel = diffusion.network.kernel if isinstance(diffusion.network, EGNN) else None
        self.records = self.device.type == "cuda" and kernel in STATIC
        self._capacity = self._first_capacity() if self.records else None
        self._batch: Batch | None = None
        self._replay = Replay(self._whole, self.device, enabled=self.records)
        exact = exact_device(self.device)
        self._step = torch.zeros((), dtype=torch.int64, device=exact)
        self._history = torch.zeros(REMEMBERED, 4, dtype=torch.float64, device=exact)

    def read(self, members: Int64[np.ndarray, " B"]) -> Shaped[Tensor, "a *C"]:
        """What this process's share of a batch is made of. Touches no device: it may run in several threads."""
        return self.columns.read(members[self.ranks.share(len(members))])

    def prepare(
        self, members: Int64[np.ndarray, " B"], step: int, atoms: Shaped[Tensor, "a *C"] | None = None
    ) -> Batch:
        """This process's share of a batch, on the host, of what was read. May run in another thread, in order."""
        n_atoms = self.sizes(members)
        if self._capacity is not None and not self._capacity.holds(n_atoms):
            self._capacity = self._capacity.grown(n_atoms)
        batch = self.objective.batch(
            self.columns, members, step, ranks=self.ranks, capacity=self._capacity, atoms=atoms
        )
        if self.records:
            batch.tensors()  # made here, and not where the device would wait for them
        return batch

    def __call__(self, batch: Batch, step: int, learning_rate: float, ema_decay: float) -> None:
        """Take a step. Does not wait for the device."""
        self.load(batch, step)
        self.optimiser.set(learning_rate, ema_decay)
        self._replay()

    def load(self, batch: Batch, step: int) -> None:
        """Put a batch where the step reads it."""
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
        self._batch, self._replay = None, Replay(self._whole, self.device, enabled=self.records)

    def _whole(self) -> None:
        total = self.ranks.sum(self.gradient())
        outcome = self.optimiser.apply(total[:-1], total[-1])
        self._history.index_copy_(0, (self._step % REMEMBERED).reshape(1), outcome[None])

    def gradient(self) -> Float[Tensor, " P_plus_1"]:
        """The gradient of this process's share of the loss by all parameters, and that share itself, side by side."""
        assert self._batch is not None  # noqa: S101 - cannot happen: the batch is set before
        with fast_products(self.device):
            loss = self.objective.losses(self.diffusion, self.columns, self._batch, self._step).sum()
            parts = torch.autograd.grad(loss, self.optimiser.parameters)
        return torch.cat([*(part.reshape(-1) for part in parts), loss.detach().reshape(1)])

    def look(self, first: int, last: int) -> Float64[np.ndarray, "steps 4"]:
        """Loss, gradient norm, largest norm allowed and whether it was taken, of steps first to last - 1.

        Waits for the device. No more than REMEMBERED steps are kept.
        """
        assert last - first <= REMEMBERED  # noqa: S101 - cannot happen: the trainer looks every so many steps
        return self._history.cpu().numpy()[np.arange(first, last) % REMEMBERED]

    def _first_capacity(self) -> Capacity:
        """Room for the heaviest of the first batches; where their number of molecules varies, for the longest too."""
        batches = islice(self.objective.batches(self.columns, 0), _PLANNED)
        shares = [self.sizes(members) for _, members in batches]
        heaviest = max(shares, key=lambda n_atoms: int((n_atoms**2).sum()))
        if self.objective.recipe.batch_edges is None:
            return Capacity.around(heaviest)
        capacity = Capacity.around(heaviest, molecules=math.ceil(_SPARE * max(map(len, shares))))
        return reduce(Capacity.grown, shares, capacity)

    def sizes(self, members: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " share"]:
        """Numbers of atoms of this process's share of a batch."""
        share: Int64[np.ndarray, " share"] = self.columns.n_atoms[members[self.ranks.share(len(members))]]
        return share
