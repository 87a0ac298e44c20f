"""Jobs on every molecule: chunk by chunk, in processes that can be stopped, resumed from the finished chunks."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Int16

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin, Limit, Workers
from gaga.storage.partial import PartialResults, Piece

Result = TypeVar("Result")

TOOK_TOO_LONG = "time"
_REMEDY = (
    "run it again (`resume=True` continues it); in a script, call this under "
    '`if __name__ == "__main__":`, or pass workers=1'
)


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


@dataclass(frozen=True, kw_only=True)
class Job(Generic[Result]):
    """What is computed of each chunk, and how.

    Attributes:
        function: computes a chunk's result from a `Chunk` and a `Begin` or None; it can be pickled.
        size: molecules of a chunk.
        to_piece: the arrays that are kept of a result.
        from_piece: the result from these arrays.
        workers: processes; None for one, or for all cores with at least `worth_a_pool` molecules.
        worth_a_pool: with fewer molecules, starting processes takes longer than the job.
        time_limit: seconds for one molecule, None for no limit. With a limit, other processes do the work.

    Raises:
        InvalidInput: fewer than one worker, or a limit of no time.
    """

    function: Callable[..., Result]
    size: int
    to_piece: Callable[[Result], Piece]
    from_piece: Callable[[Piece], Result]
    workers: int | None
    worth_a_pool: int
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InvalidInput("at least one worker is needed", received=self.workers)
        if self.time_limit is not None and not self.time_limit > 0:
            raise InvalidInput("the time for a molecule is more than nothing", received=self.time_limit)

    def results(
        self, molecules: PackedMolecules, charges: Int16[np.ndarray, " M"] | None, pieces: PartialResults
    ) -> Iterator[Result]:
        """The results of the chunks in their order; finished ones come from `pieces`, new ones are put there.

        Args:
            molecules: positions in Å.
            charges: total charges, [M]; None for 0.
            pieces: finished chunks of these very molecules and charges.

        Raises:
            Unavailable: a worker process ended early.
        """
        names = {start: str(start) for start in range(0, len(molecules), self.size)}
        chunks = (self._chunk(molecules, charges, start) for start, name in names.items() if name not in pieces)
        with closing(self._run(chunks, min(self._processes(len(molecules)), max(1, len(names))))) as new:
            for name in names.values():
                piece = pieces.get(name)
                result = next(new) if piece is None else self.from_piece(piece)
                if piece is None:
                    pieces.put(name, self.to_piece(result))
                yield result

    def _processes(self, n_molecules: int) -> int:
        return self.workers or ((os.cpu_count() or 1) if n_molecules >= self.worth_a_pool else 1)

    def _chunk(self, molecules: PackedMolecules, charges: Int16[np.ndarray, " M"] | None, start: int) -> Chunk:
        chosen = np.arange(start, min(start + self.size, len(molecules)))
        return Chunk(molecules.take(chosen), None if charges is None else charges[chosen])

    def _run(self, chunks: Iterable[Chunk], processes: int) -> Generator[Result]:
        if processes == 1 and self.time_limit is None:
            yield from map(self.function, chunks)
            return
        limit = None if self.time_limit is None else Limit(self.time_limit, Chunk.skipping)
        with Workers[Chunk, Result](self.function, processes, remedy=_REMEDY, limit=limit) as workers:
            yield from workers.map(chunks)
