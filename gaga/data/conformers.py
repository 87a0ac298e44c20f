"""Which records of a user's file are conformers of one molecule, so that no split cuts a molecule."""

import re
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Int64

from gaga.chem.connectivity import Bonds, bonds_by_distance, same_graph
from gaga.chem.elements import symbol_of
from gaga.chem.facts import smiles_of
from gaga.chem.records import Record
from gaga.data.dataset import numbered_anew

_FEWEST_NAMES, _FEWEST_SMILES = 10, 3  # molecules: a name may be no molecule's
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+", re.ASCII)
_TERM = re.compile(r"([A-Z][a-z]?)(\d*)", re.ASCII)

_SMILES, _NAME, _BONDS = "SMILES", "name", "bonds"
_WHY = {
    _SMILES: "they have the same SMILES and atoms",
    _NAME: "they have the same title and atoms",
    _BONDS: "they stand in a row, with the same atoms and the same bonds by distance",
}
_OVERRULE = "With `one_molecule_per_record=True` each record is a molecule of its own."

Keys = list[Hashable]


def conformers(records: Sequence[Record]) -> tuple[Int64[np.ndarray, " M"] | None, list[str]]:
    """Which molecule each record is a conformer of, 0, 1, 2, ... (None if each is its own), and why in words.

    Conformers have the same SMILES and the same atoms in any order. If a record has no SMILES, its title counts:
    records of one title are conformers if they have the same atoms and no different bonds. A title that is the formula
    identifies nothing, nor do titles that tell fewer than ten molecules apart. Records with neither are conformers if
    they stand in a row with the same elements and the same bonds, as in the ensembles of CREST, GOAT and xtb; other
    records of the same order of atoms with those bonds belong to them.
    """
    graphs = _Graphs(records)
    atoms = [np.sort(record.atomic_numbers).tobytes() for record in records]
    smiles = [smiles_of(record) for record in records]
    by_smiles: Keys = [(_SMILES, given, its) if given else None for given, its in zip(smiles, atoms, strict=True)]
    names = _identifying_names(records, by_smiles, atoms, graphs)
    by_name: Keys = [(_NAME, name, its) if name else None for name, its in zip(names, atoms, strict=True)]
    keys = [first or second for first, second in zip(by_smiles, by_name, strict=True)]
    if any(by_name) and _molecules(keys) < _FEWEST_NAMES:
        keys = by_smiles
    if _molecules(keys) < _FEWEST_SMILES:
        keys = [None] * len(records)
    keys = [key or (_BONDS, run) for key, run in zip(keys, _runs(records, keys, atoms, graphs), strict=True)]
    numbers: dict[Hashable, int] = {}
    found = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return numbered_anew(found), _said(Counter(keys))


def _molecules(keys: Keys) -> int:
    """How many molecules there are if a record without a key is one."""
    return len({key or i for i, key in enumerate(keys)})


def _said(sizes: Counter[Hashable]) -> list[str]:
    lines = []
    for kind, why in _WHY.items():
        several = [n for key, n in sizes.items() if isinstance(key, tuple) and key[0] == kind and n > 1]
        if several:
            molecules = f"{len(several):,} molecule{'s' if len(several) > 1 else ''}"
            lines.append(f"{sum(several):,} records are conformers of {molecules}: {why}.")
    return [*lines, _OVERRULE] if lines else []


class _Graphs:
    """The bonds of records by distance, computed when they are first asked for."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._known: dict[int, Bonds] = {}

    def __getitem__(self, i: int) -> Bonds:
        if i not in self._known:
            record = self._records[i]
            self._known[i] = bonds_by_distance(record.atomic_numbers, record.positions)
        return self._known[i]

    def same(self, i: int, j: int) -> bool:
        """Whether two records of the same elements, in any order, have the same bonds."""
        if not (self[i].plausible and self[j].plausible):
            return False
        numbers = [self._records[k].atomic_numbers for k in (i, j)]
        if np.array_equal(numbers[0], numbers[1]) and self[i].may_be_those_of(self[j]):
            return True
        return same_graph(numbers, [self[i], self[j]])

    def differ(self, i: int, j: int) -> bool:
        """Whether they surely have different bonds."""
        return self[i].plausible and self[j].plausible and not self[i].may_be_those_of(self[j])


def _identifying_names(records: Sequence[Record], given: Keys, atoms: list[bytes], graphs: _Graphs) -> list[str]:
    """Names that several records share, if they can be one molecule's; empty for others."""
    members: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        if given[i] is None and (name := record.name.strip()):
            members.setdefault(name, []).append(i)
    found = [""] * len(records)
    for name, its in members.items():
        if len(its) > 1 and _identifies(name, [records[i] for i in its], its, atoms, graphs):
            for i in its:
                found[i] = name
    return found


def _identifies(name: str, records: list[Record], places: list[int], atoms: list[bytes], graphs: _Graphs) -> bool:
    if len({atoms[i] for i in places}) > 1 or _is_formula(name, records[0]):
        return False
    first: dict[bytes, int] = {}  # of each order of atoms
    for i, record in zip(places, records, strict=True):
        other = first.setdefault(record.atomic_numbers.tobytes(), i)
        if other != i and graphs.differ(other, i):
            return False
    return True


def _is_formula(name: str, record: Record) -> bool:
    """Whether a name is the formula of a molecule, whatever the order of elements: C4H10O, C4 H10 O, CH3CH2OH."""
    text = "".join(name.split()).replace("_", "")
    if not _FORMULA.fullmatch(text):
        return False
    counts: Counter[str] = Counter()
    for symbol, number in _TERM.findall(text):
        counts[symbol] += int(number[:6] or 1)
    return counts == Counter(symbol_of(int(z)) for z in record.atomic_numbers)


def _runs(records: Sequence[Record], given: Keys, atoms: list[bytes], graphs: _Graphs) -> list[Hashable]:
    """For each record without a key, what it has in common with its conformers."""
    starts, lengths = list(range(len(records))), Counter[int]()
    orders = [record.atomic_numbers.tobytes() for record in records]
    for i in range(len(records)):
        if i and given[i] is None is given[i - 1] and atoms[i] == atoms[i - 1] and graphs.same(starts[i - 1], i):
            starts[i] = starts[i - 1]
        lengths[starts[i]] += 1
    ensembles = {(orders[start], graphs[start].likely) for start, length in lengths.items() if length > 1}
    repeated = {order for order, _ in ensembles}
    common: dict[int, Hashable] = {start: start for start in lengths}
    for start in lengths:
        if given[start] is None and orders[start] in repeated:
            key = (orders[start], graphs[start].likely)
            common[start] = key if key in ensembles else start
    return [common[start] for start in starts]
