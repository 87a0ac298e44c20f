"""Geometries that are made, not read: embedded from SMILES, relaxed by xtb; in processes, in pieces that stay."""

import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from gaga.chem.embed import TIME_LIMIT_S
from gaga.chem.facts import without_smiles
from gaga.chem.records import PropertyValue, Record
from gaga.chem.tables import SmilesRow
from gaga.chem.writers import SMILES_TAG
from gaga.core.errors import InvalidInput
from gaga.data.filters import Account, Candidate
from gaga.data.spread import in_chunks, spread
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

XTB = "xtb"
CHARGE = "charge"
"""The property that holds total charges, if any is not 0."""
ENERGY = "xtb_energy"
ENERGY_UNIT = "Hartree"
_CHUNK = 16  # molecules of a piece
_CHUNK_RELAXED = 4  # that take seconds each
_RELAXING = 10  # times the limit of embedding
_WORTH_PROCESSES = 3  # chunks; starting processes takes as long as embedding about fifty molecules


@dataclass(frozen=True, kw_only=True)
class GeometryOptions:
    """How geometries are made.

    Attributes:
        embed: molecules that are SMILES get a geometry.
        optimise: "xtb" to relax every geometry at GFN2-xTB; None to leave it.
        seed: of the embedding.
        time_limit_s: seconds for one molecule to be embedded; relaxing it may take ten times as long.

    Raises:
        InvalidInput: an unknown program, or no time.
    """

    embed: bool = False
    optimise: str | None = None
    seed: int = 0
    time_limit_s: float = TIME_LIMIT_S

    def __post_init__(self) -> None:
        if self.optimise not in (None, XTB):
            raise InvalidInput("geometries are relaxed by the program xtb", received=self.optimise)
        if not 0 < self.time_limit_s < float("inf"):
            raise InvalidInput("a time limit is above 0 seconds", received=self.time_limit_s)

    @property
    def chunk(self) -> int:
        """Molecules of a piece."""
        return _CHUNK if self.optimise is None else _CHUNK_RELAXED

    @property
    def makes(self) -> bool:
        """Whether anything is made."""
        return self.embed or self.optimise is not None


NO_GEOMETRIES = GeometryOptions()


class Made(NamedTuple):
    """A molecule's new geometry: positions [N, 3] in Å, the force field that was used, xtb's energy in Hartree.

    If there is none, `reason` says why and no positions are there; no energy is NaN.
    """

    positions: Float64[np.ndarray, "N 3"]
    force_field: str = ""
    energy: float = float("nan")
    reason: str = ""


def made(
    candidates: Iterable[Candidate],
    making: GeometryOptions,
    account: Account,
    *,
    workers: int | None = None,
    pieces: PartialResults = NO_PARTIALS,
) -> Generator[Record]:
    """The candidates as records with the geometries that were asked for, in their order.

    Those of which nothing could be made are counted in `account` by reason. The result does not depend on the number of
    workers, but for molecules at the edge of their time limit.

    Args:
        candidates: what `filters.chosen` lets through.
        making: what is to be done.
        account: of the whole.
        workers: processes; all cores if None.
        pieces: geometries that are there are not made again; the others are put there.

    Raises:
        Unavailable: xtb is asked for and not installed, or a process ended early.
    """
    if making.optimise:
        from gaga.chem import xtb

        xtb.require()
    for chunk, results in _in_order(in_chunks(candidates, making.chunk), making, workers, pieces):
        for candidate, result in zip(chunk, results, strict=True):
            if result.reason:
                account.left_out[result.reason] += 1
                continue
            account.force_fields.update([result.force_field] if result.force_field else [])
            yield _record(candidate, result)


def _in_order(
    chunks: Iterator[list[Candidate]], making: GeometryOptions, workers: int | None, pieces: PartialResults
) -> Iterator[tuple[list[Candidate], list[Made]]]:
    """Chunks and what was made of them: from the pieces, which are of the first chunks, then new."""
    number = 0
    for chunk in chunks:
        piece = pieces.get(str(number))
        if piece is None:
            chunks = chain([chunk], chunks)
            break
        yield chunk, _of_piece(piece, chunk)
        number += 1
    waiting: deque[list[Candidate]] = deque()
    sent = (waiting.append(chunk) or chunk for chunk in chunks)  # type: ignore[func-returns-value]
    for results in spread(partial(make_all, making), sent, workers, worth=_WORTH_PROCESSES):
        pieces.put(str(number), _as_piece(results))
        number += 1
        yield waiting.popleft(), results


def make_all(making: GeometryOptions, candidates: list[Candidate]) -> list[Made]:
    """What is made of some candidates, in this process."""
    return [_make(making, candidate) for candidate in candidates]


def _make(making: GeometryOptions, candidate: Candidate) -> Made:
    from gaga.chem.embed import NotEmbedded, embed
    from gaga.chem.xtb import NotRelaxed, relax

    source = candidate.source
    try:
        if isinstance(source, SmilesRow):
            embedded = embed(source.smiles, seed=making.seed, time_limit_s=making.time_limit_s)
            result = Made(embedded.positions, embedded.force_field)
        else:
            result = Made(source.positions.astype(np.float64))
        if making.optimise is None:
            return result
        limit = _RELAXING * making.time_limit_s
        relaxed = relax(candidate.atomic_numbers, result.positions, charge=candidate.charge, timeout_s=limit)
    except (NotEmbedded, NotRelaxed) as error:
        return Made(np.zeros((0, 3)), reason=error.reason)
    return result._replace(positions=relaxed.positions, energy=relaxed.energy_end)


def _record(candidate: Candidate, result: Made) -> Record:
    source = candidate.source
    energy: dict[str, PropertyValue] = {ENERGY: result.energy} if np.isfinite(result.energy) else {}
    if isinstance(source, Record):
        return replace(source, positions=result.positions, properties={**source.properties, **energy})
    # First, as it is what the geometry was made of: another column's SMILES may be that of a salt.
    charge: dict[str, PropertyValue] = {CHARGE: float(candidate.charge)} if candidate.charge else {}
    said = {SMILES_TAG: source.smiles, **without_smiles(source.properties), **charge, **energy}
    return Record(candidate.atomic_numbers, result.positions, source.name, said)


def _as_piece(results: list[Made]) -> Piece:
    words = json.dumps([[result.force_field, result.reason] for result in results]).encode()
    return {
        "positions": np.concatenate([result.positions for result in results]),
        "energies": np.array([result.energy for result in results]),
        "words": np.frombuffer(words, dtype=np.uint8),
    }


def _of_piece(piece: Piece, chunk: list[Candidate]) -> list[Made]:
    words = json.loads(piece["words"].tobytes())
    sizes = [0 if reason else len(c.atomic_numbers) for c, (_, reason) in zip(chunk, words, strict=True)]
    ends = np.cumsum(sizes)
    positions: list[NDArray[np.float64]] = np.split(piece["positions"], ends[:-1])
    return [
        Made(xyz, force_field, float(energy), reason)
        for xyz, energy, (force_field, reason) in zip(positions, piece["energies"], words, strict=True)
    ]
