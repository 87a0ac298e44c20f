"""Molecules that `gaga sample` drew elsewhere, judged here from its store: they become cells like any others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from gaga.core.errors import NotFound
from gaga.core.molecules import PackedMolecules
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.record import SampleRecord
from gaga.storage.provenance import Entry
from gaga.storage.store import Store
from measuring.cells import Row, evaluations_of, id_of, key_of, row_of

STUDY = "stored"


def stored_cells(path: Path, protocols: Sequence[str], known: set[str], *, dataset: str) -> Iterator[Row]:
    """A row for each seed of each sample in a store whose cell is not known yet.

    Raises:
        NotFound: the store is not there, or has no sample.
    """
    store = Store(path, shipped=False)
    entries = store.entries("sample") if path.is_file() else []
    if not entries:
        raise NotFound("no sample is stored there", received=path, remedy="draw one: gaga sample --store FILE")
    for entry in entries:
        record: SampleRecord | None = None
        for k in range(entry.config["repeats"]):
            key = _key(entry, entry.config["seed"] + k)
            if id_of(key) in known:
                continue
            record = record or store.get("sample", entry.name, SampleRecord)
            yield _row(entry, key, _molecules(record, k * key["n"], key["n"]), protocols, dataset)


def _key(entry: Entry, seed: int) -> dict[str, Any]:
    config = _config(entry.config)
    assert config.t_start is not None  # noqa: S101 - gaga sample writes the step that it started at
    asked = entry.config
    return key_of(entry.inputs["checkpoint"], config, config.t_start, asked["precision"], asked["n"], seed)


def _config(asked: Mapping[str, Any]) -> SampleConfig:
    """As it was asked for; JSON has lists where it had tuples."""
    names = {f.name for f in fields(SampleConfig)}
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in asked.items() if name in names
    }
    return SampleConfig(**values)


def _molecules(record: SampleRecord, first: int, n: int) -> PackedMolecules:
    """Those of one seed; positions that fail everything where the network's numbers were not finite."""
    lost = np.repeat(~record.finite, np.diff(record.offsets))
    positions = np.where(lost[:, None], np.float32(np.nan), record.positions)
    return PackedMolecules(positions, record.atomic_numbers, record.offsets).take(range(first, first + n))


def _row(
    entry: Entry, key: Mapping[str, Any], molecules: PackedMolecules, protocols: Sequence[str], dataset: str
) -> Row:
    config = _config(entry.config)
    evaluations = evaluations_of(config, key["config"]["t_start"])
    labels = {
        "sample": entry.name, "method": config.method, "T*": key["config"]["t_start"], "start": config.started_from,
        "evaluations": evaluations,
    }  # fmt: skip
    row = row_of(
        key, molecules, protocols, study=STUDY, labels=labels, dataset=dataset, evaluations=evaluations,
        checkpoint=entry.name, seconds_per_molecule=None, device="another machine", kernel=entry.config["kernel"],
    )  # fmt: skip
    # What drew them is the entry's; torch's version there is not told.
    return row | {"versions": {"gaga": entry.gaga_version, "rdkit": row["versions"]["rdkit"]}}
