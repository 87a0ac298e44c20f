"""Prepared data sets: one HDF5 file of packed arrays, written and read with numpy and h5py alone.

Datasets: positions [A, 3] float32 in Å, atomic_numbers [A] uint8, offsets [M + 1] int64, ids [M] int64,
splits/{train, valid, test} int64; unless lean, smiles [M] UTF-8 bytes and properties/<name> [M] float64 with
the attributes name and unit. Attributes of the file: format, version, name, origin, vocabulary, skipped (as
JSON), fingerprint.
"""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from gaga.base.errors import InvalidInput, NotFound
from gaga.base.filed import FiledMolecules
from gaga.base.files import atomic_write
from gaga.base.molecules import PackedMolecules
from gaga.data.dataset import SPLIT_NAMES, Annotations, Dataset

FORMAT = "gaga-dataset"
VERSION = 1
_SHRUNK = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def write_prepared(dataset: Dataset, path: Path, *, lean: bool = False) -> None:
    """Write a data set to `path`, all of it or nothing.

    Args:
        dataset: what to write.
        path: where to; a file that is there is replaced.
        lean: leave out SMILES and properties, and compress the rest, without loss.

    Raises:
        NotFound: the folder does not exist.
        Unavailable: the file cannot be written.
    """
    with atomic_write(path) as partial_path, h5py.File(partial_path, "w") as file:
        _write_geometry(file, dataset, _SHRUNK if lean else {})
        _write_attributes(file, dataset)
        if not lean:
            _write_annotations(file, dataset.annotations)


def _write_geometry(file: h5py.File, dataset: Dataset, options: dict[str, Any]) -> None:
    arrays = {
        "positions": dataset.positions,
        "atomic_numbers": dataset.atomic_numbers,
        "offsets": dataset.offsets,
        "ids": dataset.ids,
        **{f"splits/{name}": dataset.splits[name] for name in SPLIT_NAMES},
    }
    for name, values in arrays.items():
        file.create_dataset(name, data=values, **(options if len(values) else {}))
    file["positions"].attrs["unit"] = "Å"


def _write_attributes(file: h5py.File, dataset: Dataset) -> None:
    file.attrs.update(
        {
            "format": FORMAT,
            "version": VERSION,
            "name": dataset.name,
            "origin": dataset.origin,
            "vocabulary": np.array(dataset.vocabulary, dtype=np.int64),
            "skipped": json.dumps(dict(dataset.skipped)),
            "fingerprint": dataset.fingerprint,
        }
    )


def _write_annotations(file: h5py.File, annotations: Annotations) -> None:
    if annotations.smiles is not None:
        file.create_dataset("smiles", data=np.char.encode(annotations.smiles, "utf-8"), **_SHRUNK)
    group = file.create_group("properties", track_order=True)
    for name, values in annotations.properties.items():
        # A property's name may hold a slash, which HDF5 takes for a group.
        column = group.create_dataset(name.replace("/", "|"), data=values)
        column.attrs["name"] = name
        column.attrs["unit"] = annotations.units.get(name, "")


def read_prepared(path: Path) -> Dataset:
    """The data set of a prepared file; SMILES and properties are read when they are asked for.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is no prepared data set, of a newer version, cut short or changed.
    """
    if not path.is_file():
        raise NotFound("no such file", received=path)
    try:
        with h5py.File(path, "r") as file:
            _check_format(file, path)
            dataset = _read(file, path)
            expected = file.attrs["fingerprint"]
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error
    if dataset.fingerprint != expected:
        raise _unreadable(path, "its molecules differ from its fingerprint")
    return dataset


def _check_format(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise InvalidInput(
            f"{path} is an HDF5 file, but no prepared data set", remedy="make one with gaga data prepare"
        )
    if file.attrs["version"] > VERSION:
        raise InvalidInput(
            f"{path} was prepared by a newer gaga",
            received=f"version {file.attrs['version']}",
            remedy="update gaga",
        )


def _read(file: h5py.File, path: Path) -> Dataset:
    return Dataset(
        name=str(file.attrs["name"]),
        molecules=_molecules(file, path),
        ids=file["ids"][:],
        splits={name: file["splits"][name][:] for name in SPLIT_NAMES},
        vocabulary=tuple(int(z) for z in file.attrs["vocabulary"]),
        skipped=json.loads(file.attrs["skipped"]),
        origin=str(file.attrs["origin"]),
        read_annotations=partial(_read_annotations, path),
    )


def _molecules(file: h5py.File, path: Path) -> PackedMolecules:
    """Positions stay in the file where they lie there in one piece, as they do unless the file is lean.

    Windows would not let anybody replace a file that is open.
    """
    positions, numbers, offsets = file["positions"], file["atomic_numbers"][:], file["offsets"][:]
    place = positions.id.get_offset()
    if place is None or os.name == "nt" or positions.dtype != "<f4" or positions.shape != (len(numbers), 3):
        return PackedMolecules(positions[:], numbers, offsets)
    return FiledMolecules(os.open(path, os.O_RDONLY), place, numbers, offsets)


def _read_annotations(path: Path) -> Annotations:
    try:
        with h5py.File(path, "r") as file:
            columns = list(file["properties"].values()) if "properties" in file else []
            names = [str(column.attrs["name"]) for column in columns]
            return Annotations(
                smiles=_decoded(file["smiles"][:]) if "smiles" in file else None,
                properties={name: column[:] for name, column in zip(names, columns, strict=True)},
                units={name: str(column.attrs["unit"]) for name, column in zip(names, columns, strict=True)},
            )
    except (OSError, KeyError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error


def _decoded(text: Shaped[np.ndarray, " M"]) -> Shaped[np.ndarray, " M"]:
    return np.char.decode(text, "utf-8")


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read as a prepared data set: {why}", remedy="prepare it again")
