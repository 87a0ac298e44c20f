"""PoseBusters' checks of a sample of molecules: how many pass each, and all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int16, Int64

from gaga.chem.poses import check_pose, require_posebusters
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin
from gaga.core.progress import Progress, silent
from gaga.evaluation.drawn import SAMPLE_SIZE, draw, perceived_and_valid
from gaga.evaluation.parts import Task, Work, n_processes
from gaga.evaluation.rates import Rate, bootstrap_rate
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

TIME_LIMIT = 300.0
"""Seconds for one molecule; its conformers are the most of them."""

_CHUNK = 4
_WORTH_A_POOL = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseChecks:
    """PoseBusters on S molecules drawn from M.

    Attributes:
        n_molecules: M.
        indices: numbers of the S among the M, [S].
        valid: by the strict protocol, [S]; what is not has no bonds to check and fails all.
        checks: the names of PoseBusters' checks.
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


def check_poses(
    molecules: PackedMolecules,
    *,
    charges: Int16[np.ndarray, " M"] | None = None,
    sample_size: int = SAMPLE_SIZE,
    seed: int = 0,
    workers: int | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> PoseChecks:
    """PoseBusters' checks without a receptor, on molecules whose bonds are perceived by the strict protocol.

    Args:
        molecules: positions in Å.
        charges: total charges, [M]; None for 0.
        sample_size: at most so many of them are drawn.
        seed: of the draw and the bootstrap.
        workers: processes; all cores if None.
        time_limit: seconds for one molecule, after which it fails.
        progress, pieces: as `judge` takes them.

    Raises:
        InvalidInput: no molecules, or a sample of none.
        Unavailable: the package posebusters is not installed, or a worker process ended early.
    """
    version = require_posebusters()
    drawn = draw(molecules, sample_size, seed, charges)
    work = Work(
        function=_check_part,
        size=_CHUNK,
        as_piece=_as_piece,
        of_piece=_of_piece,
        processes=n_processes(workers, worth_it=len(drawn.indices) >= _WORTH_A_POOL),
        time_limit=time_limit,
    )
    found: list[dict[str, bool] | None] = []
    for part in work.results(drawn.molecules, drawn.charges, pieces):
        found.extend(part)
        progress(len(found), len(drawn.indices))
    return _summary(found, drawn.n_molecules, drawn.indices, seed, version)


def _check_part(task: Task, begin: Begin | None = None) -> list[dict[str, bool] | None]:
    """What each check says of each molecule: nothing where one took too long, None where one is not valid."""
    return [{} if molecule is None else _check(*molecule) for molecule in task.each(begin)]


def _check(numbers: Any, positions: Any, charge: int) -> dict[str, bool] | None:
    molecule = perceived_and_valid(numbers, positions, charge)
    return None if molecule is None else check_pose(molecule)


def _summary(
    found: list[dict[str, bool] | None], n_molecules: int, indices: Int64[np.ndarray, " S"], seed: int, version: str
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


def _as_piece(found: list[dict[str, bool] | None]) -> Piece:
    """For each molecule its validity, the number of its checks, and these: names and answers one after another."""
    names = "\n".join(name for each in found for name in each or ())
    return {
        "valid": np.array([each is not None for each in found], dtype=bool),
        "n_checks": np.array([len(each or ()) for each in found], dtype=np.int64),
        "checks": np.frombuffer(names.encode(), dtype=np.uint8),
        "passed": np.array([answer for each in found for answer in (each or {}).values()], dtype=bool),
    }


def _of_piece(piece: Piece) -> list[dict[str, bool] | None]:
    names = piece["checks"].tobytes().decode().split("\n")
    answers = iter(zip(names, piece["passed"].tolist(), strict=False))
    return [
        {name: answer for _, (name, answer) in zip(range(n), answers, strict=False)} if valid else None
        for valid, n in zip(piece["valid"].tolist(), piece["n_checks"].tolist(), strict=True)
    ]
