"""The batches of a training run in their order, made ahead where that takes time; how long steps waited for them."""

import time
from collections.abc import Generator, Iterator
from typing import cast

import numpy as np
from jaxtyping import Int64

from gaga.core.threads import ahead, map_in_threads
from gaga.models.training.batches import Batch
from gaga.models.training.step import Stepper

_AHEAD = 4  # batches that are ready beside those that are being read
Fed = tuple[int, Int64[np.ndarray, " B"], Batch]  # step, members of the whole batch, this process's share of it


class Feed:
    """An iterator over batches from a step on, without end.

    Columns that are read from a file are read by a few threads, a few batches ahead; what a device is to take is put
    together in one thread more. Otherwise nothing is worth a thread. The numbers are the same either way.

    Attributes:
        waited: seconds that the steps waited for batches so far. What a GPU still had to do meanwhile is not counted
            off, so that for one this is the most that it waited.
    """

    def __init__(self, stepper: Stepper, step: int) -> None:
        columns = stepper.columns
        prepared = _prepared(stepper, step)
        in_threads = columns.readers > 1 or stepper.device.type == "cuda"
        self._batches = cast("Generator[Fed, None, None]", ahead(prepared, _AHEAD)) if in_threads else prepared
        self.waited = 0.0

    def __iter__(self) -> Iterator[Fed]:
        return self

    def __next__(self) -> Fed:
        began = time.monotonic()
        batch = next(self._batches)
        self.waited += time.monotonic() - began
        return batch

    def close(self) -> None:
        """End the threads."""
        self._batches.close()


def _prepared(stepper: Stepper, step: int) -> Generator[Fed, None, None]:
    steps = stepper.objective.batches(stepper.columns, step)
    read = map_in_threads(lambda item: (*item, stepper.read(item[1])), steps, stepper.columns.readers)
    for number, members, atoms in read:
        yield number, members, stepper.prepare(members, number, atoms)
