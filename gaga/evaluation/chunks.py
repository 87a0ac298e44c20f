"""Work on every molecule, chunk by chunk, in processes that can be stopped: finished chunks are kept as pieces."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int16

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin, Limit
from gaga.data.spread import spread
from gaga.storage.partial import PartialResults, Piece

TOOK_TOO_LONG = "time"


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some molecules with their total charges, [M]; those with an index in `skipped` took too long before."""

    molecules: PackedMolecules
    charges: Int16[np.ndarray, " M"] | None = None
    skipped: frozenset[int] = frozenset()

    def skipping(self, i: int) -> "Chunk":
        """The same chunk, with molecule i skipped too."""
        return replace(self, skipped=self.skipped | {i})

    def each(self, begin: Begin | None) -> Iterator[tuple[Any, Any, int] | None]:
        """(atomic_numbers, positions, charge) of each molecule, None if it is skipped; calls `begin(i)` before each."""
        for i in range(len(self.molecules)):
            if i in self.skipped:
                yield None
                continue
            if begin is not None:
                begin(i)
            yield *self.molecules[i], 0 if self.charges is None else int(self.charges[i])


def pieces_of(
    function: Callable[..., Piece],
    molecules: PackedMolecules,
    charges: Int16[np.ndarray, " M"] | None,
    *,
    size: int,
    worth_a_pool: int,
    workers: int | None,
    time_limit: float | None,
    kept: PartialResults,
) -> Iterator[Piece]:
    """The piece of each chunk, in order; finished ones come from `kept`, new ones are put there.

    Args:
        function: computes the arrays of a `Chunk`; its second argument is a `Begin` or None; it can be pickled.
        molecules: positions in Å.
        charges: total charges, [M]; None for 0.
        size: molecules of a chunk.
        worth_a_pool: with fewer molecules, starting processes takes longer than the work.
        workers: processes; None for one, or for all cores with at least `worth_a_pool` molecules.
        time_limit: seconds for one molecule, None for no limit. With a limit, other processes do the work.
        kept: finished pieces of these very molecules and charges.

    Raises:
        InvalidInput: fewer than one worker, or a limit of no time.
        Unavailable: a worker process ended early.
    """
    if workers is not None and workers < 1:
        raise InvalidInput("at least one worker is needed", received=workers)
    check_time_limit(time_limit)
    starts = range(0, len(molecules), size)
    members = {str(start): np.arange(start, min(start + size, len(molecules))) for start in starts}
    chunks = (
        Chunk(molecules.take(chosen), None if charges is None else charges[chosen])
        for name, chosen in members.items()
        if name not in kept
    )
    wanted = workers or ((os.cpu_count() or 1) if len(molecules) >= worth_a_pool else 1)
    limit = None if time_limit is None else Limit(time_limit, Chunk.skipping)
    with closing(spread(function, chunks, min(wanted, max(1, len(starts))), worth=0, limit=limit)) as new:
        for name in members:
            piece = kept.get(name)
            if piece is None:
                piece = next(new)
                kept.put(name, piece)
            yield piece


def check_time_limit(seconds: float | None) -> None:
    """Reject a limit of no time.

    Raises:
        InvalidInput: the limit is 0, negative or NaN.
    """
    if seconds is not None and not seconds > 0:
        raise InvalidInput("the time for a molecule is more than nothing", received=seconds)


def as_text(lines: Iterable[str]) -> Any:
    """Lines as an array of a piece: UTF-8 with a line end between any two."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def lines_of(text: Any) -> list[str]:
    """The lines that `as_text` made an array of; no lines come back as one that is empty."""
    return str(text.tobytes().decode()).split("\n")
