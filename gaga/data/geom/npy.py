"""GEOM-Drugs as EDM's code keeps it (Hoogeboom 2022): `geom_drugs_30.npy`, rows [conformer, Z, x, y, z] in float64.

The file says where a conformer ends, not where a molecule does, and has no energies: EDM's code wrote the conformers
of a molecule one after the other, lowest energy first. Next to it may lie `geom_drugs_n_30.npy`, the number of atoms of
each conformer, and `geom_drugs_smiles.txt`, a line for each molecule.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from gaga.chem.connectivity import bond_graph, composition, composition_of_smiles, may_be_conformers
from gaga.core.errors import InvalidInput
from gaga.data.geom.conformers import MAX_ATOMS, Checker, Conformer, MoleculeConformers, Source, cut_short

BY_SMILES, BY_GRAPH = "by SMILES", "by bond graph"
_COLUMNS = 5
_ROWS = 1 << 17  # read at a time
_AHEAD = 100  # runs of SMILES that are looked through for a composition
_MOST_SMILES = 1 << 28  # bytes of the file of SMILES
_LONGEST_SMILES = 1000  # letters of one whose composition is looked at

Run = tuple[bytes | None, list[str]]
"""Consecutive SMILES of one composition, each once."""


class Header(NamedTuple):
    """Where the rows begin in the file, how many there are, and the type of their numbers."""

    start: int
    rows: int
    dtype: np.dtype[Any]

    def bytes_before(self, row: int) -> int:
        """Where a row begins."""
        return self.start + row * _COLUMNS * self.dtype.itemsize


class NpySource(Source):
    """The `.npy` file and the files next to it.

    Raises:
        InvalidInput: it is no such file, or cut short.
    """

    def __init__(self, path: Path) -> None:
        self._header = read_header(path)
        super().__init__(path, self._header.bytes_before(self._header.rows))
        prefix, number = _parts_of(path.name)
        self._sizes = _sizes(path.with_name(f"{prefix}_n_{number}.npy")) if number else None
        self._smiles = path.with_name(f"{prefix}_smiles.txt")
        self._runs = smiles_runs(self._smiles) if self._smiles.is_file() else []
        self.has_smiles = bool(self._runs)

    def identity(self) -> dict[str, Any]:
        """The SMILES, which decide which conformers are one molecule."""
        return {"SMILES": hashlib.sha256(repr(self._runs).encode()).hexdigest() if self._runs else None}

    def rule(self, notes: Mapping[str, int]) -> str:
        """A sentence that says which conformers were taken for one molecule."""
        graph = "consecutive conformers of the same elements whose bonds, by distance, agree are one molecule"
        if not self._runs:
            return f"Grouped by bond graph: {graph}."
        lines = f"{notes.get(BY_SMILES, 0):,} molecules by the lines of {self._smiles.name}"
        if not notes.get(BY_GRAPH, 0):
            return f"Grouped {lines}: consecutive conformers of a line's composition are one molecule."
        return f"Grouped {lines}, and {notes[BY_GRAPH]:,} by bond graph, which no line is about: {graph}."

    def molecules(self, place: Mapping[str, Any], most: int, checker: Checker) -> Iterator[MoleculeConformers]:
        """The molecules from a place on: the `row`, the `conformer`, and the `run` of SMILES with how many are `used`.

        Raises:
            InvalidInput: a conformer cannot be, or the sizes in the file next to it are not its own.
        """
        row, number = int(place.get("row", 0)), int(place.get("conformer", 0))
        grouping = _Grouping(self._runs, int(place.get("run", 0)), int(place.get("used", 0)))
        molecule = MoleculeConformers(most)
        for rows in self._conformers(row):
            self._check_size(number, len(rows))
            conformer = _checked(checker, rows)
            if isinstance(conformer, Conformer) and grouping.is_new(conformer):
                if molecule.conformers or molecule.skipped:
                    yield molecule
                smiles, rule = grouping.begin(conformer)
                molecule = MoleculeConformers(most, smiles=smiles, notes={rule: 1})
            molecule.add(conformer)
            row, number = row + len(rows), number + 1
            molecule.place = {"row": row, "conformer": number, "run": grouping.run, "used": grouping.used}
            molecule.done = self._header.bytes_before(row)
        if molecule.conformers or molecule.skipped:
            yield molecule

    def _check_size(self, number: int, n_atoms: int) -> None:
        if self._sizes is None or (number < len(self._sizes) and self._sizes[number] == n_atoms):
            return
        raise InvalidInput(
            f"the numbers of atoms next to {self.path} are not those of its conformers",
            received=f"conformer {number:,} has {n_atoms} atoms",
            remedy="delete that file, which is not needed, or fetch both again",
        )

    def _conformers(self, first: int) -> Iterator[Float64[np.ndarray, "N 5"]]:
        """The rows of each conformer, from a row on at which one begins."""
        left = np.zeros((0, _COLUMNS))
        with self.path.open("rb") as file:
            file.seek(self._header.bytes_before(first))
            for rows in self._pieces(file, self._header.rows - first):
                rows = np.concatenate([left, rows])
                cuts = np.flatnonzero(np.diff(rows[:, 0])) + 1
                *whole, left = np.split(rows, cuts)
                yield from whole
                self._check_number(left[0, 0])
                if len(left) > MAX_ATOMS:
                    raise InvalidInput(
                        f"{self.path} is no copy of GEOM-Drugs", received=f"over {MAX_ATOMS:,} rows of a conformer"
                    )
        if len(left):
            yield left

    def _check_number(self, number: float) -> None:
        if not abs(number) < 2.0 ** np.finfo(self._header.dtype).nmant:
            raise _no_copy(self.path, f"conformer {number}, which {self._header.dtype} does not tell from the next one")

    def _pieces(self, file: BinaryIO, rows: int) -> Iterator[NDArray[np.float64]]:
        dtype = self._header.dtype
        for first in range(0, rows, _ROWS):
            wanted = min(_ROWS, rows - first) * _COLUMNS * dtype.itemsize
            content = file.read(wanted)
            if len(content) < wanted:
                raise cut_short(self.path, f"{first:,} of {rows:,} rows")
            yield np.frombuffer(content, dtype).reshape(-1, _COLUMNS).astype(np.float64)


class _Grouping:
    """Which consecutive conformers are one molecule.

    Conformers of another composition are another molecule. If the next lines of the SMILES file have that
    composition, the last of them is about all conformers of it that follow. Otherwise the same elements in the same
    order and bonds that agree make one molecule.

    Args:
        runs: of SMILES, in their order.
        run: the first that may be about what follows, of which `used` SMILES are taken.
    """

    def __init__(self, runs: list[Run], run: int, used: int) -> None:
        self.run, self.used = run, used
        self._runs = runs
        self._first: Conformer | None = None
        self._composition = b""
        self._is_last = False

    def is_new(self, conformer: Conformer) -> bool:
        """Whether a conformer is of another molecule than the one before it."""
        first = self._first
        if first is None:
            return True
        same = np.array_equal(first.numbers, conformer.numbers)
        if self._is_last:
            return not same and composition(conformer.numbers) != self._composition
        if not same:
            return True
        return not may_be_conformers(bond_graph(*first[:2]), bond_graph(*conformer[:2]))

    def begin(self, conformer: Conformer) -> tuple[str, str]:
        """Begin a molecule with this conformer: its SMILES, if there is one, and the rule that it goes by."""
        self._first, self._composition = conformer, composition(conformer.numbers)
        for run in range(self.run, min(self.run + _AHEAD, len(self._runs))):
            used = self.used if run == self.run else 0
            of, smiles = self._runs[run]
            if of == self._composition and used < len(smiles):
                self.run, self.used, self._is_last = run, used + 1, used + 1 == len(smiles)
                return smiles[used], BY_SMILES
        self._is_last = False
        return "", BY_GRAPH


def read_header(path: Path) -> Header:
    """What an `.npy` file of rows [conformer, Z, x, y, z] says of itself, held against its size.

    Raises:
        InvalidInput: it is none, or is shorter or longer than it says.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            header = Header(file.tell(), shape[0] if shape else 0, dtype)
    except (ValueError, TypeError, SyntaxError, KeyError, EOFError) as error:
        raise _no_copy(path, "it is no file of numpy's") from error
    if by_columns or len(shape) != 2 or shape[1] != _COLUMNS or dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise _no_copy(path, f"an array {list(shape)} of {dtype}")
    expected, there = header.bytes_before(header.rows), path.stat().st_size
    if there < expected:
        raise cut_short(path, f"{there:,} of {expected:,} bytes")
    if there > expected or not header.rows:
        raise _no_copy(path, f"{there:,} bytes, which are not those of {header.rows:,} rows")
    return header


