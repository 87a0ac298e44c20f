"""What a protocol says of many molecules, as arrays, and the pieces that a run keeps of it."""

from dataclasses import dataclass
from sys import intern

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from gaga.chem.geometry import Measured
from gaga.evaluation.measured import FiledMeasured
from gaga.storage.partial import Piece

_NUMBERS = ("n_atoms", "n_stable_atoms", "stable", "valid", "connected")
_TEXTS = ("smiles", "reasons")


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
        reasons: why not valid or not stable, empty where both; "time" where judging it took too long; of a record that
            was skipped, why.
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


@dataclass(frozen=True, eq=False)
class Judged:
    """Verdicts on molecules and the bond lengths and angles of all of them."""

    verdicts: Verdicts
    lengths: Measured | FiledMeasured
    angles: Measured | FiledMeasured


def as_piece(judged: Judged) -> Piece:
    """The arrays of a part; neither a SMILES nor a reason has line ends."""
    verdicts = judged.verdicts
    texts = {name: np.frombuffer("\n".join(getattr(verdicts, name)).encode(), dtype=np.uint8) for name in _TEXTS}
    return {
        **{name: getattr(verdicts, name) for name in _NUMBERS},
        **texts,
        "length_codes": judged.lengths.codes,
        "lengths": judged.lengths.values,
        "angle_codes": judged.angles.codes,
        "angles": judged.angles.values,
    }


def of_piece(piece: Piece) -> Judged:
    """The part that `as_piece` took."""
    arrays = {name: piece[name] for name in _NUMBERS}
    return Judged(
        verdicts=Verdicts(**arrays, smiles=_lines(piece["smiles"]), reasons=_lines(piece["reasons"])),
        lengths=Measured(piece["length_codes"], piece["lengths"]),
        angles=Measured(piece["angle_codes"], piece["angles"]),
    )


def _lines(text: UInt8[np.ndarray, " n"]) -> tuple[str, ...]:
    return tuple(text.tobytes().decode().split("\n"))


def join(verdicts: list[Verdicts]) -> Verdicts:
    """All of them, in their order; each reason is in memory once."""
    return Verdicts(
        n_atoms=np.concatenate([v.n_atoms for v in verdicts]),
        n_stable_atoms=np.concatenate([v.n_stable_atoms for v in verdicts]),
        stable=np.concatenate([v.stable for v in verdicts]),
        valid=np.concatenate([v.valid for v in verdicts]),
        connected=np.concatenate([v.connected for v in verdicts]),
        smiles=tuple(smiles for v in verdicts for smiles in v.smiles),
        reasons=tuple(intern(reason) for v in verdicts for reason in v.reasons),
    )


def join_measured(parts: list[Measured]) -> Measured:
    """All values, in their order."""
    return Measured(
        codes=np.concatenate([np.zeros(0, np.int32), *(part.codes for part in parts)]),
        values=np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
    )
