"""What stands for an element in a file: its symbol, its number, or an atom's label such as O1 or Na+."""

import re
from functools import lru_cache

from gaga.chem.elements import N_ELEMENTS, number_of
from gaga.core.errors import InvalidInput

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


def element_of(label: str) -> int:
    """The atomic number; 0 if the label is that of no element. D and T are hydrogen."""
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
