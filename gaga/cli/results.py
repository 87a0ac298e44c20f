"""Names of stored results as users type them; the rest is in gaga.runs.once."""

from typing import TYPE_CHECKING

from gaga.core.errors import Conflict, NotFound
from gaga.core.text import legible

if TYPE_CHECKING:
    from gaga.storage.store import Entry, Store


def locate(store: "Store", wanted: str) -> "Entry":
    """The entry of "name" or "kind/name".

    Raises:
        NotFound: there is none.
        Conflict: results of several kinds have the name.
    """
    wanted = legible(wanted)
    kind, slash, name = wanted.partition("/")
    if slash:
        return store.require(kind, name)
    matches = [entry for entry in store.entries() if entry.name.casefold() == wanted.casefold()]
    if len(matches) > 1:
        choices = " or ".join(f"{entry.kind}/{entry.name}" for entry in matches)
        raise Conflict(f"several results are named {wanted}", remedy=f"say {choices}")
    if not matches:
        raise NotFound("no result of that name", received=wanted, remedy=_near(store, wanted))
    return matches[0]


def _near(store: "Store", wanted: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(wanted, [entry.name for entry in store.entries()], cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "see gaga store list"
