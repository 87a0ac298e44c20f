"""Symbols and atomic numbers of the elements, and the vocabularies of the published models."""

from collections.abc import Sequence

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
