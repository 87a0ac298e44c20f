"""Verdicts on many molecules under a protocol, computed on all cores, and the bond lengths and angles that they saw."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from sys import intern
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, Int32, Int64

from gaga.chem.geometry import Measured, bond_angles, bond_lengths
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin
from gaga.core.progress import Progress, silent
from gaga.evaluation.protocols import Judgement, check_protocol, failure, judge_molecule
from gaga.evaluation.timed_jobs import TOOK_TOO_LONG, Chunk, Job
from gaga.storage.blocks import FiledColumn
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

MAX_ATOMS = 10_000
_CHUNK = 250
_WORTH_A_POOL = 2000  # starting processes takes as long as judging about this many molecules
_HYDROGEN = (np.ones(2, dtype=np.uint8), np.array([[0, 0, 0], [0, 0, 0.74]], dtype=np.float32), 0)

_JUDGED = {"n_stable_atoms": np.int64, "stable": bool, "valid": bool, "connected": bool}
_NUMBERS = {"n_atoms": np.int64, **_JUDGED}
_TEXTS = ("smiles", "reasons")  # without line ends


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What the protocol says of each of M molecules.

    Attributes:
        n_atoms: [M].
        n_stable_atoms: [M].
        stable: whether all atoms are stable, [M].
        valid: [M].
        connected: whether in one piece, [M].
        smiles: SMILES by the protocol, empty if not valid.
        reasons: why not valid or not stable, empty if both; "time" if judging took too long; of a record that was
            skipped, why.
        unique: whether valid, and no molecule before it has the same SMILES, [M]; None before they are compared.
        novel: whether valid, and the reference's training split does not have the SMILES, [M]; of equal molecules, all
            are. None without a reference.
    """

    n_atoms: Int64[np.ndarray, " M"]
    n_stable_atoms: Int64[np.ndarray, " M"]
    stable: Bool[np.ndarray, " M"]
    valid: Bool[np.ndarray, " M"]
    connected: Bool[np.ndarray, " M"]
    smiles: tuple[str, ...]
    reasons: tuple[str, ...]
    unique: Bool[np.ndarray, " M"] | None = None
    novel: Bool[np.ndarray, " M"] | None = None


class OnDiskMeasurements:
    """Bond lengths or angles of many molecules, as `Measured`, in two unnamed files that end with this object."""

    def __init__(self) -> None:
        self._codes, self._values = FiledColumn(np.int32), FiledColumn(np.float32)

    def __len__(self) -> int:
        return self._codes.shape[0]

    def append(self, part: "Measured | OnDiskMeasurements") -> None:
        """Add values.

        Raises:
            Unavailable: the disk is full.
        """
        self._codes.append(part.codes)
        self._values.append(part.values)

    @property
    def codes(self) -> Int32[np.ndarray, " n"]:
        """The code of each value's kind."""
        return np.concatenate([np.zeros(0, np.int32), *self._codes])

    @property
    def values(self) -> Float32[np.ndarray, " n"]:
        """All values."""
        return np.concatenate([np.zeros(0, np.float32), *self._values])

    def of_kind(self, code: int) -> Float32[np.ndarray, " m"]:
        """The values of one kind, in their order; only they are in memory."""
        pieces = zip(self._codes, self._values, strict=True)
        return np.concatenate([np.zeros(0, np.float32), *(values[codes == code] for codes, values in pieces)])


@dataclass(frozen=True, eq=False)
class JudgedMolecules:
    """Verdicts on molecules, and the bond lengths (Å) and angles (degrees) of all of them."""

    verdicts: Verdicts
    lengths: Measured | OnDiskMeasurements
    angles: Measured | OnDiskMeasurements


