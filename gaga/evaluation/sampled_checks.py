"""Checks that take seconds a molecule, on a sample: PoseBusters' checks, and relaxation at GFN2-xTB.

How far a molecule is from the next minimum of GFN2-xTB is the sharp test of its geometry.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int64

from gaga.chem import xtb
from gaga.chem.geometry import aligned_rmsd
from gaga.chem.poses import check_pose, require_posebusters
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin
from gaga.core.progress import Progress, silent
from gaga.core.statistics import Interval
from gaga.evaluation.config import SAMPLE_SIZE
from gaga.evaluation.rates import LEVEL, N_RESAMPLES, Rate, bootstrap_rate
from gaga.evaluation.timed_jobs import TOOK_TOO_LONG, Chunk, Job
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

POSES_TIME_LIMIT, RELAXATION_TIME_LIMIT = 300.0, 600.0
"""Seconds for one molecule: of PoseBusters most are for conformers; xtb takes 1 to 10 for a drug-like molecule."""

_GRACE = 60.0  # seconds that a worker has beyond what it gives the program xtb


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseChecks:
    """PoseBusters on S molecules drawn from M.

    Attributes:
        n_molecules: M.
        indices: indices of the S among the M, ascending, [S].
        valid: by the strict protocol, [S]; others have no bonds to check and fail all.
        checks: the names of PoseBusters' C checks.
        passed: [S, C].
        passes_all: molecules that pass all checks, of all drawn.
        rates: molecules that pass each check, of the valid ones drawn.
        seed: of the draw and the bootstrap.
        posebusters: version of the package.
    """

    n_molecules: int
    indices: Int64[np.ndarray, " S"]
    valid: Bool[np.ndarray, " S"]
    checks: tuple[str, ...]
    passed: Bool[np.ndarray, "S C"]
    passes_all: Rate
    rates: tuple[Rate, ...]
    seed: int
    posebusters: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Relaxation:
    """Relaxation of S molecules drawn from M, at the charge of each and with as few unpaired electrons as possible.

    Attributes:
        n_molecules: M.
        indices: indices of the S among the M, ascending, [S].
        valid: by the strict protocol, [S]; others are not relaxed.
        energies: GFN2 energy given less relaxed, [S]; NaN if not relaxed.
        rmsds: root-mean-square distance of all atoms before and after, superimposed, [S]; NaN if not relaxed.
        reasons: why not relaxed, empty if relaxed.
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


