"""Numbers as molecule files and tables write them, and text that only looks like one.

Python's `float` and `int` read more than a file means: an underscore between digits (`1_2`) and the digits of other
scripts. Files have two notations that Python does not read: the exponents of Fortran (`1.5D-03`) and of Mathematica
(`1.5*^-3`).
"""

import re

_OTHER_EXPONENT = re.compile(r"(?<=[0-9.])(?:[dD]|\*\^)(?=[+-]?[0-9])")


def decimal(text: str) -> float:
    """A decimal number; `inf` and `nan` are numbers, `1_2`, `0x10`, `1,5`, other scripts' digits and "" are not.

    Raises:
        ValueError: the text is no number.
    """
    if not text.isascii() or "_" in text:
        raise ValueError(f"no number: {text[:40]!r}")
    try:
        return float(text)
    except ValueError:
        return float(_OTHER_EXPONENT.sub("e", text, count=1))


def whole(text: str) -> int:
    """A whole number of the digits 0 to 9, with or without a sign.

    Raises:
        ValueError: the text is no whole number.
    """
    if not text.isascii() or "_" in text:
        raise ValueError(f"no whole number: {text[:40]!r}")
    return int(text)
