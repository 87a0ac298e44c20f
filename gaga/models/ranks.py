"""Several processes that work as one: which of them this is, and what they exchange (torch.distributed)."""

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from gaga.core.errors import GagaError, Unavailable

T = TypeVar("T")


class RankLost(Unavailable):
    """Another process of the same run has ended or does not answer."""


@dataclass(frozen=True)
class Ranks:
    """This process among `size` that were started together; `rank` 0 speaks for all.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        local_rank: number of this process on its machine, which is its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's share of n things: every size-th; the first of them if there are too few for all."""
        return slice(self.rank, None, self.size) if self.rank < n else slice(0, 1)

    def connect(self, device: torch.device, timeout_s: float = 600.0) -> None:
        """Join the others; each of them waits for another at most `timeout_s`.

        Raises:
            Unavailable: the others could not be reached.
        """
        if self.size == 1 or torch.distributed.is_initialized():
            return
        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            torch.distributed.init_process_group(
                backend, rank=self.rank, world_size=self.size, timeout=datetime.timedelta(seconds=timeout_s),
                device_id=device if device.type == "cuda" else None,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            raise Unavailable(
                f"rank {self.rank} of {self.size} could not reach the others: {error}",
                remedy="start them together with torchrun --nproc-per-node=N -m gaga ...",
            ) from error

    def sum(self, value: Tensor) -> Tensor:
        """The sum of everyone's tensor, in place.

        Raises:
            RankLost: another process has ended or does not answer.
        """
        if self.size > 1:
            with _someone_missing(self):
                torch.distributed.all_reduce(value)
        return value

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Rank 0's numbers for everyone's tensors, in place.

        Raises:
            RankLost: another process has ended or does not answer.
        """
        if self.size > 1:
            with _someone_missing(self):
                for tensor in tensors:
                    torch.distributed.broadcast(tensor.detach(), 0)

    def from_first(self, compute: Callable[[], T]) -> T:
        """What rank 0 computes; everyone gets it, or raises the error that rank 0 met.

        Raises:
            RankLost: another process has ended or does not answer.
        """
        if self.size == 1:
            return compute()
        shared: list[Any] = [None]
        if self.first:
            try:
                shared = [compute()]
            except GagaError as error:
                shared = [error]
        with _someone_missing(self):
            torch.distributed.broadcast_object_list(shared, 0)
        if isinstance(shared[0], GagaError):
            shared[0].reported = not self.first
            raise shared[0]
        answer: T = shared[0]
        return answer

    def wait(self) -> None:
        """Until everyone is here.

        Raises:
            RankLost: another process has ended or does not answer.
        """
        if self.size > 1:
            with _someone_missing(self):
                torch.distributed.barrier()

    @contextmanager
    def together(self, device: torch.device, timeout_s: float = 600.0) -> Iterator[None]:
        """Open the process group for the block.

        If the block fails, the other ranks fail at their next collective (CPU), or when this process exits (GPU).

        Raises:
            Unavailable: the others could not be reached.
        """
        self.connect(device, timeout_s)
        try:
            yield
        except BaseException:
            if self.size > 1 and device.type != "cuda":  # else its threads abort the process at its end; NCCL may wait
                with suppress(RuntimeError):
                    torch.distributed.destroy_process_group()
            raise
        if self.size > 1:
            torch.distributed.destroy_process_group()


ALONE = Ranks()


@contextmanager
def _someone_missing(ranks: Ranks) -> Iterator[None]:
    """Turn what torch.distributed raises into one line, without gloo's source file and its advice."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^\]]*\] *", "", str(error).splitlines()[0]).split(". ")[0]
        raise RankLost(
            f"rank {ranks.rank} of {ranks.size} lost the others",
            received=reason.rstrip("."),
            remedy="if none of them says why, repeat it with `resume=True`: it continues from what was saved last",
        ) from error
