"""The molecule or fragment that sampling is asked to keep, or to stay near to, from a file. Needs no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from gaga.chem.elements import symbol_of
from gaga.chem.io import read_molecules
from gaga.chem.records import Record, Skipped
from gaga.core.errors import InvalidInput

_BOND_TO_HYDROGEN = 1.3  # Å, at most


@dataclass(frozen=True, eq=False)
class Fragment:
    """k atoms: their elements, [k], and where they are in Å, [k, 3]."""

    atomic_numbers: UInt8[np.ndarray, " k"]
    positions: Float64[np.ndarray, "k 3"]

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    def require(self, vocabulary: Sequence[int], path: Path) -> "Fragment":
        """Itself, if these are its elements.

        Raises:
            InvalidInput: it has another.
        """
        if unknown := sorted({symbol_of(int(z)) for z in self.atomic_numbers if z not in vocabulary}):
            known = ", ".join(map(symbol_of, vocabulary))
            raise InvalidInput(f"the model does not know {', '.join(unknown)}", received=path, remedy=f"use {known}")
        return self


def read_fragment(path: Path, fix: Sequence[int] | None = None, attach: Sequence[int] | None = None) -> Fragment:
    """The atoms to keep.

    Args:
        path: a file of one molecule, or of several fragments that keep their relative pose.
        fix: the atoms that are kept, numbered from 1 in the order of the file; all if None.
        attach: atoms that new atoms may bind to; hydrogens within 1.3 Å of them are not kept.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it has no molecule, it has no such atoms, or no atom is kept.
    """
    whole = _joined(_records(path))
    kept = _chosen(whole, fix, "fix", path) if fix else np.arange(len(whole))
    if attach:
        centres = _chosen(whole, attach, "attach", path)
        hydrogens = np.flatnonzero(whole.atomic_numbers == 1)
        apart = np.linalg.norm(whole.positions[hydrogens][:, None] - whole.positions[centres], axis=2)
        bound = hydrogens[(apart < _BOND_TO_HYDROGEN).any(axis=1)]
        kept = np.setdiff1d(kept, np.setdiff1d(bound, centres))
    if not len(kept):
        raise InvalidInput("no atom is left to keep", received=path)
    return Fragment(whole.atomic_numbers[kept], whole.positions[kept])


def read_molecule(path: Path) -> Fragment:
    """The one molecule of a file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it has none, or several.
    """
    records = _records(path)
    if len(records) > 1:
        raise InvalidInput("`around` takes a file of one molecule", received=f"{path}, {len(records)} molecules")
    return _joined(records)


def _records(path: Path) -> list[Record]:
    records: list[Record] = []
    for record in read_molecules(path):
        if isinstance(record, Skipped):
            raise InvalidInput(f"not a molecule: {record.reason}", received=record.where)
        records.append(record)
    return records


def _joined(records: Iterable[Record]) -> Fragment:
    numbers, places = zip(*((record.atomic_numbers, record.positions) for record in records), strict=True)
    return Fragment(np.concatenate(numbers), np.concatenate(places).astype(np.float64))


def _chosen(whole: Fragment, numbers: Sequence[int], name: str, path: Path) -> Int64[np.ndarray, " n"]:
    atoms = np.unique(np.asarray(numbers, dtype=np.int64))
    if atoms[0] < 1 or atoms[-1] > len(whole):
        outside = atoms[0] if atoms[0] < 1 else atoms[-1]
        raise InvalidInput(f"`{name}` names atom {outside}; {path} has {len(whole)} atoms", remedy="count from 1")
    return atoms - 1
