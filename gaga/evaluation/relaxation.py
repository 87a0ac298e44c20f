"""How far molecules are from the next minimum of GFN2-xTB: the sharp test of geometry."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int64

from gaga.chem import xtb
from gaga.chem.geometry import aligned_rmsd
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin
from gaga.core.progress import Progress, silent
from gaga.core.statistics import Interval
from gaga.evaluation.drawn import NOT_VALID, SAMPLE_SIZE, draw, perceived_and_valid
from gaga.evaluation.parts import TOOK_TOO_LONG, Task, Work, n_processes
from gaga.evaluation.rates import LEVEL, N_RESAMPLES, Rate, bootstrap_rate
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

TIME_LIMIT = 600.0
"""Seconds for one molecule; a drug-like one takes 1 to 10."""

_GRACE = 60.0  # seconds that a worker has beyond what it gives the program
_CHUNK = 2
_WORTH_A_POOL = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Relaxation:
    """Relaxation of S molecules drawn from M, at the charge of each and with as few unpaired electrons as there can be.

    Attributes:
        n_molecules: M.
        indices: numbers of the S among the M, [S].
        valid: by the strict protocol, [S]; what is not is not relaxed.
        energies: GFN2 energy given less relaxed, [S]; NaN where not relaxed.
        rmsds: root-mean-square distance of all atoms before and after, superimposed, [S]; NaN where not relaxed.
        reasons: why not relaxed, empty where relaxed.
        relaxed: molecules relaxed, of all drawn.
        median_energy, mean_energy: with bootstrap intervals over the molecules relaxed.
        median_rmsd, mean_rmsd: the same.
        seed: of the draw and the bootstrap.
    """

    n_molecules: int
    indices: Int64[np.ndarray, " S"]
    valid: Bool[np.ndarray, " S"]
    energies: Float64[np.ndarray, " S"] = field(metadata={"unit": "kcal/mol"})
    rmsds: Float64[np.ndarray, " S"] = field(metadata={"unit": "Å"})
    reasons: tuple[str, ...]
    relaxed: Rate
    median_energy: Interval
    mean_energy: Interval
    median_rmsd: Interval
    mean_rmsd: Interval
    seed: int


class _One(NamedTuple):
    """One molecule's fate."""

    valid: bool
    energy: float
    rmsd: float
    reason: str


def relax_molecules(
    molecules: PackedMolecules,
    *,
    charges: Int16[np.ndarray, " M"] | None = None,
    sample_size: int = SAMPLE_SIZE,
    seed: int = 0,
    workers: int | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> Relaxation:
    """Relaxation energies of a sample of molecules by the program xtb; one thread for each process.

    Args:
        molecules: positions in Å.
        charges: total charges, [M]; None for 0.
        sample_size: at most so many of them are drawn.
        seed: of the draw and the bootstrap.
        workers: processes; all cores if None.
        time_limit: seconds for one molecule, after which it is not relaxed.
        progress, pieces: as `judge` takes them.

    Raises:
        InvalidInput: no molecules, a sample of none, or no time.
        Unavailable: the program xtb is not installed, or a worker process ended early.
    """
    xtb.require()
    if not time_limit > 0:
        raise InvalidInput("the time for a molecule is more than nothing", received=time_limit)
    drawn = draw(molecules, sample_size, seed, charges)
    work = Work(
        function=_Relax(time_limit),
        size=_CHUNK,
        as_piece=_as_piece,
        of_piece=_of_piece,
        processes=n_processes(workers, worth_it=len(drawn.indices) >= _WORTH_A_POOL),
        time_limit=time_limit + _GRACE,
    )
    found: list[_One] = []
    for part in work.results(drawn.molecules, drawn.charges, pieces):
        found.extend(part)
        progress(len(found), len(drawn.indices))
    return _summary(found, drawn.n_molecules, drawn.indices, seed)


@dataclass(frozen=True)
class _Relax:
    """Relaxes the molecules of a task."""

    time_limit: float

    def __call__(self, task: Task, begin: Begin | None = None) -> list[_One]:
        return [self._one(molecule) for molecule in task.each(begin)]

    def _one(self, molecule: tuple[Any, Any, int] | None) -> _One:
        if molecule is None:
            return _One(True, np.nan, np.nan, TOOK_TOO_LONG)
        numbers, positions, charge = molecule
        if perceived_and_valid(numbers, positions, charge) is None:
            return _One(False, np.nan, np.nan, NOT_VALID)
        try:
            relaxed = xtb.relax(numbers, positions, charge=charge, timeout_s=self.time_limit)
        except xtb.NotRelaxed as error:
            return _One(True, np.nan, np.nan, TOOK_TOO_LONG if error.reason == xtb.TOO_SLOW else error.reason)
        return _One(True, relaxed.relaxation_energy, aligned_rmsd(positions, relaxed.positions), "")


def _summary(found: list[_One], n_molecules: int, indices: Int64[np.ndarray, " S"], seed: int) -> Relaxation:
    rng, every = np.random.default_rng(seed), np.ones(len(found), dtype=np.int64)
    energies, rmsds = np.array([one.energy for one in found]), np.array([one.rmsd for one in found])
    there = np.isfinite(energies)
    return Relaxation(
        n_molecules=n_molecules,
        indices=indices,
        valid=np.array([one.valid for one in found], dtype=bool),
        energies=energies,
        rmsds=rmsds,
        reasons=tuple(one.reason for one in found),
        relaxed=bootstrap_rate(there, every, "molecules drawn", rng),
        median_energy=_interval(energies[there], np.median, rng),
        mean_energy=_interval(energies[there], np.mean, rng),
        median_rmsd=_interval(rmsds[there], np.median, rng),
        mean_rmsd=_interval(rmsds[there], np.mean, rng),
        seed=seed,
    )


def _interval(values: Float64[np.ndarray, " R"], statistic: Any, rng: np.random.Generator) -> Interval:
    """A statistic of molecules with its percentile-bootstrap interval over them; NaN for no molecules."""
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, LEVEL)
    resampled = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(N_RESAMPLES)]
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(statistic(values)), float(low), float(high), LEVEL)


def _as_piece(found: list[_One]) -> Piece:
    return {
        "valid": np.array([one.valid for one in found], dtype=bool),
        "energies": np.array([one.energy for one in found], dtype=np.float64),
        "rmsds": np.array([one.rmsd for one in found], dtype=np.float64),
        "reasons": np.frombuffer("\n".join(one.reason for one in found).encode(), dtype=np.uint8),
    }


def _of_piece(piece: Piece) -> list[_One]:
    columns = (piece["valid"].tolist(), piece["energies"].tolist(), piece["rmsds"].tolist())
    return [_One(*row) for row in zip(*columns, piece["reasons"].tobytes().decode().split("\n"), strict=True)]
