"""Text: the names of results, names and paths on a terminal, counts for readers, and numbers in files.

Python's `float` and `int` read more than a file means: an underscore between digits (`1_2`) and the digits of other
scripts. Files have two notations that Python does not read: the exponents of Fortran (`1.5D-03`) and of Mathematica
(`1.5*^-3`).
"""

import re
import unicodedata

from gaga.core.errors import InvalidInput

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_KIND = re.compile(r"[a-z0-9_-]+")
_OTHER_EXPONENT = re.compile(r"(?<=[0-9.])(?:[dD]|\*\^)(?=[+-]?[0-9])")


def checked_kind(kind: str) -> str:
    """The kind.

    Raises:
        InvalidInput: it cannot be one.
    """
    if not _KIND.fullmatch(kind):
        raise InvalidInput("a kind is of the characters a-z, 0-9, _ and -", received=repr(kind))
    return kind


def checked_name(name: str) -> str:
    """The name in Unicode's normalisation form C.

    Raises:
        InvalidInput: it cannot be one.
    """
    name = unicodedata.normalize("NFC", name)
    control = any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    if not name.strip() or name in (".", "..") or "/" in name or control:
        raise InvalidInput("a name has no / and no control characters, and is not empty", received=repr(name))
    return name


def folded(name: str) -> str:
    """What equal names have in common, whatever their case."""
    return unicodedata.normalize("NFC", name.casefold())


def legible(text: str) -> str:
    """Text of a file, or a file's name: bytes that are not UTF-8 are taken for Latin-1, as in many an old SDF."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text


def printable(text: str, *, lines: bool = False) -> str:
    """Text for a terminal: what would move its cursor, colour it or turn its direction is spelt out, as \\x1b is.

    Args:
        text: from a file, a name, a path; it may be hostile.
        lines: keep line feeds.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) or (lines and c == "\n") else _spelt(c) for c in text)


def _is_harmless(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in ("Cc", "Cs", "Zl", "Zp") and character not in _DIRECTIONS


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def counted(number: int, noun: str) -> str:
    """A number of things: 1 molecule, 2,000 molecules."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nats(number: float) -> str:
    """Such as "1 nat" or "0.3 nats"."""
    return f"{number:g} nat{'' if number == 1 else 's'}"


def human_bytes(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def human_time(seconds: float) -> str:
    """A duration in the unit that suits it."""
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"


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
