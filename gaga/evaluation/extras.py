"""Checks that take seconds a molecule, of a sample: PoseBusters' checks, and relaxation at GFN2-xTB.

How far a molecule is from the next minimum of GFN2-xTB is the sharp test of its geometry. `EXTRAS` lists the checks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int64

from gaga.chem import xtb
from gaga.chem.geometry import aligned_rmsd
from gaga.chem.poses import check_pose, require_posebusters
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin
from gaga.core.progress import Progress, silent
from gaga.core.statistics import Interval, interval_of
from gaga.evaluation.chunks import TOOK_TOO_LONG, Chunk, as_text, check_time_limit, lines_of, pieces_of
from gaga.evaluation.config import SAMPLE_SIZE
from gaga.evaluation.rates import Rate, bootstrap_rate
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece


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


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A check of a sample.

    Attributes:
        result: the class of its result.
        require: the program and its version; raises `Unavailable` if it is not installed.
        time_limit: seconds for one molecule, by default.
        grace: seconds that a process has beyond those that it gives the program.
        size: molecules of a chunk.
        check: from the time limit and the numbers, positions, charge and molecule (with bonds, None if not valid) of
            one molecule to what is known of it; without the last four for one that took too long.
        to_piece: from what is known of the molecules of a chunk to its piece.
        summary: from the pieces and the common fields of the result (`n_molecules`, `indices`, `seed`) to the result.
    """

    result: type[Any]
    require: Callable[[], str]
    time_limit: float
    grace: float = 0.0
    size: int
    check: Callable[..., Any]
    to_piece: Callable[[list[Any]], Piece]
    summary: Callable[..., Any]


