"""Every molecule's verdict under a protocol, on all cores."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from gaga.base.errors import InvalidInput
from gaga.base.journal import KEEPS_NONE, Piece, Pieces
from gaga.base.molecules import PackedMolecules
from gaga.base.progress import Progress, silent
from gaga.base.workers import Workers
from gaga.chem.geometry import Bonds, Measured, bond_angles, bond_lengths, bonds_of_molecule, bonds_of_orders
from gaga.evaluation.measured import FiledMeasured

PROTOCOLS = ("edm", "strict")
"""edm, to compare with papers; strict, to know."""

MAX_ATOMS = 10_000
_CHUNK = 250
_WORTH_A_POOL = 2000  # starting processes takes as long as judging about this many molecules
_REMEDY = (
    "run it again (gaga evaluate goes on with --resume); in a script, call this under "
    '`if __name__ == "__main__":`, or pass workers=1'
)
_NO_BONDS = Bonds(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64))


class Judgement(NamedTuple):
    """One molecule: what the protocol says, and the bonds that it saw."""

    n_stable: int
    stable: bool
    valid: bool
    connected: bool
    smiles: str
    bonds: Bonds


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What the protocol says of each of M molecules.

    Attributes:
        n_atoms: [M].
        n_stable_atoms: [M].
        stable: whether all atoms are stable, [M].
        valid: [M].
        connected: whether in one piece, [M].
        smiles: SMILES by the protocol, empty where not valid.
    """

    n_atoms: Int64[np.ndarray, " M"]
    n_stable_atoms: Int64[np.ndarray, " M"]
    stable: Bool[np.ndarray, " M"]
    valid: Bool[np.ndarray, " M"]
    connected: Bool[np.ndarray, " M"]
    smiles: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Judged:
    """Verdicts on molecules and the bond lengths and angles of all of them."""

    verdicts: Verdicts
    lengths: Measured | FiledMeasured
    angles: Measured | FiledMeasured


def judge(
    molecules: PackedMolecules,
    protocol: str,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    pieces: Pieces = KEEPS_NONE,
) -> Judged:
    """The verdict on every molecule, the same whatever the number of workers.

    Args:
        molecules: positions in Å. A molecule without atoms, or with positions that are not finite, fails.
        protocol: "edm" or "strict".
        workers: processes; all cores if None, and this one only for a few thousand molecules or for 1.
        progress: called with the molecules done so far.
        pieces: verdicts on these molecules that are there are not found again; the others are put there.

    Raises:
        InvalidInput: unknown protocol, fewer than one worker, or a molecule of more than MAX_ATOMS.
        Unavailable: a worker process ended early.
    """
    check_protocol(protocol)
    if (largest := molecules.n_atoms.max(initial=0)) > MAX_ATOMS:
        raise InvalidInput(
            f"molecules of more than {MAX_ATOMS:,} atoms cannot be judged: every pair of atoms is looked at",
            received=f"one of {largest:,}",
            remedy="leave it out of the file",
        )
    starts = range(0, len(molecules), _CHUNK)
    n_workers = min(_n_workers(workers, len(molecules)), max(1, len(starts)))
    parts, done = [judge_chunk((molecules.take([]), protocol)).verdicts], 0
    lengths, angles = FiledMeasured(), FiledMeasured()
    for part in _judged_parts(molecules, protocol, n_workers, pieces):
        parts.append(part.verdicts)
        lengths.append(part.lengths)
        angles.append(part.angles)
        done += len(part.verdicts.n_atoms)
        progress(done, len(molecules))
    return Judged(verdicts=_join(parts), lengths=lengths, angles=angles)


def _judged_parts(molecules: PackedMolecules, protocol: str, n_workers: int, pieces: Pieces) -> Iterator[Judged]:
    """The parts in their order: from the pieces where they are there, else new, and then put there."""
    names = {start: str(start) for start in range(0, len(molecules), _CHUNK)}
    tasks = ((_part(molecules, start), protocol) for start, name in names.items() if name not in pieces)
    with closing(_run(tasks, n_workers)) as new:
        for name in names.values():
            piece = pieces.get(name)
            judged = next(new) if piece is None else _of_piece(piece)
            if piece is None:
                pieces.put(name, _as_piece(judged))
            yield judged


def _part(molecules: PackedMolecules, start: int) -> PackedMolecules:
    return molecules.take(np.arange(start, min(start + _CHUNK, len(molecules))))


def check_protocol(protocol: str) -> None:
    """Stop at an unknown protocol.

    Raises:
        InvalidInput: it is not one of PROTOCOLS.
    """
    if protocol not in PROTOCOLS:
        raise InvalidInput("unknown protocol", received=protocol, remedy=f"use {' or '.join(PROTOCOLS)}")


