"""The user's own molecules -> a data set: vocabulary, split and what was skipped are derived.

Molecules pass as a stream: read, looked at by filters, given a geometry if that is asked for.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaga.chem.elements import symbol_of
from gaga.chem.facts import smiles_of, total_charge
from gaga.chem.io import READ_SUFFIXES, SMILES_SUFFIXES, Record, has_smiles_only, read_molecules, read_smiles
from gaga.chem.tables import has_columns
from gaga.chem.xyz import QM9_UNITS
from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.core.progress import Progress, silent
from gaga.core.text import decimal, legible
from gaga.data.conformers import conformers
from gaga.data.dataset import Annotations, Dataset, already_read, vocabulary_of
from gaga.data.filters import EVERYTHING, Account, Candidate, Filters, chosen
from gaga.data.geometries import CHARGE, ENERGY, ENERGY_UNIT, NO_GEOMETRIES, XTB, GeometryOptions, made
from gaga.data.preparation import Preparation
from gaga.data.splits import content_split
from gaga.storage.partial import NO_PARTIALS, PartialResults

SUFFIXES = READ_SUFFIXES + SMILES_SUFFIXES
PUBLISHED_NAMES = ("qm9", "geom")
MAX_SMILES = 1000  # letters of one that is kept; each takes as much memory as the longest
MAX_PROPERTIES = 1000  # of different names; each is a column, so that more would grow with the square of a file


@dataclass(frozen=True, kw_only=True)
class UserDataOptions:
    """What is asked of a user's molecules.

    Attributes:
        filters: which of them are taken.
        making: how geometries are made.
        smiles_column: the heading of a CSV file's SMILES; None for one that is called so.
        workers: processes for what takes long; all cores if None. The data set does not depend on them.
        one_molecule_per_record: no two records are conformers of one molecule.
    """

    filters: Filters = EVERYTHING
    making: GeometryOptions = NO_GEOMETRIES
    smiles_column: str | None = None
    workers: int | None = None
    one_molecule_per_record: bool = False

    def non_defaults(self) -> dict[str, str]:
        """What was asked for, by the names of the options."""
        found = {**_values(self.filters), **_values(self.making)}
        if self.filters.elements is not None:
            found["elements"] = ",".join(map(symbol_of, self.filters.elements))
        if not self.making.embed:
            found.pop("seed")
        limit = found.pop("time_limit_s")
        if self.making.makes:
            found["time_limit"] = limit
        if self.smiles_column is not None:
            found["smiles_column"] = self.smiles_column
        if self.one_molecule_per_record:
            found["one_molecule_per_record"] = "yes"
        return found


def _values(options: Filters | GeometryOptions) -> dict[str, str]:
    named = {field.name: getattr(options, field.name) for field in fields(options)}
    asked = {name: value for name, value in named.items() if value is not None and value is not False}
    return {name: "yes" if value is True else str(value) for name, value in asked.items()}


DEFAULTS = UserDataOptions()


def read_own(
    path: Path, progress: Progress = silent, *, wanted: UserDataOptions = DEFAULTS, pieces: PartialResults = NO_PARTIALS
) -> Dataset:
    """The molecules of a file or folder, in order; the elements that occur are the vocabulary.

    Numeric properties become the data set's, as do SMILES that the file has; molecules that cannot be used or are not
    wanted are counted by reason.

    Args:
        path: of molecules with a geometry, or of SMILES to be embedded.
        progress: called with the bytes read.
        wanted: which molecules are taken, and how geometries are made.
        pieces: geometries that were made are kept there.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the suffix is unknown, no molecule can be used, or SMILES are not to be embedded.
        Unavailable: a file cannot be read, or xtb is not installed.
    """
    account = Account()
    records, charges = list[Record](), list[int | None]()
    for record in own_records(path, account, progress, wanted=wanted, pieces=pieces):
        charges.append(total_charge(record))
        records.append(replace(record, bonding=None))  # which would take as much memory as the atoms
    if not records:
        raise InvalidInput(f"{path} holds no usable molecule", received=_counts(account.left_out))
    molecules = pack((record.atomic_numbers, record.positions) for record in records)
    groups, taken = (None, []) if wanted.one_molecule_per_record else conformers(records)
    return Dataset(
        name=dataset_name(path),
        molecules=molecules,
        ids=np.arange(len(records)),
        splits=content_split(molecules, groups=groups),
        vocabulary=vocabulary_of(molecules.atomic_numbers),
        groups=groups,
        skipped=dict(account.left_out),
        skipped_records=tuple(account.skipped),
        origin=legible(path.name),
        preparation=report(account, len(records), wanted, taken),
        read_annotations=already_read(annotations_of(records, charges)),
    )


def own_records(
    path: Path,
    account: Account,
    progress: Progress = silent,
    *,
    wanted: UserDataOptions = DEFAULTS,
    pieces: PartialResults = NO_PARTIALS,
) -> Iterator[Record]:
    """The molecules that become the data set, one at a time; `account` is complete when they have passed.

    Arguments and errors are those of `read_own`; it is no error that there is none.
    """
    candidates = _candidates(path, account, progress, wanted)
    if wanted.making.makes:
        return made(candidates, wanted.making, account, workers=wanted.workers, pieces=pieces)
    return (candidate.source for candidate in candidates if isinstance(candidate.source, Record))


def _candidates(path: Path, account: Account, progress: Progress, wanted: UserDataOptions) -> Iterator[Candidate]:
    _check_kind(path, wanted)
    if not has_smiles_only(path):
        records = read_molecules(path, progress, bonding=True, notes=account.notes)
        return chosen(records, wanted.filters, account, wanted.workers)
    if not wanted.making.embed:
        raise InvalidInput(
            f"{path} holds SMILES, which have no geometry",
            remedy=f"make one with gaga data prepare {path.name} --embed --out {dataset_name(path)}.h5, and use that",
        )
    rows = read_smiles(path, progress, column=wanted.smiles_column)
    return chosen(rows, wanted.filters, account, wanted.workers)


def _check_kind(path: Path, wanted: UserDataOptions) -> None:
    """Stop if something is asked of a file that only another kind of file can be asked.

    Raises:
        InvalidInput: so it is.
    """
    if wanted.making.embed and not has_smiles_only(path):
        raise InvalidInput(
            f"{path} has geometries, and `embed=True` makes them from SMILES",
            remedy="leave `embed` out, or read a table of SMILES; `optimise=xtb` relaxes what is there",
        )
    if wanted.smiles_column is not None and not has_columns(path.name):
        raise InvalidInput(f"{path} has no columns", received=f"`smiles_column={wanted.smiles_column}`")


def report(account: Account, kept: int, wanted: UserDataOptions, taken: Sequence[str] = ()) -> Preparation:
    """What was asked and what became of the molecules, when all have passed; `taken` says which are conformers."""
    return Preparation(
        read=account.read,
        kept=kept,
        asked=wanted.non_defaults(),
        force_fields=dict(account.force_fields),
        programs=programs(wanted),
        notes=(*(f"{what}: {count:,}." for what, count in account.notes.items()), *taken),
    )


def programs(wanted: UserDataOptions) -> dict[str, str]:
    """Versions of the programs that the molecules depend on.

    Raises:
        Unavailable: xtb is asked for and not installed.
    """
    found = {}
    if wanted.making.embed or wanted.filters.perceives:
        from rdkit import rdBase

        found["rdkit"] = str(rdBase.rdkitVersion)
    if wanted.making.optimise == XTB:
        from gaga.chem.xtb import version

        found["xtb"] = version()
    return found


def annotations_of(records: Sequence[Record], charges: Sequence[int | None]) -> Annotations:
    """SMILES, if any record has one, the properties that are numbers, and total charges unless all are 0."""
    found = [text if len(text := smiles_of(record)) <= MAX_SMILES else "" for record in records]
    smiles = np.array(found, dtype=np.str_) if any(found) else None
    properties = {**_numeric_properties(records), **_total_charges(charges)}
    units = {ENERGY: ENERGY_UNIT} if ENERGY in properties else {}
    if properties.keys() >= QM9_UNITS.keys():  # one of its publisher's files
        units |= QM9_UNITS
    return Annotations(smiles=smiles, properties=properties, units=units)


def _total_charges(charges: Sequence[int | None]) -> dict[str, NDArray[np.float64]]:
    """The charges that a file gives as a property, NaN for molecules without one; no property if all are 0."""
    if not any(charges):
        return {}
    return {CHARGE: np.array([np.nan if charge is None else charge for charge in charges], dtype=np.float64)}


def dataset_name(path: Path) -> str:
    """The name that results of a user's file are filed under: its own, without the suffix.

    A file called like a published data set gets another name: its results are not that data set's.
    """
    name = legible(os.path.basename(os.path.realpath(path)))
    suffix = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix)), "")
    stem = name[: len(name) - len(suffix)]
    return f"my_{stem}" if stem.lower() in PUBLISHED_NAMES else stem


def _counts(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in skipped.most_common()) or "no molecule at all"


def _numeric_properties(records: Sequence[Record]) -> dict[str, NDArray[np.float64]]:
    """Properties that are numbers wherever they occur, NaN elsewhere; of MAX_PROPERTIES names at most."""
    columns: dict[str, NDArray[np.float64]] = {}
    text: set[str] = set()
    for i, record in enumerate(records):
        for name, value in record.properties.items():
            if name in text or (name not in columns and len(columns) + len(text) >= MAX_PROPERTIES):
                continue
            if isinstance(value, str) and not value.strip():
                continue  # nothing is known
            try:
                number = decimal(value) if isinstance(value, str) else float(value)
                columns.setdefault(name, np.full(len(records), np.nan))[i] = number
            except ValueError:
                text.add(name)
                columns.pop(name, None)
    return columns
