"""Several processes that work as one: which of them this is, and what they say to each other (torch.distributed)."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gaga.base.errors import Unavailable


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

    def connect(self, device: torch.device, timeout_s: float = 600.0) -> None:
        """Join the others; what each of them then waits for is given up after `timeout_s`.

        Raises:
            Unavailable: the others could not be reached.
        """
        if self.size == 1 or torch.distributed.is_initialized():
            return
        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            torch.distributed.init_process_group(
                backend, rank=self.rank, world_size=self.size, timeout=datetime.timedelta(seconds=timeout_s)
            )
        except (RuntimeError, ValueError) as error:
            raise Unavailable(
                f"rank {self.rank} of {self.size} could not reach the others: {error}",
                remedy="start them together with torchrun --nproc-per-node=N -m gaga ...",
            ) from error

    def sum(self, value: Tensor) -> Tensor:
        """The sum of everyone's tensor, in place.

        Raises:
            Unavailable: another process has ended or does not answer.
        """
        if self.size > 1:
            with _someone_missing(self):
                torch.distributed.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether it is so for anyone; until everyone has said.

        Raises:
            Unavailable: another process has ended or does not answer.
        """
        return bool(self.sum(torch.tensor(int(flag)))) if self.size > 1 else flag

    def wait(self) -> None:
        """Until everyone is here.

        Raises:
            Unavailable: another process has ended or does not answer.
        """
        if self.size > 1:
            with _someone_missing(self):
                torch.distributed.barrier()


@contextmanager
def _someone_missing(ranks: Ranks) -> Iterator[None]:
    """Turns what torch.distributed raises into one line."""
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0].partition("] ")[2].split(". ")[0] or error  # behind torch's line of source
        raise Unavailable(
            f"rank {ranks.rank} of {ranks.size} lost the others: {why}",
            remedy="the same command with --resume goes on from what was saved last",
        ) from error
