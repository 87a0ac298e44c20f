"""Every molecule's verdict under a protocol, on all cores."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, Int64, UInt8

from gaga.chem.geometry import Bonds, bond_angles, bond_lengths, bonds_of_molecule, bonds_of_orders
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin
from gaga.core.progress import Progress, silent
from gaga.evaluation.measured import FiledMeasured
from gaga.evaluation.parts import TOOK_TOO_LONG, Task, Work, n_processes
from gaga.evaluation.verdicts import Judged, Verdicts, as_piece, join, join_measured, of_piece
from gaga.storage.partial import NO_PARTIALS, PartialResults

PROTOCOLS = ("edm", "strict")
"""edm, to compare with papers; strict, to know."""

MAX_ATOMS = 10_000
_CHUNK = 250
_WORTH_A_POOL = 2000  # starting processes takes as long as judging about this many molecules
_HYDROGEN = (np.ones(2, dtype=np.uint8), np.array([[0, 0, 0], [0, 0, 0.74]], dtype=np.float32), 0)
_NO_BONDS = Bonds(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64))


class Judgement(NamedTuple):
    """One molecule: what the protocol says, and the bonds that it saw."""

    n_stable: int
    stable: bool
    valid: bool
    connected: bool
    smiles: str
    reason: str
    bonds: Bonds


def judge(
    molecules: PackedMolecules,
    protocol: str,
    *,
    charges: Int16[np.ndarray, " M"] | None = None,
    workers: int | None = None,
    time_limit: float | None = None,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> Judged:
    """The verdict on every molecule, the same whatever the number of workers.

    Args:
        molecules: positions in Å. A molecule without atoms, or with positions that are not finite, fails.
        protocol: "edm" or "strict".
        charges: total charges, [M], which the strict protocol judges with; None for 0.
        workers: processes; all cores if None, and this one only for a few thousand molecules or for 1.
        time_limit: seconds that one molecule may take before it is given up and fails with the reason "time"; None
            for as long as it takes. With a limit, other processes judge, however few the molecules.
        progress: called with the molecules done so far.
        pieces: verdicts on these molecules that are there are not found again; the others are put there.

    Raises:
        InvalidInput: unknown protocol, fewer than one worker, no time, or a molecule of more than MAX_ATOMS.
        Unavailable: a worker process ended early.
    """
    check_protocol(protocol)
    if (largest := molecules.n_atoms.max(initial=0)) > MAX_ATOMS:
        raise InvalidInput(
            f"molecules of more than {MAX_ATOMS:,} atoms cannot be judged: every pair of atoms is looked at",
            received=f"one of {largest:,}",
            remedy="leave it out of the file",
        )
    work = Work(
        function=partial(judge_chunk, protocol),
        size=_CHUNK,
        as_piece=as_piece,
        of_piece=of_piece,
        processes=n_processes(workers, worth_it=len(molecules) >= _WORTH_A_POOL),
        time_limit=time_limit,
    )
    parts, done = [judge_chunk(protocol, Task(molecules.take([]))).verdicts], 0
    lengths, angles = FiledMeasured(), FiledMeasured()
    for part in work.results(molecules, charges, pieces):
        parts.append(part.verdicts)
        lengths.append(part.lengths)
        angles.append(part.angles)
        done += len(part.verdicts.n_atoms)
        progress(done, len(molecules))
    return Judged(verdicts=join(parts), lengths=lengths, angles=angles)


def check_protocol(protocol: str) -> None:
    """Stop at an unknown protocol.

    Raises:
        InvalidInput: it is not one of PROTOCOLS.
    """
    if protocol not in PROTOCOLS:
        raise InvalidInput("unknown protocol", received=protocol, remedy=f"use {' or '.join(PROTOCOLS)}")


def judge_chunk(protocol: str, task: Task, begin: Begin | None = None) -> Judged:
    """The verdicts on some molecules, in this process; `begin` is told the number of each before it is judged."""
    molecules, judge_one = task.molecules, _JUDGES[protocol]
    if begin is not None:
        judge_one(*_HYDROGEN)  # so that loading rdkit is not the first molecule's time
    judgements = [_failure(TOOK_TOO_LONG) if each is None else judge_one(*each) for each in task.each(begin)]
    measured = list(zip(molecules, judgements, strict=True))
    return Judged(
        verdicts=Verdicts(
            n_atoms=molecules.n_atoms,
            n_stable_atoms=np.array([j.n_stable for j in judgements], dtype=np.int64),
            stable=np.array([j.stable for j in judgements], dtype=bool),
            valid=np.array([j.valid for j in judgements], dtype=bool),
            connected=np.array([j.connected for j in judgements], dtype=bool),
            smiles=tuple(j.smiles for j in judgements),
            reasons=tuple(j.reason for j in judgements),
        ),
        lengths=join_measured([bond_lengths(*molecule, j.bonds) for molecule, j in measured]),
        angles=join_measured([bond_angles(*molecule, j.bonds) for molecule, j in measured]),
    )


def _failure(reason: str) -> Judgement:
    return Judgement(0, False, False, False, "", reason, _NO_BONDS)


def _judge_edm(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int) -> Judgement:
    """EDM's verdict, which knows no charges."""
    from gaga.chem.edm import edm_bond_orders, edm_smiles, edm_stability

    if not len(numbers) or not np.isfinite(positions).all():
        return _failure("positions are not finite" if len(numbers) else "no atoms")
    n_stable, stable = edm_stability(numbers, positions)
    smiles = edm_smiles(numbers, positions)
    orders = edm_bond_orders(numbers, positions)
    reason = "" if stable else "an atom with a wrong number of bonds"
    if smiles is None:
        reason = "RDKit does not sanitise it"
    connected = _in_one_piece(orders)
    return Judgement(n_stable, stable, smiles is not None, connected, smiles or "", reason, bonds_of_orders(orders))


def _judge_strict(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int) -> Judgement:
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived, judge_unperceived

    molecule = perceive(numbers, positions, charge=charge)
    if molecule is None:
        verdict, bonds = judge_unperceived(numbers, positions), _NO_BONDS
    else:
        verdict, bonds = judge_perceived(molecule), bonds_of_molecule(molecule)
    return Judgement(
        verdict.n_stable_atoms,
        verdict.stable,
        verdict.valid,
        verdict.connected,
        verdict.smiles or "",
        verdict.reason,
        bonds,
    )


_JUDGES: dict[str, Callable[..., Judgement]] = {"edm": _judge_edm, "strict": _judge_strict}


def _in_one_piece(orders: Int64[np.ndarray, "N N"]) -> bool:
    from scipy.sparse.csgraph import connected_components

    return bool(connected_components(orders, directed=False, return_labels=False) == 1)
