"""Symbols and atomic numbers of the elements, atoms' labels in files, and the published models' vocabularies."""

import re
from collections.abc import Sequence
from functools import lru_cache

from gaga.core.errors import InvalidInput

_TABLE = (
    "H He "
    "Li Be B C N O F Ne "
    "Na Mg Al Si P S Cl Ar "
    "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe "
    "Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn "
    "Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
SYMBOLS: tuple[str, ...] = tuple(_TABLE.split())
"""Symbols by atomic number, hydrogen first: SYMBOLS[0] is H."""

N_ELEMENTS = len(SYMBOLS)
_NOBLE = (2, 10, 18, 36, 54, 86, 118)  # gases, each the last of its period
_NUMBERS = {symbol.lower(): number for number, symbol in enumerate(SYMBOLS, start=1)}

QM9_VOCABULARY = (1, 6, 7, 8, 9)
"""H C N O F, in the order of EDM's one-hot columns for QM9 (Hoogeboom et al. 2022)."""

GEOM_VOCABULARY = (1, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 33, 35, 53, 80, 83)
"""H B C N O F Al Si P S Cl As Br I Hg Bi, in the order of EDM's one-hot columns for GEOM-Drugs."""


_FORMULA = re.compile(r"(?:[A-Z][a-z]?[0-9]{0,4})+", re.ASCII)
_IN_FORMULA = re.compile(r"([A-Z][a-z]?)([0-9]*)", re.ASCII)
_LONGEST = 16
_NUMBER = re.compile(r"([0-9]{1,3})(?:\.0*)?")
# A symbol, then what tells the atom from others: a number (C1, H1A, C(12)), a charge (Na+, O2-, Fe+2) or an atom type
# (C.ar, N_3). Symbols of two letters are written Cl here, as CA1 and HO1 are carbon and hydrogen in such names.
_LABEL = re.compile(
    r"([A-Z][a-z]?|[a-z]|CL|BR)(?:\d{1,5}[A-Za-z]?'*|\(\d{1,5}\)|\d?[+-]\d?|[+-]+|[._]\w{1,4})", re.ASCII
)
_DUMMY = r"(?:x|xx|du|da|lp)\d*|\*"
_GHOST = r"bq\d*|bq[a-z]{1,2}\d*|[a-z]{1,2}\d*-bq|@[a-z]{1,2}\d*|[a-z]{1,2}:|gh\([a-z]{1,2}\d*\)"
_NO_ATOM = re.compile(f"{_DUMMY}|{_GHOST}", re.ASCII | re.IGNORECASE)


def symbol_of(atomic_number: int) -> str:
    """The symbol of an element.

    Raises:
        InvalidInput: no element has this number.
    """
    if not 1 <= atomic_number <= N_ELEMENTS:
        raise InvalidInput(f"atomic numbers are 1 to {N_ELEMENTS}", received=atomic_number)
    return SYMBOLS[int(atomic_number) - 1]


def number_of(symbol: str) -> int:
    """The atomic number of a symbol, whatever its case; D and T are hydrogen.

    Raises:
        InvalidInput: no element has this symbol.
    """
    key = symbol.strip().lower()
    if key in ("d", "t"):
        return 1
    if key not in _NUMBERS:
        raise InvalidInput("unknown chemical element", received=symbol)
    return _NUMBERS[key]


def atoms_of_formula(formula: str) -> dict[int, int]:
    """How many atoms of each element, by atomic number, a formula such as C7H10O2 or CH3CH2OH has.

    Raises:
        InvalidInput: it is no formula, an element is unknown, or a number is 0.
    """
    if not _FORMULA.fullmatch(formula):
        raise InvalidInput("not a formula", received=formula, remedy="write symbols and numbers, such as C7H10O2")
    counts: dict[int, int] = {}
    for symbol, number in _IN_FORMULA.findall(formula):
        atoms = int(number or 1)
        if not atoms:
            raise InvalidInput("a formula has no 0", received=formula)
        counts[number_of(symbol)] = counts.get(number_of(symbol), 0) + atoms
    return counts


def element_of(label: str) -> int:
    """The atomic number of what stands for an element in a file: its symbol, its number, or a label such as O1 or Na+.

    It is 0 if the label is that of no element. D and T are hydrogen.
    """
    return _element_of(label) if len(label) <= _LONGEST and label.isascii() else 0


def is_dummy(label: str) -> bool:
    """Whether a label is that of a dummy atom (X, Xx, Du, *) or of a ghost atom (Bq, @O, O:), which has no nucleus."""
    return len(label) <= _LONGEST and _NO_ATOM.fullmatch(label) is not None


@lru_cache(maxsize=1024)
def _element_of(label: str) -> int:
    if (number := _NUMBER.fullmatch(label)) is not None:
        return int(number[1]) if int(number[1]) <= N_ELEMENTS else 0
    if is_dummy(label):
        return 0
    found = _LABEL.fullmatch(label)
    try:
        return number_of(label if found is None else found[1])
    except InvalidInput:
        return 0


def most_similar(number: int, others: Sequence[int]) -> int:
    """Of these elements, one with as many valence electrons if there is one, and the nearest in number of those."""
    alike = [z for z in others if _valence_electrons(z) == _valence_electrons(number) is not None]
    return min(alike or others, key=lambda z: (abs(z - number), z))


def _valence_electrons(number: int) -> int | None:
    """Of an element of the main groups; None of the others."""
    period = next(k for k, last in enumerate(_NOBLE) if number <= last)
    begins = _NOBLE[period - 1] if period else 0
    from_the_left, from_the_right = number - begins, _NOBLE[period] - number
    if from_the_left <= 2 and number != _NOBLE[0]:
        return from_the_left
    return 8 - from_the_right if from_the_right <= 5 else None
