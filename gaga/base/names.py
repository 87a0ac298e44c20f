"""The names of results: which can be used, and which are the same."""

import re
import unicodedata

from gaga.base.errors import InvalidInput

_KIND = re.compile(r"[a-z0-9_-]+")


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
