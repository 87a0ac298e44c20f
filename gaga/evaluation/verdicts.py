"""Verdicts on many molecules under a protocol, computed on all cores, and the bond lengths and angles that they saw."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from sys import intern
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, Int32, Int64

from gaga.chem.geometry import bond_angles, bond_lengths, joined_bonds
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.processes import Begin
from gaga.core.progress import Progress, silent
from gaga.evaluation.chunks import TOOK_TOO_LONG, Chunk, as_text, lines_of, pieces_of
from gaga.evaluation.classes import LATER_TYPES, TYPES, Classes, classes_of
from gaga.evaluation.protocols import check_protocol, failure, judge_molecule
from gaga.storage.blocks import FiledColumn
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

MAX_ATOMS = 10_000
_CHUNK = 250
_WORTH_A_POOL = 2000  # starting processes takes as long as judging about this many molecules
_HYDROGEN = (np.ones(2, dtype=np.uint8), np.array([[0, 0, 0], [0, 0, 0.74]], dtype=np.float32), 0)

_JUDGED = {"n_stable_atoms": np.int64, "stable": bool, "valid": bool, "connected": bool}
_NUMBERS = {"n_atoms": np.int64, **_JUDGED}


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
        classes: what kinds of molecules they are; None in results of earlier versions.
        stereo: by strict, SMILES of the valid ones with the stereochemistry of the positions, empty for others; None
            by edm, and in results of earlier versions. Uniqueness and novelty are by `smiles`, without it.
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
    classes: Classes | None = None
    stereo: tuple[str, ...] | None = None


class OnDiskMeasurements:
    """Bond lengths or angles of many molecules, as `Measured`, in two unnamed files that end with this object."""

    def __init__(self) -> None:
        self._codes, self._values = FiledColumn(np.int32), FiledColumn(np.float32)

    def append(self, codes: Int32[np.ndarray, " n"], values: Float32[np.ndarray, " n"]) -> None:
        """Add values with the codes of their kinds.

        Raises:
            Unavailable: the disk is full.
        """
        self._codes.append(codes)
        self._values.append(values)

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

    def histogram(self, width: float, end: float) -> Int64[np.ndarray, " B"]:
        """How many values of all kinds are in each bin of this width from 0 on; the last one has all from its begin."""
        n_bins = round(end / width)
        counts = np.zeros(n_bins, dtype=np.int64)
        for values in self._values:
            counts += np.bincount(np.minimum(values / width, n_bins - 1).astype(np.int64), minlength=n_bins)
        return counts


@dataclass(frozen=True, eq=False)
class JudgedMolecules:
    """Verdicts on molecules, and the bond lengths (Å) and angles (degrees) of all of them."""

    verdicts: Verdicts
    lengths: OnDiskMeasurements
    angles: OnDiskMeasurements


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
    columns: dict[str, list[Any]] = {name: [] for name in (*_NUMBERS, *TYPES, *LATER_TYPES)}
    smiles, reasons, stereo = list[str](), list[str](), list[str]()
    lengths, angles = OnDiskMeasurements(), OnDiskMeasurements()
    judge_chunk = partial(_judge_chunk, protocol)
    for piece in pieces_of(
        judge_chunk, molecules, charges, size=_CHUNK, worth_a_pool=_WORTH_A_POOL, workers=workers,
        time_limit=time_limit, kept=pieces,
    ):  # fmt: skip
        for name, column in columns.items():
            column.append(piece.get(name))
        smiles += lines_of(piece["smiles"])
        reasons += map(intern, lines_of(piece["reasons"]))  # each is in memory once
        stereo += lines_of(piece["stereo"]) if "stereo" in piece else []
        lengths.append(piece["length_codes"], piece["lengths"])
        angles.append(piece["angle_codes"], piece["angles"])
        progress(len(smiles), len(molecules))
    numbers: Any = {name: _joined(columns[name], of) for name, of in _NUMBERS.items()}
    verdicts = Verdicts(
        **numbers, smiles=tuple(smiles), reasons=tuple(reasons), classes=_classes(columns),
        stereo=tuple(stereo) if len(stereo) == len(smiles) and protocol == "strict" else None,
    )  # fmt: skip
    return JudgedMolecules(verdicts, lengths, angles)


def _classes(columns: dict[str, list[Any]]) -> Classes | None:
    """The classes of all chunks; None, or without the later ones, if an earlier version finished one of them."""

    def found(types: dict[str, Any]) -> Any:
        if any(piece is None for name in types for piece in columns[name]) or not columns["known"]:
            return None
        return {name: np.concatenate(columns[name]).astype(of) for name, of in types.items()}

    first = found(TYPES)
    return None if first is None else Classes(**first, **(found(LATER_TYPES) or {}))


def _judge_chunk(protocol: str, chunk: Chunk, begin: Begin | None = None) -> Piece:
    """The verdicts on a chunk, with its bond lengths and angles, in this process."""
    if begin is not None:
        judge_molecule(protocol, *_HYDROGEN)  # so that loading rdkit is not the first molecule's time
    rows = [failure(TOOK_TOO_LONG) if each is None else judge_molecule(protocol, *each) for each in chunk.each(begin)]
    molecules = chunk.molecules
    atoms = np.asarray(molecules.atomic_numbers), np.asarray(molecules.positions)
    bonds = joined_bonds([row.bonds for row in rows], np.asarray(molecules.offsets))
    lengths, angles = bond_lengths(*atoms, bonds), bond_angles(*atoms, bonds)
    return {
        "n_atoms": molecules.n_atoms,
        **{name: np.array([getattr(row, name) for row in rows], dtype=of) for name, of in _JUDGED.items()},
        **vars(classes_of([row.classes for row in rows], molecules, chunk.charges)),
        "smiles": as_text(row.smiles for row in rows),
        "reasons": as_text(row.reason for row in rows),
        **({"stereo": as_text(row.stereo for row in rows)} if protocol == "strict" else {}),
        "length_codes": lengths.codes,
        "lengths": lengths.values,
        "angle_codes": angles.codes,
        "angles": angles.values,
    }


def _joined(arrays: Iterable[Any], dtype: Any) -> Any:
    return np.concatenate([np.zeros(0, dtype), *arrays])
