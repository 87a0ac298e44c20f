"""Conformers as the forms of GEOM-Drugs have them, checked, and gathered into blocks."""

import math
from abc import ABC, abstractmethod
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaga.chem.elements import N_ELEMENTS
from gaga.chem.records import MAX_COORDINATE, NO_ATOMS, NON_FINITE, TOO_FAR, UNKNOWN_ELEMENT, UNREADABLE
from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.core.progress import Progress
from gaga.data.streamed import Block

OUTSIDE = "element outside the vocabulary"
NO_ENERGY = "no energy"
TOO_LARGE = "over 10,000 atoms"
MAX_ATOMS = 10_000  # of a conformer; GEOM's largest have 181
_CONFORMERS, _ATOMS = 20_000, 1 << 20  # of a block


class Conformer(NamedTuple):
    """Atomic numbers [N], positions [N, 3] in Å, and the source's own number."""

    numbers: NDArray[np.uint8]
    positions: NDArray[np.float32]
    id: int


@dataclass(eq=False)
class MoleculeConformers:
    """The usable conformers of a molecule, those of lowest energy; of equal energy, the first.

    A conformer that cannot be used is noticed, and counted, if its energy is low enough.

    Attributes:
        most: how many are kept.
        smiles: of the molecule; empty if it is not known.
        skipped: conformers that cannot be used, by reason.
        notes: what the reader counts.
        place: where the source is read on after this molecule.
        done: bytes of the source read so far.
    """

    most: int
    smiles: str = ""
    skipped: Counter[str] = field(default_factory=Counter)
    notes: Mapping[str, int] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)
    done: int = 0
    _kept: list[tuple[float, Conformer]] = field(default_factory=list)

    @property
    def conformers(self) -> list[Conformer]:
        """The conformers that are kept, lowest energy first."""
        return [conformer for _, conformer in self._kept]

    def wants(self, energy: float) -> bool:
        """Whether a conformer of this energy would be kept."""
        return len(self._kept) < self.most or energy < self._kept[-1][0]

    def add(self, conformer: Conformer | str, energy: float = 0.0) -> None:
        """Keep a conformer, or count the reason why it cannot be used."""
        if isinstance(conformer, str):
            self.skipped[conformer] += 1
            return
        insort(self._kept, (energy, conformer), key=lambda pair: pair[0])
        del self._kept[self.most :]


class Source(ABC):
    """A form of GEOM-Drugs on the disk.

    Attributes:
        path: of the file or folder.
        has_smiles: whether SMILES of molecules are known.
        size: bytes of all that is read.
        grouping: a sentence that says which conformers are taken for one molecule.
    """

    has_smiles = True
    grouping = ""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    @abstractmethod
    def molecules(self, place: Mapping[str, Any], most: int, checker: "Checker") -> Iterator[MoleculeConformers]:
        """The molecules from a place on, with `most` conformers each at most."""

    def identity(self) -> dict[str, Any]:
        """What decides what is read besides the file itself."""
        return {}

    def rule(self, notes: Mapping[str, int]) -> str:
        """A sentence that says which conformers were taken for one molecule."""
        return self.grouping