def judge(
    molecules: PackedMolecules,
    protocol: str,
    *,
    charges: Int16[np.ndarray, " M"] | None = None,
    workers: int | None = None,
    time_limit: float | None = None,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> JudgedMolecules:
    """The verdict on every molecule; it does not depend on the number of workers.

    Args:
        molecules: positions in Å. A molecule without atoms, or with positions that are not finite, fails.
        protocol: "edm" or "strict".
        charges: total charges for the strict protocol, [M]; None for 0.
        workers: processes; None for all cores, or for this process alone with a few thousand molecules.
        time_limit: seconds for one molecule, which then fails with the reason "time"; None for no limit. With a limit,
            other processes judge, however few the molecules.
        progress: called with the number of molecules judged so far.
        pieces: finished verdicts on these molecules; new ones are put there.

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
    job = Job(
        function=partial(_judge_chunk, protocol),
        size=_CHUNK,
        to_piece=_to_piece,
        from_piece=_from_piece,
        workers=workers,
        worth_a_pool=_WORTH_A_POOL,
        time_limit=time_limit,
    )
    parts, lengths, angles, done = list[Verdicts](), OnDiskMeasurements(), OnDiskMeasurements(), 0
    for part in job.results(molecules, charges, pieces):
        parts.append(part.verdicts)
        lengths.append(part.lengths)
        angles.append(part.angles)
        done += len(part.verdicts.n_atoms)
        progress(done, len(molecules))
    columns: dict[str, Any] = {name: _joined([getattr(v, name) for v in parts], of) for name, of in _NUMBERS.items()}
    smiles = tuple(smiles for v in parts for smiles in v.smiles)
    reasons = tuple(intern(reason) for v in parts for reason in v.reasons)  # each is in memory once
    return JudgedMolecules(Verdicts(**columns, smiles=smiles, reasons=reasons), lengths, angles)


def _judge_chunk(protocol: str, chunk: Chunk, begin: Begin | None = None) -> JudgedMolecules:
    """The verdicts on a chunk, in this process."""
    if begin is not None:
        judge_molecule(protocol, *_HYDROGEN)  # so that loading rdkit is not the first molecule's time
    rows = [failure(TOOK_TOO_LONG) if each is None else judge_molecule(protocol, *each) for each in chunk.each(begin)]
    columns: Any = {name: np.array([getattr(row, name) for row in rows], dtype=of) for name, of in _JUDGED.items()}
    texts: Any = {"smiles": tuple(row.smiles for row in rows), "reasons": tuple(row.reason for row in rows)}
    return JudgedMolecules(
        verdicts=Verdicts(n_atoms=chunk.molecules.n_atoms, **columns, **texts),
        lengths=_measured(chunk.molecules, rows, bond_lengths),
        angles=_measured(chunk.molecules, rows, bond_angles),
    )


def _measured(molecules: PackedMolecules, rows: list[Judgement], of_molecule: Any) -> Measured:
    parts = [of_molecule(*molecule, row.bonds) for molecule, row in zip(molecules, rows, strict=True)]
    return Measured(_joined([p.codes for p in parts], np.int32), _joined([p.values for p in parts], np.float32))


def _joined(arrays: Iterable[Any], dtype: Any) -> Any:
    return np.concatenate([np.zeros(0, dtype), *arrays])


def _to_piece(judged: JudgedMolecules) -> Piece:
    texts: Iterator[tuple[str, str]] = ((name, "\n".join(getattr(judged.verdicts, name))) for name in _TEXTS)
    return {
        **{name: getattr(judged.verdicts, name) for name in _NUMBERS},
        **{name: np.frombuffer(text.encode(), dtype=np.uint8) for name, text in texts},
        "length_codes": judged.lengths.codes,
        "lengths": judged.lengths.values,
        "angle_codes": judged.angles.codes,
        "angles": judged.angles.values,
    }


def _from_piece(piece: Piece) -> JudgedMolecules:
    columns: Any = {name: piece[name] for name in _NUMBERS}
    texts: Any = {name: tuple(piece[name].tobytes().decode().split("\n")) for name in _TEXTS}
    return JudgedMolecules(
        verdicts=Verdicts(**columns, **texts),
        lengths=Measured(piece["length_codes"], piece["lengths"]),
        angles=Measured(piece["angle_codes"], piece["angles"]),
    )
