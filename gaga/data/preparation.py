"""What was asked of a user's molecules when they became a data set, and what became of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The report that a prepared file keeps; what was left out, by reason, is the data set's `skipped`.

    Attributes:
        read: molecules that the source has.
        kept: molecules of the data set.
        asked: options that were asked for, and their values.
        force_fields: how many molecules were embedded with each force field.
        programs: versions of the programs that made geometries.
        notes: sentences about the source: what its files lack, and which records are conformers of one molecule.
    """

    read: int
    kept: int
    asked: Mapping[str, str] = field(default_factory=dict)
    force_fields: Mapping[str, int] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As one JSON object."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Preparation:
    """A report that `to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    found = json.loads(text)
    return Preparation(
        read=int(found["read"]),
        kept=int(found["kept"]),
        asked={str(name): str(value) for name, value in dict(found["asked"]).items()},
        force_fields={str(name): int(n) for name, n in dict(found["force_fields"]).items()},
        programs={str(name): str(version) for name, version in dict(found["programs"]).items()},
        notes=tuple(map(str, found.get("notes", ()))),  # files of gaga 2.0 and before have none
    )
