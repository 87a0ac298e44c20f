"""Which of the user's molecules are taken: filters on a stream of them, and an account of what was left out."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import UInt8

from gaga.chem.elements import symbol_of
from gaga.chem.records import Notes, Record, Skipped
from gaga.chem.tables import SmilesRow
from gaga.core.errors import InvalidInput
from gaga.data.spread import in_chunks, spread

NOT_NEUTRAL = "not neutral"
DUPLICATE = "duplicate"
_CHUNK = 100
_WORTH_PROCESSES = 5  # chunks: starting processes takes as long as perceiving a few hundred molecules

Source = Record | SmilesRow


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What is asked of a molecule, in this order; the first that fails is why it is left out.

    Attributes:
        largest_fragment: of several fragments, take the largest.
        elements: atomic numbers that may occur; None for any.
        min_atoms: the smallest number of atoms, hydrogens included.
        max_atoms: the largest number of atoms, hydrogens included.
        neutral: total charge 0; see `chem.facts.is_neutral`.
        no_duplicates: only the first of each molecule; see `chem.facts.identity`.

    Raises:
        InvalidInput: no molecule could be taken.
    """

    largest_fragment: bool = False
    elements: tuple[int, ...] | None = None
    min_atoms: int | None = None
    max_atoms: int | None = None
    neutral: bool = False
    no_duplicates: bool = False

    def __post_init__(self) -> None:
        low, high = self.min_atoms or 1, self.max_atoms
        if low < 1 or (high is not None and high < low):
            raise InvalidInput("no number of atoms is in this range", received=f"at least {low}, at most {high}")
        if self.elements is not None and not self.elements:
            raise InvalidInput("a molecule has at least one element", received="none")

    @property
    def perceives(self) -> bool:
        """Whether a molecule's geometry may have to be looked at, and not only its atoms counted."""
        return self.largest_fragment or self.neutral or self.no_duplicates

    def against(self, atomic_numbers: UInt8[np.ndarray, " N"]) -> str:
        """What its atoms say against a molecule, in a few fixed words; nothing if empty."""
        if self.elements is not None and not np.isin(atomic_numbers, self.elements).all():
            return f"elements other than {', '.join(map(symbol_of, self.elements))}"
        if len(atomic_numbers) < (self.min_atoms or 0):
            return f"fewer than {self.min_atoms:,} atoms"
        if self.max_atoms is not None and len(atomic_numbers) > self.max_atoms:
            return f"more than {self.max_atoms:,} atoms"
        return ""


EVERYTHING = Filters()


@dataclass
class Account:
    """What went where, counted while a stream passes.

    Attributes:
        read: molecules that the source has.
        left_out: how many of them are not in the data set, by reason.
        force_fields: how many were embedded with each force field.
        skipped: the records that cannot be used, in their order; those that are not wanted are not among them.
        notes: what files lack that makes no record unusable.
    """

    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    force_fields: Counter[str] = field(default_factory=Counter)
    notes: Notes = field(default_factory=Notes)
    skipped: list[Skipped] = field(default_factory=list)

    def watched(self, sources: Iterable[Source | Skipped]) -> Iterator[Source | Skipped]:
        """The sources as they are; what cannot be used is noted as it passes."""
        for source in sources:
            if isinstance(source, Skipped):
                self.skipped.append(source)
            yield source


@dataclass(frozen=True, eq=False)
class Candidate:
    """A molecule that may be taken.

    Attributes:
        source: the record, or the row of a table; its largest fragment if that was asked for.
        atomic_numbers: [N], hydrogens included.
        charge: total charge; 0 if nothing is known.
        identity: as `chem.facts.identity`, empty if it was not asked for.
    """

    source: Source
    atomic_numbers: UInt8[np.ndarray, " N"]
    charge: int
    identity: bytes


def chosen(
    sources: Iterable[Source | Skipped], filters: Filters, account: Account, workers: int | None
) -> Generator[Candidate]:
    """The molecules that pass, in their order; the others are counted in `account` by reason.

    Raises:
        InvalidInput: fewer than one worker.
        Unavailable: a process ended early.
    """
    seen: set[bytes] = set()
    for looked_at in _looked_at(account.watched(sources), filters, workers):
        account.read += 1
        reason = looked_at.reason if isinstance(looked_at, Skipped) else ""
        if isinstance(looked_at, Candidate) and filters.no_duplicates:
            reason = DUPLICATE if looked_at.identity in seen else ""
            seen.add(looked_at.identity)
        if reason:
            account.left_out[reason] += 1
        elif isinstance(looked_at, Candidate):
            yield looked_at


def _looked_at(
    sources: Iterable[Source | Skipped], filters: Filters, workers: int | None
) -> Iterator[Candidate | Skipped]:
    """Each of them looked at: in this process if that is quick."""
    if not filters.perceives:
        yield from map(partial(_look, filters), sources)
        return
    for chunk in spread(partial(_look_at_all, filters), in_chunks(sources, _CHUNK), workers, worth=_WORTH_PROCESSES):
        yield from chunk


def _look_at_all(filters: Filters, sources: list[Source | Skipped]) -> list[Candidate | Skipped]:
    return [_look(filters, source) for source in sources]


def _look(filters: Filters, source: Source | Skipped) -> Candidate | Skipped:
    if isinstance(source, Skipped):
        return source
    return _look_at_row(filters, source) if isinstance(source, SmilesRow) else _look_at_record(filters, source)


def _look_at_row(filters: Filters, row: SmilesRow) -> Candidate | Skipped:
    from gaga.chem.embed import NotEmbedded, parse
    from gaga.chem.facts import identity_of_smiles

    try:
        parsed = parse(row.smiles, largest_fragment=filters.largest_fragment)
    except NotEmbedded as error:
        return Skipped(error.reason, row.where, row.smiles[:40])
    reason = filters.against(parsed.atomic_numbers) or (NOT_NEUTRAL if filters.neutral and parsed.charge else "")
    if reason:
        return Skipped(reason, row.where)
    taken = SmilesRow(parsed.smiles, row.where, row.name, row.properties)
    return Candidate(taken, parsed.atomic_numbers, parsed.charge, identity_of_smiles(parsed.canonical))


def _look_at_record(filters: Filters, record: Record) -> Candidate | Skipped:
    from gaga.chem import facts

    if filters.largest_fragment:
        record = facts.largest_fragment(record)
    reason = filters.against(record.atomic_numbers)
    if not reason and filters.neutral and not facts.is_neutral(record):
        reason = NOT_NEUTRAL
    if reason:
        return Skipped(reason, record.name)
    identity = facts.identity(record) if filters.no_duplicates else b""
    return Candidate(record, record.atomic_numbers, facts.total_charge(record) or 0, identity)