def _no_copy(path: Path, received: str) -> InvalidInput:
    return InvalidInput(
        f"{path} is no copy of GEOM-Drugs in EDM's layout, rows of conformer, Z, x, y, z in floating point",
        received=received,
    )


def _checked(checker: Checker, rows: Float64[np.ndarray, "N 5"]) -> Conformer | str:
    number = rows[0, 0]
    identity = int(number) if np.isfinite(number) and abs(number) < 2**53 else -1
    return checker.check(rows[:, 1], rows[:, 2:], identity)


def _parts_of(name: str) -> tuple[str, str]:
    """The beginning and the number of `<beginning>_<number>.npy`; the number empty if there is none."""
    match = re.fullmatch(r"(.+)_([0-9]+)\.npy", name)
    return (match[1], match[2]) if match else (Path(name).stem, "")


def _sizes(path: Path) -> NDArray[Any] | None:
    """Numbers of atoms [M] of a file, None if it is not there.

    Raises:
        InvalidInput: it is no such file.
    """
    if not path.is_file():
        return None
    try:
        sizes = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidInput(f"{path} is no array of numbers of atoms", remedy="delete it; it is not needed") from error
    if not isinstance(sizes, np.ndarray) or sizes.ndim != 1 or sizes.dtype.kind not in "iuf":
        raise InvalidInput(f"{path} is no array of numbers of atoms", remedy="delete it; it is not needed")
    return sizes


def smiles_runs(path: Path) -> list[Run]:
    """The lines of a file of SMILES, consecutive ones of equal composition together, equal ones once.

    Raises:
        InvalidInput: it is larger than such a file can be.
    """
    if path.stat().st_size > _MOST_SMILES:
        raise InvalidInput(f"{path} is no file of SMILES", received=f"over {_MOST_SMILES:,} bytes")
    lines = [line.split() for line in path.read_text("utf-8", errors="replace").splitlines()]
    unique = [smiles for smiles, _ in groupby(line[0] for line in lines if line)]
    return [(key, list(some)) for key, some in groupby(unique, _composition_of)]


def _composition_of(smiles: str) -> bytes | None:
    return composition_of_smiles(smiles) if len(smiles) <= _LONGEST_SMILES else None