def check_poses(
    molecules: PackedMolecules,
    *,
    charges: Int16[np.ndarray, " M"] | None = None,
    sample_size: int = SAMPLE_SIZE,
    seed: int = 0,
    workers: int | None = None,
    time_limit: float = POSES_TIME_LIMIT,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> PoseChecks:
    """PoseBusters' checks without a receptor, on molecules whose bonds the strict protocol perceives.

    Args:
        molecules: positions in Å.
        charges: total charges, [M]; None for 0.
        sample_size: the largest number of molecules that are drawn.
        seed: of the draw and the bootstrap.
        workers: processes; all cores if None.
        time_limit: seconds for one molecule, which then fails.
        progress, pieces: as `judge` takes them.

    Raises:
        InvalidInput: no molecules, a sample of none, or no time.
        Unavailable: the package posebusters is not installed, or a worker process ended early.
    """
    version = require_posebusters()
    job = Job(
        function=partial(_check_each, _pose),
        size=4,
        to_piece=_poses_to_piece,
        from_piece=_poses_from_piece,
        workers=workers,
        worth_a_pool=8,
        time_limit=time_limit,
    )
    indices = drawn(molecules, sample_size, seed)
    found = _check_sample(job, molecules, charges, indices, progress, pieces)
    return _poses(found, len(molecules), indices, seed, version)


def relax_molecules(
    molecules: PackedMolecules,
    *,
    charges: Int16[np.ndarray, " M"] | None = None,
    sample_size: int = SAMPLE_SIZE,
    seed: int = 0,
    workers: int | None = None,
    time_limit: float = RELAXATION_TIME_LIMIT,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> Relaxation:
    """Relaxation energies of a sample of molecules by the program xtb, with one thread for each process.

    Args:
        molecules, charges, sample_size, seed, workers, progress, pieces: as `check_poses` takes them.
        time_limit: seconds for one molecule, which then is not relaxed.

    Raises:
        InvalidInput: no molecules, a sample of none, or no time.
        Unavailable: the program xtb is not installed, or a worker process ended early.
    """
    xtb.require()
    if not time_limit > 0:
        raise InvalidInput("the time for a molecule is more than nothing", received=time_limit)
    job = Job(
        function=partial(_check_each, partial(_relax, time_limit)),
        size=2,
        to_piece=_relaxed_to_piece,
        from_piece=_relaxed_from_piece,
        workers=workers,
        worth_a_pool=4,
        time_limit=time_limit + _GRACE,
    )
    indices = drawn(molecules, sample_size, seed)
    found = _check_sample(job, molecules, charges, indices, progress, pieces)
    return _relaxation(found, len(molecules), indices, seed)


def drawn(molecules: PackedMolecules, sample_size: int, seed: int) -> Int64[np.ndarray, " S"]:
    """The indices of a sample, ascending; a larger sample of the same seed contains the smaller ones.

    Raises:
        InvalidInput: no molecules, or a sample of none.
    """
    if sample_size < 1:
        raise InvalidInput("a sample has molecules", received=sample_size)
    if not molecules.n_atoms.any():
        raise InvalidInput("there are no molecules to look at")
    return np.sort(np.random.default_rng(seed).permutation(len(molecules))[:sample_size])


def _check_sample(
    job: Job[list[Any]],
    molecules: PackedMolecules,
    charges: Int16[np.ndarray, " M"] | None,
    indices: Int64[np.ndarray, " S"],
    progress: Progress,
    pieces: PartialResults,
) -> list[Any]:
    """What the job finds of each of the molecules with these indices."""
    found: list[Any] = []
    given = np.zeros(len(indices), dtype=np.int16) if charges is None else charges[indices]
    for part in job.results(molecules.take(indices), given, pieces):
        found.extend(part)
        progress(len(found), len(indices))
    return found


def _check_each(check: Callable[..., Any], chunk: Chunk, begin: Begin | None = None) -> list[Any]:
    """What `check` says of the numbers, positions, charge and molecule (with bonds, None if not valid) of each.

    It is called without any of these if the molecule took too long.
    """
    return [check() if each is None else check(*each, _valid(*each)) for each in chunk.each(begin)]


def _valid(numbers: Any, positions: Any, charge: int) -> Any:
    """The molecule of that total charge with bonds, by the strict protocol; None if it is not valid."""
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived

    molecule = perceive(numbers, positions, charge=charge)
    return molecule if molecule is not None and judge_perceived(molecule).valid else None


_Poses = dict[str, bool] | None
"""The answers of PoseBusters' checks of one molecule: none if it took too long; None if it is not valid."""


def _pose(*each: Any) -> _Poses:
    if not each:
        return {}
    return None if each[3] is None else check_pose(each[3])


def _poses(
    found: list[_Poses], n_molecules: int, indices: Int64[np.ndarray, " S"], seed: int, version: str
) -> PoseChecks:
    rng, every = np.random.default_rng(seed), np.ones(len(found), dtype=np.int64)
    checks = tuple(dict.fromkeys(name for each in found for name in each or ()))
    passed = np.array([[bool(each and each.get(name)) for name in checks] for each in found], dtype=bool)
    passed = passed.reshape(len(found), len(checks))
    valid = np.array([each is not None for each in found], dtype=bool)
    everything = np.array([bool(checks) and bool(row.all()) for row in passed], dtype=bool)
    return PoseChecks(
        n_molecules=n_molecules,
        indices=indices,
        valid=valid,
        checks=checks,
        passed=passed,
        passes_all=bootstrap_rate(everything, every, "molecules drawn", rng),
        rates=tuple(bootstrap_rate(column, valid, "valid molecules drawn", rng) for column in passed.T),
        seed=seed,
        posebusters=version,
    )


def _poses_to_piece(found: list[_Poses]) -> Piece:
    """For each molecule its validity and the number of its checks; then names and answers of all checks."""
    return {
        "valid": np.array([each is not None for each in found], dtype=bool),
        "n_checks": np.array([len(each or ()) for each in found], dtype=np.int64),
        "checks": _text(name for each in found for name in each or ()),
        "passed": np.array([answer for each in found for answer in (each or {}).values()], dtype=bool),
    }


def _poses_from_piece(piece: Piece) -> list[_Poses]:
    answers = iter(zip(_lines(piece["checks"]), piece["passed"].tolist(), strict=False))
    return [
        {name: answer for _, (name, answer) in zip(range(n), answers, strict=False)} if valid else None
        for valid, n in zip(piece["valid"].tolist(), piece["n_checks"].tolist(), strict=True)
    ]


class _Relaxed(NamedTuple):
    """One molecule: energy gained in kcal/mol and RMSD in Å, NaN if it is not relaxed, and then why."""

    valid: bool
    energy: float
    rmsd: float
    reason: str


def _relax(time_limit: float, *each: Any) -> _Relaxed:
    if not each:
        return _Relaxed(True, np.nan, np.nan, TOOK_TOO_LONG)
    numbers, positions, charge, molecule = each
    if molecule is None:
        return _Relaxed(False, np.nan, np.nan, "not valid")
    try:
        relaxed = xtb.relax(numbers, positions, charge=charge, timeout_s=time_limit)
    except xtb.NotRelaxed as error:
        return _Relaxed(True, np.nan, np.nan, TOOK_TOO_LONG if error.reason == xtb.TOO_SLOW else error.reason)
    return _Relaxed(True, relaxed.relaxation_energy, aligned_rmsd(positions, relaxed.positions), "")


def _relaxation(found: list[_Relaxed], n_molecules: int, indices: Int64[np.ndarray, " S"], seed: int) -> Relaxation:
    rng, every = np.random.default_rng(seed), np.ones(len(found), dtype=np.int64)
    energies, rmsds = np.array([one.energy for one in found]), np.array([one.rmsd for one in found])
    known = np.isfinite(energies)
    return Relaxation(
        n_molecules=n_molecules,
        indices=indices,
        valid=np.array([one.valid for one in found], dtype=bool),
        energies=energies,
        rmsds=rmsds,
        reasons=tuple(one.reason for one in found),
        relaxed=bootstrap_rate(known, every, "molecules drawn", rng),
        median_energy=_interval(energies[known], np.median, rng),
        mean_energy=_interval(energies[known], np.mean, rng),
        median_rmsd=_interval(rmsds[known], np.median, rng),
        mean_rmsd=_interval(rmsds[known], np.mean, rng),
        seed=seed,
    )


def _interval(values: Float64[np.ndarray, " R"], statistic: Any, rng: np.random.Generator) -> Interval:
    """A statistic of molecules with its percentile-bootstrap interval over them; NaN for no molecules."""
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, LEVEL)
    resampled = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(N_RESAMPLES)]
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(statistic(values)), float(low), float(high), LEVEL)


def _relaxed_to_piece(found: list[_Relaxed]) -> Piece:
    return {
        "valid": np.array([one.valid for one in found], dtype=bool),
        "energies": np.array([one.energy for one in found], dtype=np.float64),
        "rmsds": np.array([one.rmsd for one in found], dtype=np.float64),
        "reasons": _text(one.reason for one in found),
    }


def _relaxed_from_piece(piece: Piece) -> list[_Relaxed]:
    columns = (piece["valid"].tolist(), piece["energies"].tolist(), piece["rmsds"].tolist())
    return [_Relaxed(*row) for row in zip(*columns, _lines(piece["reasons"]), strict=True)]


def _text(lines: Any) -> Any:
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def _lines(text: Any) -> list[str]:
    return str(text.tobytes().decode()).split("\n")