def check_sample(
    kind: str,
    molecules: PackedMolecules,
    *,
    charges: Int16[np.ndarray, " M"] | None = None,
    sample_size: int = SAMPLE_SIZE,
    seed: int = 0,
    workers: int | None = None,
    time_limit: float | None = None,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> Any:
    """One of `EXTRAS` on a sample: `PoseChecks` or `Relaxation`; bonds are those that the strict protocol perceives.

    Args:
        kind: "posebusters", without a receptor; or "relaxation", by the program xtb with one thread a process.
        molecules: positions in Å.
        charges: total charges, [M]; None for 0.
        sample_size: the largest number of molecules that are drawn.
        seed: of the draw and the bootstrap.
        workers: processes; all cores if None.
        time_limit: seconds for one molecule, which then fails; None for the check's own.
        progress, pieces: as `judge` takes them.

    Raises:
        InvalidInput: no molecules, a sample of none, or no time.
        Unavailable: the program is not installed, or a worker process ended early.
    """
    extra = EXTRAS[kind]
    extra.require()
    limit = extra.time_limit if time_limit is None else time_limit
    check_time_limit(limit)
    indices = drawn(molecules, sample_size, seed)
    found, done = list[Piece](), 0
    for piece in pieces_of(
        partial(_check_chunk, kind, limit),
        molecules.take(indices),
        np.zeros(len(indices), dtype=np.int16) if charges is None else charges[indices],
        size=extra.size,
        worth_a_pool=2 * extra.size,
        workers=workers,
        time_limit=limit + extra.grace,
        kept=pieces,
    ):
        found.append(piece)
        done += len(piece["valid"])
        progress(done, len(indices))
    return extra.summary(found, n_molecules=len(molecules), indices=indices, seed=seed)


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


def _check_chunk(kind: str, time_limit: float, chunk: Chunk, begin: Begin | None = None) -> Piece:
    """The piece of a chunk, in this process."""
    extra = EXTRAS[kind]
    each = (() if one is None else (*one, _valid(*one)) for one in chunk.each(begin))
    return extra.to_piece([extra.check(time_limit, *known) for known in each])


def _valid(numbers: Any, positions: Any, charge: int) -> Any:
    """The molecule of that total charge with bonds, by the strict protocol; None if it is not valid."""
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived

    molecule = perceive(numbers, positions, charge=charge)
    return molecule if molecule is not None and judge_perceived(molecule).valid else None


_Poses = dict[str, bool] | None
"""The answers of PoseBusters' checks of one molecule: none if it took too long; None if it is not valid."""


def _pose(time_limit: float, *each: Any) -> _Poses:
    if not each:
        return {}
    return None if each[3] is None else check_pose(each[3])


def _poses_to_piece(found: list[_Poses]) -> Piece:
    """For each molecule its validity and the number of its checks; then names and answers of all checks."""
    return {
        "valid": np.array([each is not None for each in found], dtype=bool),
        "n_checks": np.array([len(each or ()) for each in found], dtype=np.int64),
        "checks": as_text(name for each in found for name in each or ()),
        "passed": np.array([answer for each in found for answer in (each or {}).values()], dtype=bool),
    }


def _answers(piece: Piece) -> list[dict[str, bool]]:
    """The answers of the checks of each molecule of a piece."""
    answers = iter(zip(lines_of(piece["checks"]), piece["passed"].tolist(), strict=False))
    return [dict(islice(answers, n)) for n in piece["n_checks"].tolist()]


def _pose_checks(pieces: Sequence[Piece], *, seed: int, **common: Any) -> PoseChecks:
    rng, found = np.random.default_rng(seed), [each for piece in pieces for each in _answers(piece)]
    checks = tuple(dict.fromkeys(name for each in found for name in each))
    passed = np.array([[each.get(name, False) for name in checks] for each in found], dtype=bool)
    passed = passed.reshape(len(found), len(checks))
    valid = np.concatenate([piece["valid"] for piece in pieces])
    everything = np.array([bool(checks) and row.all() for row in passed], dtype=bool)
    return PoseChecks(
        valid=valid,
        checks=checks,
        passed=passed,
        passes_all=bootstrap_rate(everything, np.ones(len(found), dtype=np.int64), "molecules drawn", rng),
        rates=tuple(bootstrap_rate(column, valid, "valid molecules drawn", rng) for column in passed.T),
        seed=seed,
        posebusters=require_posebusters(),
        **common,
    )


_Relaxed = tuple[bool, float, float, str]
"""One molecule: whether valid, energy gained in kcal/mol and RMSD in Å, NaN if it is not relaxed, and then why."""


def _relax(time_limit: float, *each: Any) -> _Relaxed:
    if not each:
        return True, np.nan, np.nan, TOOK_TOO_LONG
    numbers, positions, charge, molecule = each
    if molecule is None:
        return False, np.nan, np.nan, "not valid"
    try:
        relaxed = xtb.relax(numbers, positions, charge=charge, timeout_s=time_limit)
    except xtb.NotRelaxed as error:
        return True, np.nan, np.nan, TOOK_TOO_LONG if error.reason == xtb.TOO_SLOW else error.reason
    return True, relaxed.relaxation_energy, aligned_rmsd(positions, relaxed.positions), ""


def _relaxed_to_piece(found: list[_Relaxed]) -> Piece:
    valid, energies, rmsds, reasons = zip(*found, strict=True)
    return {
        "valid": np.array(valid, dtype=bool),
        "energies": np.array(energies, dtype=np.float64),
        "rmsds": np.array(rmsds, dtype=np.float64),
        "reasons": as_text(reasons),
    }


def _relaxation(pieces: Sequence[Piece], *, seed: int, **common: Any) -> Relaxation:
    valid, energies, rmsds = (
        np.concatenate([piece[name] for piece in pieces]) for name in ("valid", "energies", "rmsds")
    )
    rng, known = np.random.default_rng(seed), np.isfinite(energies)
    return Relaxation(
        valid=valid,
        energies=energies,
        rmsds=rmsds,
        reasons=tuple(reason for piece in pieces for reason in lines_of(piece["reasons"])),
        relaxed=bootstrap_rate(known, np.ones(len(known), dtype=np.int64), "molecules drawn", rng),
        median_energy=interval_of(energies[known], np.median, rng=rng),
        mean_energy=interval_of(energies[known], np.mean, rng=rng),
        median_rmsd=interval_of(rmsds[known], np.median, rng=rng),
        mean_rmsd=interval_of(rmsds[known], np.mean, rng=rng),
        seed=seed,
        **common,
    )


def _require_xtb() -> str:
    xtb.require()
    return "xtb"


EXTRAS = {
    # Of the seconds for one molecule PoseBusters needs most for conformers.
    "posebusters": Extra(
        result=PoseChecks, require=lambda: f"posebusters {require_posebusters()}", time_limit=300.0, size=4,
        check=_pose, to_piece=_poses_to_piece, summary=_pose_checks,
    ),
    # The program xtb takes 1 to 10 seconds for a drug-like molecule.
    "relaxation": Extra(
        result=Relaxation, require=_require_xtb, time_limit=600.0, grace=60.0, size=2,
        check=_relax, to_piece=_relaxed_to_piece, summary=_relaxation,
    ),
}  # fmt: skip
"""The checks, by the kind of their stored result."""
