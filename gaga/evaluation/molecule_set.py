"""The molecules that are evaluated, and what their source says of each: name, seed, charge, or why it was skipped."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int16, Int64, UInt8
from numpy.typing import NDArray

from gaga.chem.elements import symbol_of
from gaga.chem.facts import total_charge
from gaga.chem.io import READ_SUFFIXES, Record, Skipped, read_molecules
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.text import printable
from gaga.data import Dataset, load_dataset
from gaga.data.geometries import CHARGE
from gaga.data.own import PUBLISHED_NAMES
from gaga.storage.blocks import TEXT, Blocks, FiledColumn, Held
from gaga.storage.files import expanded
from gaga.storage.on_disk import spill_to_disk

NO_SEED = -1
SEED = "gaga_seed"
"""The property in which `gaga sample` writes a molecule's seed."""

MAX_TEXT = 120  # letters of a name or a detail that are kept; an SDF's title has 80
_LARGEST_CHARGE = np.iinfo(np.int16).max  # a larger one is no molecule's, and neither is this
_HYDROGEN, _CARBON = 1, 6
_GATHERED = 4096  # records that are written at a time


@dataclass(frozen=True, eq=False, kw_only=True)
class SkippedRecords:
    """The S records that could not be used, in their order.

    Attributes:
        indices: their numbers among all records, [S].
        reasons: why, in a few fixed words, [S].
        where: file, record and line, [S].
        details: what was found there, or empty, [S].
        n_atoms: atoms of a molecule whose positions are not finite, 0 for other reasons, [S]; None in results of
            earlier versions.
    """

    indices: Int64[np.ndarray, " S"]
    reasons: Blocks
    where: Blocks
    details: Blocks
    n_atoms: Int64[np.ndarray, " S"] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Records:
    """What is known of each of M records besides the verdict; texts are in files.

    Attributes:
        names: titles, [M]; empty if there is none.
        formulas: molecular formulas in Hill's order, [M]; empty for a record that was skipped.
        seeds: seeds of `gaga sample`, [M]; -1 if there is none.
        charges: total charges that the molecules are judged with, [M]; 0 if the source gives none.
        n_without_charge: molecules that the source gives no charge; skipped records are not counted.
        has_hydrogens: whether any molecule has an explicit hydrogen.
        skipped: the records that are molecules without atoms here, and why.
    """

    names: Blocks
    formulas: Blocks
    seeds: Blocks
    charges: Int16[np.ndarray, " M"]
    n_without_charge: int
    has_hydrogens: bool
    skipped: SkippedRecords


@dataclass(frozen=True, eq=False, kw_only=True)
class MoleculeSet:
    """M molecules that are evaluated: positions in Å, elements, and what else is known. A skipped one has no atoms."""

    molecules: PackedMolecules
    records: Records


def molecule_set(
    molecules: PackedMolecules | Dataset | str | Path, charges: Sequence[int] | None = None
) -> MoleculeSet:
    """The molecules that `evaluate` looks at; a record of a file that cannot be used is one without atoms.

    Args:
        molecules: as `evaluate` takes them.
        charges: total charges, one for each molecule; None for those that the source gives, and 0 for others.

    Raises:
        InvalidInput: no usable molecule in a file, or charges that are not one for each molecule.
        NotFound: no such file or data set.
    """
    if isinstance(molecules, PackedMolecules):
        found = _packed(molecules, np.zeros(len(molecules), np.int16), np.zeros(len(molecules), dtype=bool))
    elif isinstance(molecules, Dataset):
        found = _packed(molecules.molecules, *charges_of(molecules))
    else:
        path = expanded(molecules)
        is_file = path.is_dir() or path.name.lower().endswith(READ_SUFFIXES)
        found = _read(path) if is_file else molecule_set(load_dataset(molecules))
    return found if charges is None else _with_charges(found, charges)


def charges_of(dataset: Dataset) -> tuple[Int16[np.ndarray, " M"], Bool[np.ndarray, " M"]]:
    """The total charge of each molecule of a data set, 0 if it gives none, and whether it gives one."""
    n = len(dataset)
    if dataset.name in PUBLISHED_NAMES:  # whose molecules are neutral
        return np.zeros(n, np.int16), np.ones(n, dtype=bool)
    values = dataset.properties.get(CHARGE, np.full(n, np.nan))
    given = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) <= _LARGEST_CHARGE)
    return np.where(given, values, 0).astype(np.int16), given


def _with_charges(found: MoleculeSet, charges: Sequence[int]) -> MoleculeSet:
    if len(charges) != len(found.molecules):
        raise InvalidInput("there is not one charge for each molecule", received=f"{len(charges)} charges")
    given = np.clip(np.asarray(charges, dtype=np.int64), -_LARGEST_CHARGE, _LARGEST_CHARGE).astype(np.int16)
    return replace(found, records=replace(found.records, charges=given, n_without_charge=0))


