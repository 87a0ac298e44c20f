"""Stored results by the names that users type."""

from dataclasses import dataclass

import pytest

from gaga.cli.store import locate
from gaga.core.errors import Conflict, NotFound
from gaga.storage.store import Store


@dataclass(frozen=True)
class Number:
    value: float


def put(store, kind, name):
    store.put(kind, name, Number(1.0), config={})


def test_results_are_located_by_name_or_by_kind_and_name(tmp_path):
    store = Store(tmp_path / "results.h5", shipped=False)
    for kind in ("variance", "tstar"):
        put(store, kind, "v")
    put(store, "variance", "Only")
    assert locate(store, "ONLY").name == "Only"
    assert locate(store, "tstar/V").kind == "tstar"
    with pytest.raises(Conflict, match="tstar/v or variance/v"):
        locate(store, "v")
    with pytest.raises(NotFound, match=r"(?i)did you mean Only"):
        locate(store, "onlyy")
    with pytest.raises(NotFound):
        locate(store, "variance/none")