def judge_chunk(task: tuple[PackedMolecules, str]) -> Judged:
    """The verdicts on some molecules, in this process."""
    molecules, protocol = task
    judge_one = _JUDGES[protocol]
    judgements = [judge_one(numbers, positions) for numbers, positions in molecules]
    measured = list(zip(molecules, judgements, strict=True))
    return Judged(
        verdicts=Verdicts(
            n_atoms=molecules.n_atoms,
            n_stable_atoms=np.array([j.n_stable for j in judgements], dtype=np.int64),
            stable=np.array([j.stable for j in judgements], dtype=bool),
            valid=np.array([j.valid for j in judgements], dtype=bool),
            connected=np.array([j.connected for j in judgements], dtype=bool),
            smiles=tuple(j.smiles for j in judgements),
        ),
        lengths=_join_measured([bond_lengths(*molecule, j.bonds) for molecule, j in measured]),
        angles=_join_measured([bond_angles(*molecule, j.bonds) for molecule, j in measured]),
    )


def _judge_edm(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"]) -> Judgement:
    from gaga.chem.edm import edm_bond_orders, edm_smiles, edm_stability

    if not len(numbers) or not np.isfinite(positions).all():
        return Judgement(0, False, False, False, "", _NO_BONDS)
    n_stable, stable = edm_stability(numbers, positions)
    smiles = edm_smiles(numbers, positions)
    orders = edm_bond_orders(numbers, positions)
    return Judgement(n_stable, stable, smiles is not None, _in_one_piece(orders), smiles or "", bonds_of_orders(orders))


def _judge_strict(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"]) -> Judgement:
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived, judge_unperceived

    molecule = perceive(numbers, positions)
    if molecule is None:
        verdict, bonds = judge_unperceived(numbers, positions), _NO_BONDS
    else:
        verdict, bonds = judge_perceived(molecule), bonds_of_molecule(molecule)
    smiles = verdict.smiles or ""
    return Judgement(verdict.n_stable_atoms, verdict.stable, verdict.valid, verdict.connected, smiles, bonds)


_JUDGES: dict[str, Callable[..., Judgement]] = {"edm": _judge_edm, "strict": _judge_strict}


def _in_one_piece(orders: Int64[np.ndarray, "N N"]) -> bool:
    from scipy.sparse.csgraph import connected_components

    return bool(connected_components(orders, directed=False, return_labels=False) == 1)


def _n_workers(workers: int | None, n_molecules: int) -> int:
    if workers is not None and workers < 1:
        raise InvalidInput("at least one worker is needed", received=workers)
    if workers is None:
        return (os.cpu_count() or 1) if n_molecules >= _WORTH_A_POOL else 1
    return workers


def _run(tasks: Iterable[tuple[PackedMolecules, str]], n_workers: int) -> Generator[Judged]:
    if n_workers == 1:
        yield from map(judge_chunk, tasks)
        return
    with Workers(judge_chunk, n_workers, remedy=_REMEDY) as processes:
        yield from processes.map(tasks)


def _as_piece(judged: Judged) -> Piece:
    """The arrays of a part; a SMILES has no line ends."""
    verdicts = judged.verdicts
    arrays = {field.name: getattr(verdicts, field.name) for field in fields(verdicts) if field.name != "smiles"}
    return {
        **arrays,
        "smiles": np.frombuffer("\n".join(verdicts.smiles).encode(), dtype=np.uint8),
        "length_codes": judged.lengths.codes,
        "lengths": judged.lengths.values,
        "angle_codes": judged.angles.codes,
        "angles": judged.angles.values,
    }


def _of_piece(piece: Piece) -> Judged:
    arrays = {field.name: piece[field.name] for field in fields(Verdicts) if field.name != "smiles"}
    return Judged(
        verdicts=Verdicts(**arrays, smiles=tuple(piece["smiles"].tobytes().decode().split("\n"))),
        lengths=Measured(piece["length_codes"], piece["lengths"]),
        angles=Measured(piece["angle_codes"], piece["angles"]),
    )


def _join(verdicts: list[Verdicts]) -> Verdicts:
    return Verdicts(
        n_atoms=np.concatenate([v.n_atoms for v in verdicts]),
        n_stable_atoms=np.concatenate([v.n_stable_atoms for v in verdicts]),
        stable=np.concatenate([v.stable for v in verdicts]),
        valid=np.concatenate([v.valid for v in verdicts]),
        connected=np.concatenate([v.connected for v in verdicts]),
        smiles=tuple(smiles for v in verdicts for smiles in v.smiles),
    )


def _join_measured(parts: list[Measured]) -> Measured:
    return Measured(
        codes=np.concatenate([np.zeros(0, np.int32), *(part.codes for part in parts)]),
        values=np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
    )