class Checker:
    """Makes conformers of what a file holds, or says why not.

    Args:
        vocabulary: elements that may occur; None for all.
    """

    def __init__(self, vocabulary: tuple[int, ...] | None) -> None:
        self._known = np.zeros(256, dtype=bool)
        self._known[list(range(1, N_ELEMENTS + 1) if vocabulary is None else vocabulary)] = True

    def check(self, numbers: NDArray[Any], positions: NDArray[Any], identity: int) -> Conformer | str:
        """A conformer of atomic numbers [N] of any type and positions [N, 3], or the reason why it cannot be used."""
        if not len(numbers):
            return NO_ATOMS
        if len(numbers) > MAX_ATOMS:
            return TOO_LARGE
        if not np.isfinite(positions).all():
            return NON_FINITE
        if np.abs(positions).max() > MAX_COORDINATE:
            return TOO_FAR
        if not ((numbers >= 1) & (numbers <= N_ELEMENTS) & (numbers == np.rint(numbers))).all():
            return UNKNOWN_ELEMENT
        whole = numbers.astype(np.uint8)
        return Conformer(whole, positions.astype(np.float32), identity) if self._known[whole].all() else OUTSIDE

    def check_rows(self, rows: Any, identity: int) -> Conformer | str:
        """The same of rows [Z, x, y, z], which may be anything."""
        try:
            table = np.array(rows, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return UNREADABLE
        if table.size == 0:
            return NO_ATOMS
        if table.ndim != 2 or table.shape[1] != 4:
            return UNREADABLE
        return self.check(table[:, 0], table[:, 1:], identity)


def energy_of(conformer: Any) -> float | None:
    """The `totalenergy` of a conformer; None if there is none."""
    energy = conformer.get("totalenergy") if isinstance(conformer, dict) else None
    try:
        return float(energy) if isinstance(energy, int | float) and math.isfinite(energy) else None
    except OverflowError:
        return None


def identity_of(found: Any, number: int) -> int:
    """The source's own number of a conformer if it has one that fits; else its number in its molecule."""
    return found if type(found) is int and abs(found) < 1 << 63 else number


def blocks(
    molecules: Iterable[MoleculeConformers], *, has_smiles: bool, total: int, progress: Progress
) -> Iterator[Block]:
    """Molecules gathered into blocks of about 20,000 conformers; progress is called with the bytes read."""
    some: list[MoleculeConformers] = []
    conformers = atoms = count = 0
    for molecule in molecules:
        some.append(molecule)
        count += bool(molecule.conformers)
        conformers += len(molecule.conformers)
        atoms += sum(len(conformer.numbers) for conformer in molecule.conformers)
        if conformers >= _CONFORMERS or atoms >= _ATOMS or len(some) >= _CONFORMERS:
            yield _block(some, has_smiles=has_smiles)
            progress(molecule.done, total, f"{count:,} molecules")
            some, conformers, atoms = [], 0, 0
    if some:
        yield _block(some, has_smiles=has_smiles)


def _block(molecules: list[MoleculeConformers], *, has_smiles: bool) -> Block:
    kept = [molecule for molecule in molecules if molecule.conformers]
    conformers = [conformer for molecule in kept for conformer in molecule.conformers]
    skipped, notes = Counter[str](), Counter[str]()
    for molecule in molecules:
        skipped.update(molecule.skipped)
        notes.update(molecule.notes)
    return Block(
        molecules=pack((conformer.numbers, conformer.positions) for conformer in conformers),
        ids=np.array([conformer.id for conformer in conformers], dtype=np.int64),
        sizes=np.array([len(molecule.conformers) for molecule in kept], dtype=np.int64),
        smiles=tuple(molecule.smiles for molecule in kept) if has_smiles else None,
        skipped=skipped,
        notes=notes,
        place=molecules[-1].place,
    )


class Counted:
    """A file whose bytes are counted, so that no object of it fills the memory.

    Args:
        file: what is read, a binary file or like one.
        most: bytes that may be read between two calls of `restart`.
        what: what holds them, for the error.
    """

    def __init__(self, file: Any, most: int, what: str) -> None:
        self._file, self._most, self._what = file, most, what
        self._since = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            ValueError: they are too many.
        """
        content: bytes = self._file.read(size)
        self._since += len(content)
        if self._since > self._most:
            raise ValueError(f"{self._what} has over {self._most:,} bytes")
        return content

    def restart(self) -> None:
        """Begin to count anew."""
        self._since = 0


def cut_short(path: Path, conformers: str) -> InvalidInput:
    """The error of a source that ends too early."""
    return InvalidInput(
        f"{path} is cut short",
        received=conformers,
        remedy="fetch the rest of it, then add `resume=True`: what was read is kept",
    )
