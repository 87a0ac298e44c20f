"""Work on every molecule, part by part, in processes that can be ended, from pieces where they are there."""

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
class Task:
    """Molecules to look at, with total charges [M]; those of the numbers in `given_up` have taken too long before."""

    molecules: PackedMolecules
    charges: Int16[np.ndarray, " M"] | None = None
    given_up: frozenset[int] = frozenset()

    def without(self, i: int) -> "Task":
        """The same with one more given up."""
        return replace(self, given_up=self.given_up | {i})

    def each(self, begin: Begin | None) -> Iterator[tuple[Any, Any, int] | None]:
        """Each molecule's (atomic_numbers, positions, charge), or None if it is given up; `begin` is called before."""
        for i in range(len(self.molecules)):
            if i in self.given_up:
                yield None
                continue
            if begin is not None:
                begin(i)
            yield *self.molecules[i], 0 if self.charges is None else int(self.charges[i])


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Result]):
    """What is done with each part, and how.

    Attributes:
        function: does it, with a `Task` and a `Begin` or None; it can be pickled.
        size: molecules of a part.
        as_piece: what is kept of a result.
        of_piece: the result again.
        processes: how many; this one alone does it for 1 without a time limit.
        time_limit: seconds for one molecule, None for as long as it takes.
    """

    function: Callable[..., Result]
    size: int
    as_piece: Callable[[Result], Piece]
    of_piece: Callable[[Piece], Result]
    processes: int
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit > 0:
            raise InvalidInput("the time for a molecule is more than nothing", received=self.time_limit)

    def results(
        self, molecules: PackedMolecules, charges: Int16[np.ndarray, " M"] | None, pieces: PartialResults
    ) -> Iterator[Result]:
        """The parts in their order: from the pieces where they are there, else new, and then put there.

        Args:
            molecules: positions in Å.
            charges: total charges, [M]; None for 0.
            pieces: of these very molecules and charges.

        Raises:
            Unavailable: a worker process ended early.
        """
        names = {start: str(start) for start in range(0, len(molecules), self.size)}
        tasks = (self._task(molecules, charges, start) for start, name in names.items() if name not in pieces)
        with closing(self._run(tasks, min(self.processes, max(1, len(names))))) as new:
            for name in names.values():
                piece = pieces.get(name)
                result = next(new) if piece is None else self.of_piece(piece)
                if piece is None:
                    pieces.put(name, self.as_piece(result))
                yield result

    def _task(self, molecules: PackedMolecules, charges: Int16[np.ndarray, " M"] | None, start: int) -> Task:
        chosen = np.arange(start, min(start + self.size, len(molecules)))
        return Task(molecules.take(chosen), None if charges is None else charges[chosen])

    def _run(self, tasks: Iterable[Task], processes: int) -> Generator[Result]:
        if processes == 1 and self.time_limit is None:
            yield from map(self.function, tasks)
            return
        limit = None if self.time_limit is None else Limit(self.time_limit, Task.without)
        with Workers[Task, Result](self.function, processes, remedy=_REMEDY, limit=limit) as workers:
            yield from workers.map(tasks)


def n_processes(workers: int | None, *, worth_it: bool) -> int:
    """How many processes: so many as asked for, else all cores where starting them is worth it.

    Raises:
        InvalidInput: fewer than one.
    """
    if workers is not None and workers < 1:
        raise InvalidInput("at least one worker is needed", received=workers)
    if workers is None:
        return (os.cpu_count() or 1) if worth_it else 1
    return workers