def _packed(molecules: PackedMolecules, charges: Int16[np.ndarray, " M"], given: Bool[np.ndarray, " M"]) -> MoleculeSet:
    columns = _Columns()
    rows = zip(pairwise(molecules.offsets), charges.tolist(), (given | (molecules.n_atoms == 0)).tolist(), strict=True)
    for (start, stop), charge, known in rows:
        columns.add_molecule("", molecules.atomic_numbers[start:stop], NO_SEED, charge if known else None)
    return MoleculeSet(molecules=molecules, records=columns.records())


def _read(path: Path) -> MoleculeSet:
    """The molecules of a file; a record that cannot be used becomes a molecule without atoms, which fails."""
    columns = _Columns()

    def atoms() -> Iterator[tuple[UInt8[np.ndarray, " N"], Float[np.ndarray, "N 3"]]]:
        for record in read_molecules(path, bonding=True):
            if isinstance(record, Skipped):
                columns.add_skipped(record)
                yield np.zeros(0, np.uint8), np.zeros((0, 3), np.float32)
            else:
                columns.add_molecule(record.name, record.atomic_numbers, _seed_of(record), total_charge(record))
                yield record.atomic_numbers, record.positions

    molecules = spill_to_disk(atoms())
    if columns.skipped.total() == len(molecules):
        counts = ", ".join(f"{n} x {reason}" for reason, n in columns.skipped.items())
        raise InvalidInput(f"{path} holds no usable molecule", received=counts or "no records")
    return MoleculeSet(molecules=molecules, records=columns.records())


def _seed_of(record: Record) -> int:
    text = str(record.properties.get(SEED, "")).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else NO_SEED


def formula_of(atomic_numbers: UInt8[np.ndarray, " N"]) -> str:
    """The molecular formula in Hill's order: carbon, hydrogen, the others by symbol; by symbol without carbon."""
    counts = Counter(atomic_numbers.tolist())
    symbols = {symbol_of(number): n for number, n in counts.items()}
    first = [symbol_of(number) for number in (_CARBON, _HYDROGEN) if number in counts] if counts[_CARBON] else []
    order = [*first, *sorted(set(symbols) - set(first))]
    return "".join(f"{symbol}{symbols[symbol] if symbols[symbol] > 1 else ''}" for symbol in order)


def _one_line(text: str) -> str:
    """A text of a file as one line without control characters, cut where it is very long."""
    return printable(" ".join(text.split())[:MAX_TEXT])


_TYPES: dict[str, Any] = {
    "names": TEXT, "formulas": TEXT, "seeds": np.int64, "charges": np.int16,
    "indices": np.int64, "reasons": TEXT, "where": TEXT, "details": TEXT, "n_atoms": np.int64,
}  # fmt: skip


class _Columns:
    """Columns that grow record by record: in memory as long as they are short, else in nameless files."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._n, self._n_without_charge, self._has_hydrogens = 0, 0, False
        self._waiting: dict[str, list[Any]] = {name: [] for name in _TYPES}
        self._filed: dict[str, FiledColumn] = {}

    def add_molecule(self, name: str, atomic_numbers: UInt8[np.ndarray, " N"], seed: int, charge: int | None) -> None:
        self._has_hydrogens = self._has_hydrogens or bool((atomic_numbers == _HYDROGEN).any())
        self._n_without_charge += charge is None
        kept = max(-_LARGEST_CHARGE, min(charge or 0, _LARGEST_CHARGE))
        self._add(names=_one_line(name), formulas=formula_of(atomic_numbers), seeds=seed, charges=kept)
        self._n += 1

    def add_skipped(self, record: Skipped) -> None:
        self.skipped[record.reason] += 1
        where, detail = printable(record.where), _one_line(record.detail)
        self._add(indices=self._n, reasons=record.reason, where=where, details=detail, n_atoms=record.n_atoms)
        self._add(names="", formulas="", seeds=NO_SEED, charges=0)
        self._n += 1

    def _add(self, **values: Any) -> None:
        for name, value in values.items():
            self._waiting[name].append(value)
            if len(self._waiting[name]) == _GATHERED:
                self._write(name)

    def _write(self, name: str) -> None:
        if name not in self._filed:
            self._filed[name] = FiledColumn(_TYPES[name])
        self._filed[name].append(self._rest(name))

    def _rest(self, name: str) -> NDArray[Any]:
        """The values that are not in a file yet; they are forgotten here."""
        values = np.array(self._waiting[name], dtype=np.str_ if _TYPES[name] is TEXT else _TYPES[name])
        self._waiting[name].clear()
        return values

    def _column(self, name: str) -> Blocks:
        if name not in self._filed:
            return Held(self._rest(name))
        self._write(name)
        return self._filed[name]

    def _whole(self, name: str) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, _TYPES[name]), *self._column(name)])

    def records(self) -> Records:
        """The columns of all records."""
        return Records(
            names=self._column("names"),
            formulas=self._column("formulas"),
            seeds=self._column("seeds"),
            charges=self._whole("charges"),
            n_without_charge=self._n_without_charge,
            has_hydrogens=self._has_hydrogens,
            skipped=SkippedRecords(
                indices=self._whole("indices"),
                reasons=self._column("reasons"),
                where=self._column("where"),
                details=self._column("details"),
                n_atoms=self._whole("n_atoms"),
            ),
        )
