"""A molecule as files have it, and what is said of one that cannot be used."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64, UInt8

from gaga.chem.elements import element_of, is_dummy
from gaga.core.errors import InvalidInput

NO_ATOMS = "no atoms"
NO_3D = "no 3D coordinates"
NON_FINITE = "non-finite coordinates"
TOO_FAR = "coordinates beyond 100,000 Å"
UNKNOWN_ELEMENT = "unknown element"
DUMMY_ATOM = "dummy or ghost atom"
UNREADABLE = "unreadable record"
NOT_FINITE = "not_finite"
"""The property in which `gaga sample` says how many atoms a molecule without finite positions has."""

_MOST_ATOMS = 10_000
MAX_COORDINATE = 1e5  # Å; float32 has hundredths there, and distances do not overflow

Lines = tuple[int, list[str]]
"""A record as it stands in a file: the number of its first line, from 1, and its lines."""

Notes = Counter[str]
"""What a file lacks that makes no record unusable: how many, by what, such as "records without a $$$$ line"."""

PropertyValue = str | float | bool | np.generic


@dataclass(frozen=True, eq=False)
class Bonding:
    """Bonds between pairs of N atoms, [K, 2], and formal charges, [N], as a file has them."""

    pairs: Int64[np.ndarray, "K 2"]
    charges: Int64[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class Record:
    """One molecule of a file: N atoms, their positions in Å, a name, and properties.

    Properties that were read are text; those to be written may be text, numbers or truth values. Bonds and charges
    are there if the file has some and they were asked for.
    """

    atomic_numbers: UInt8[np.ndarray, " N"]
    positions: Float[np.ndarray, "N 3"]
    name: str = ""
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    bonding: Bonding | None = None

    def __post_init__(self) -> None:
        if self.positions.shape != (len(self.atomic_numbers), 3):
            raise InvalidInput("positions and atomic numbers differ in length", received=self.positions.shape)


@dataclass(frozen=True)
class Skipped:
    """A record that cannot be used.

    Attributes:
        reason: why, in a few fixed words.
        where: the file, which record of it, and the line where it begins: "mols.sdf, record 7 (line 312)".
        detail: what was found there.
        file: the file's name, with the folders below the one that is read.
        line: where the record begins, from 1; 0 if that is not known.
        n_atoms: atoms whose coordinates are not finite, also if the record only says how many there were; else 0.
    """

    reason: str
    where: str
    detail: str = ""
    file: str = ""
    line: int = 0
    n_atoms: int = 0


@dataclass(frozen=True, kw_only=True)
class RawRecord:
    """What a parser found, before anything is asked of it.

    Attributes:
        symbols: an element's symbol, number or label (see `labels`) for each atom.
        coordinates: three numbers for each atom, in Å.
        name: the title.
        properties: text by name.
        declared_3d: whether coordinates that all lie in z = 0 are to be believed.
    """

    symbols: Sequence[str]
    coordinates: Sequence[Sequence[float]]
    name: str
    properties: Mapping[str, str]
    declared_3d: bool


def checked(raw: RawRecord, where: str) -> Record | Skipped:
    """The record if it is a molecule in 3D with known elements, else why not."""
    if not raw.symbols:
        return _without_atoms(raw.properties.get(NOT_FINITE, ""), where)
    numbers = np.array([element_of(symbol) for symbol in raw.symbols], dtype=np.uint8)
    if not np.all(numbers):
        unknown = raw.symbols[int(np.argmin(numbers))]
        return Skipped(DUMMY_ATOM if is_dummy(unknown) else UNKNOWN_ELEMENT, where, unknown[:40])
    positions = np.array(raw.coordinates, dtype=np.float64)
    if not np.all(np.isfinite(positions)):
        return Skipped(NON_FINITE, where, n_atoms=len(numbers))
    if np.abs(positions).max() > MAX_COORDINATE:
        return Skipped(TOO_FAR, where)
    if _is_flat(positions, raw.declared_3d):
        return Skipped(NO_3D, where)
    return Record(numbers, positions, raw.name, raw.properties)


def _without_atoms(not_finite: str, where: str) -> Skipped:
    """Why a record has no atoms: `gaga sample` writes those that are not finite as a property, such as "29 atoms"."""
    number = not_finite.split(" ")[0]
    if not (number.isascii() and number.isdecimal() and 0 < len(number) <= len(str(_MOST_ATOMS))):
        return Skipped(NO_ATOMS, where)
    return Skipped(NON_FINITE, where, not_finite[:40], n_atoms=min(int(number), _MOST_ATOMS))


def _is_flat(positions: Float[np.ndarray, "N 3"], declared_3d: bool) -> bool:
    """Whether this is a drawing, or a list of atoms whose coordinates were never computed."""
    if len(positions) == 1:
        return False
    return bool(np.all(positions == positions[0]) or (not declared_3d and np.all(positions[:, 2] == 0)))


def text_of(value: PropertyValue) -> str:
    """A property as one line of text, numbers to full precision."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return " ".join(str(value).split())
