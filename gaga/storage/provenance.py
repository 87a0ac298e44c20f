"""Where a stored result comes from: the header that is stored with its arrays."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gaga.storage import serialise as records
from gaga.storage.serialise import Tree
from gaga.version import __version__

FORMAT_VERSION = 1
_PLAIN: dict[str, Any] = {"format_version": int, "gaga_version": str, "created": str, "digest": str, "nbytes": int}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The header of a stored result.

    Attributes:
        kind, name: where it is stored; the name as it was typed.
        format_version, gaga_version: what wrote it.
        created: time in UTC, ISO 8601.
        seed: the seed it was computed with, None if nothing was drawn.
        config: the full configuration, as JSON values.
        inputs: a hash for each input, by name.
        digest: SHA-256 over all arrays and scalars, independent of the file.
        nbytes: bytes of the arrays and scalars, uncompressed.
        shipped: whether it came from the read-only store of the package.
    """

    kind: str
    name: str
    format_version: int
    gaga_version: str
    created: str
    seed: int | None
    config: dict[str, Any]
    inputs: dict[str, str]
    digest: str
    nbytes: int
    shipped: bool

    def differences(self, config: Mapping[str, Any], inputs: Mapping[str, str], seed: int | None) -> list[str]:
        """What differs from another computation, such as "the seed 0 (asked for 1)"."""
        mine = _computation(self.config, self.inputs, self.seed)
        asked = _computation(json.loads(records.to_json(config)), inputs, seed)
        return [
            f"{key} {mine.get(key, 'absent')} (asked for {asked.get(key, 'absent')})"
            for key in sorted(mine.keys() | asked.keys())
            if key not in mine or key not in asked or mine[key] != asked[key]
        ]


def _computation(config: Mapping[str, Any], inputs: Mapping[str, str], seed: int | None) -> dict[str, Any]:
    """What makes a computation this one, flat; no key of a configuration is called "the seed"."""
    return records.flatten(dict(config)) | {f"input {key}": value for key, value in inputs.items()} | {"the seed": seed}


def new_entry(
    kind: str, name: str, tree: Tree, *, config: Mapping[str, Any], inputs: Mapping[str, str], seed: int | None
) -> Entry:
    """The header of a result computed now by this version of gaga.

    Raises:
        InvalidInput: a number of the configuration is not finite.
        TypeError: a value of the configuration has no JSON form.
    """
    return Entry(
        kind=kind,
        name=name,
        format_version=FORMAT_VERSION,
        gaga_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        config=json.loads(records.to_json(config)),
        inputs=dict(inputs),
        digest=records.digest(tree),
        nbytes=records.size_in_bytes(tree),
        shipped=False,
    )


def to_attributes(entry: Entry) -> dict[str, int | str]:
    """The header as numbers and text; an entry without a seed has none."""
    attributes = {name: getattr(entry, name) for name in (*_PLAIN, "seed") if getattr(entry, name) is not None}
    return attributes | {name: records.to_json(getattr(entry, name)) for name in ("config", "inputs")}


def from_attributes(kind: str, name: str, attributes: Mapping[str, Any], *, shipped: bool) -> Entry:
    """The header that `to_attributes` wrote.

    Raises:
        KeyError: an attribute is missing.
        ValueError: an attribute is not of its form.
    """
    try:
        return Entry(
            kind=kind,
            name=name,
            seed=int(attributes["seed"]) if "seed" in attributes else None,
            config=dict(json.loads(attributes["config"])),
            inputs={str(key): str(value) for key, value in dict(json.loads(attributes["inputs"])).items()},
            shipped=shipped,
            **{key: as_type(attributes[key]) for key, as_type in _PLAIN.items()},
        )
    except (TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"the header of {kind}/{name} is not of its form") from error
