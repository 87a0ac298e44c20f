"""Prepared data sets: one HDF5 file of packed arrays, written and read with numpy and h5py alone.

Datasets: positions [A, 3] float32 in Å, atomic_numbers [A] uint8, offsets [M + 1] int64, ids [M] int64,
splits/{train, valid, test} int64; unless lean, smiles [M] UTF-8 bytes and properties/<name> [M] float64 with
the attributes name and unit. Attributes of the file: format, version, name, origin, vocabulary, skipped (as
JSON), fingerprint; of a user's molecules also preparation (as JSON).
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
from gaga.base.hdf5_sizes import refuse_lies
from gaga.base.molecules import PackedMolecules
from gaga.base.new_hdf5 import new_hdf5
from gaga.chem.elements import N_ELEMENTS
from gaga.chem.records import MAX_COORDINATE
from gaga.data.dataset import SPLIT_NAMES, Annotations, Dataset
from gaga.data.preparation import from_json

FORMAT = "gaga-dataset"
VERSION = 1
_DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, OverflowError)
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
    with atomic_write(path) as partial_path, new_hdf5(partial_path) as (file, proceed):
        _write_geometry(file, dataset, _SHRUNK if lean else {})
        proceed()
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
            **({"preparation": dataset.preparation.to_json()} if dataset.preparation else {}),
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
        with h5py.File(path, "r", locking=False) as file:
            _check_format(file, path)
            refuse_lies(file)
            dataset = _read(file, path)
            expected = file.attrs["fingerprint"]
        _check_content(dataset)
    except _DAMAGE as error:
        raise _unreadable(path, _first_line(error)) from error
    if dataset.fingerprint != expected:
        raise _unreadable(path, "its molecules differ from its fingerprint")
    return dataset


def _check_format(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise InvalidInput(
            f"{path} is an HDF5 file, but no prepared data set", remedy="make one with gaga data prepare"
        )
    if int(file.attrs["version"]) > VERSION:
        raise InvalidInput(
            f"{path} was prepared by a newer gaga",
            received=f"version {file.attrs['version']}",
            remedy="update gaga",
        )


def _read(file: h5py.File, path: Path) -> Dataset:
    return Dataset(
        name=str(file.attrs["name"]),
        molecules=_molecules(file, path),
        ids=_array(file, "ids", np.int64)[()],
        splits={name: _array(file, f"splits/{name}", np.int64)[()] for name in SPLIT_NAMES},
        vocabulary=tuple(int(z) for z in file.attrs["vocabulary"]),
        skipped={str(reason): int(n) for reason, n in dict(json.loads(file.attrs["skipped"])).items()},
        origin=str(file.attrs["origin"]),
        preparation=from_json(file.attrs["preparation"]) if "preparation" in file.attrs else None,
        read_annotations=partial(_read_annotations, path),
    )


def _array(file: h5py.File, name: str, dtype: type[np.generic], ndim: int = 1) -> h5py.Dataset:
    item = file[name]
    if not isinstance(item, h5py.Dataset) or item.dtype != dtype or item.ndim != ndim:
        raise ValueError(f"{name} is no array of {np.dtype(dtype).name}")
    return item


def _molecules(file: h5py.File, path: Path) -> PackedMolecules:
    """Positions stay in the file where they lie there in one piece, as they do unless the file is lean.

    Windows would not let anybody replace a file that is open.
    """
    positions = _array(file, "positions", np.float32, 2)
    numbers, offsets = _array(file, "atomic_numbers", np.uint8)[()], _array(file, "offsets", np.int64)[()]
    place = positions.id.get_offset()
    if place is None or os.name == "nt" or positions.dtype != "<f4" or positions.shape != (len(numbers), 3):
        return PackedMolecules(positions[()], numbers, offsets)
    return FiledMolecules(os.open(path, os.O_RDONLY), place, numbers, offsets)


def _check_content(dataset: Dataset) -> None:
    """Stop at molecules that cannot be."""
    molecules, numbers = dataset.molecules, dataset.atomic_numbers
    if not len(molecules) or molecules.n_atoms.min() < 1:
        raise ValueError("a molecule has no atoms, or there is none")
    if not all((np.abs(piece) <= MAX_COORDINATE).all() for piece in molecules.position_pieces()):
        raise ValueError("a coordinate is not finite, or too far away")
    if not {int(z) for z in np.unique(numbers)} <= set(dataset.vocabulary) <= set(range(1, N_ELEMENTS + 1)):
        raise ValueError("its elements are not those of its vocabulary")
    members = np.concatenate(list(dataset.splits.values()))
    if len(members) and (members.min() < 0 or members.max() >= len(dataset) or len(np.unique(members)) < len(members)):
        raise ValueError("its split names molecules that it has not, or one twice")


def _read_annotations(path: Path) -> Annotations:
    try:
        with h5py.File(path, "r", locking=False) as file:
            refuse_lies(file)
            n = len(file["ids"])
            columns = list(file["properties"].values()) if "properties" in file else []
            names = [str(column.attrs["name"]) for column in columns]
            if any(column.shape != (n,) or column.dtype != np.float64 for column in columns):
                raise ValueError("a property is not a number for each molecule")
            return Annotations(
                smiles=_decoded(file["smiles"], n) if "smiles" in file else None,
                properties={name: column[:] for name, column in zip(names, columns, strict=True)},
                units={name: str(column.attrs["unit"]) for name, column in zip(names, columns, strict=True)},
            )
    except _DAMAGE as error:
        raise _unreadable(path, _first_line(error)) from error


def _decoded(text: h5py.Dataset, n: int) -> Shaped[np.ndarray, " M"]:
    if text.shape != (n,) or text.dtype.kind != "S":
        raise ValueError("there is no SMILES for each molecule")
    return np.char.decode(text[:], "utf-8")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read as a prepared data set: {why}", remedy="prepare it again")
