"""Prepared data sets: one HDF5 file of packed arrays (docs/FORMAT.md), written and read with numpy and h5py alone."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Int64, Shaped
from numpy.typing import NDArray

from gaga.chem.elements import N_ELEMENTS
from gaga.chem.records import MAX_COORDINATE
from gaga.core.errors import InvalidInput, NotFound
from gaga.core.molecules import PackedMolecules
from gaga.data.dataset import SPLIT_NAMES, Annotations, Dataset, vocabulary_of
from gaga.data.preparation import Preparation, from_json
from gaga.storage.files import atomic_write
from gaga.storage.hdf5 import check_sizes, new_hdf5
from gaga.storage.on_disk import Checksums, MoleculesOnDisk, PlainRows, ReadRows

FORMAT = "gaga-dataset"
SUFFIXES = (".h5", ".hdf5")
VERSION = 3  # lean files are written as version 2, or 1 if there are no groups
CHECKED_AT_OPENING = 1 << 28  # bytes of positions; more are checked when they are read
_DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, OverflowError)
SHRUNK = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def require_suffix(path: Path) -> None:
    """Stop at a name that another kind of file has: it would be read as that.

    Raises:
        InvalidInput: it is none of a prepared data set.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput("a prepared data set is an HDF5 file", received=path, remedy="end its name in .h5")


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
        options = SHRUNK if lean else {}
        if lean:
            write_array(file, "positions", dataset.positions, options)
            file["positions"].attrs["unit"] = "Å"
        else:
            for _ in write_positions(file, dataset.molecules.position_pieces(), len(dataset.atomic_numbers)):
                proceed()
        write_array(file, "atomic_numbers", dataset.atomic_numbers, options)
        write_members(file, dataset.offsets, dataset.ids, dataset.splits, dataset.groups, options)
        proceed()
        write_attributes(
            file,
            name=dataset.name,
            origin=dataset.origin,
            vocabulary=dataset.vocabulary,
            skipped=dataset.skipped,
            fingerprint=dataset.fingerprint,
            version=VERSION if not lean else 1 if dataset.groups is None else 2,
            preparation=dataset.preparation,
        )
        if not lean:
            _write_annotations(file, dataset)


def write_positions(
    file: h5py.File, pieces: Iterable[Float32[np.ndarray, "_ 3"]], n_atoms: int
) -> Iterator[Float32[np.ndarray, "_ 3"]]:
    """Write positions [n_atoms, 3] in Å that come in pieces, and their checksums; each piece is given when written."""
    item = file.create_dataset("positions", shape=(n_atoms, 3), dtype="<f4")
    item.attrs["unit"] = "Å"
    checksums, first = Checksums(), 0
    for piece in pieces:
        item[first : first + len(piece)] = piece
        first += len(piece)
        checksums.add(piece)
        yield piece
    write_array(file, "checksums", checksums.all(), {})


def write_members(
    file: h5py.File,
    offsets: Int64[np.ndarray, " M_plus_1"],
    ids: Int64[np.ndarray, " M"],
    splits: Mapping[str, NDArray[np.int64]],
    groups: Int64[np.ndarray, " M"] | None,
    options: dict[str, Any],
) -> None:
    """Write the arrays of whole numbers that say which molecules there are and who is trained on."""
    write_array(file, "offsets", offsets, options)
    write_array(file, "ids", ids, options)
    for name in SPLIT_NAMES:
        write_array(file, f"splits/{name}", splits[name], options)
    if groups is not None:
        write_array(file, "groups", groups, options)


def write_array(file: h5py.File, name: str, values: NDArray[Any], options: dict[str, Any]) -> None:
    """An array, compressed if `options` say so; there is nothing to compress of an empty one."""
    file.create_dataset(name, data=values, **(options if len(values) else {}))


def write_attributes(
    file: h5py.File,
    *,
    name: str,
    origin: str,
    vocabulary: tuple[int, ...],
    skipped: Mapping[str, int],
    fingerprint: str,
    version: int,
    preparation: Preparation | None = None,
) -> None:
    """Write what the file says of itself."""
    file.attrs.update(
        {
            "format": FORMAT,
            "version": version,
            "name": name,
            "origin": origin,
            "vocabulary": np.array(vocabulary, dtype=np.int64),
            "skipped": json.dumps(dict(skipped)),
            "fingerprint": fingerprint,
            **({"preparation": preparation.to_json()} if preparation else {}),
        }
    )


def _write_annotations(file: h5py.File, dataset: Dataset) -> None:
    annotations = dataset.annotations
    # The first entry of each group, whose SMILES is all of theirs.
    first = np.arange(len(dataset)) if dataset.groups is None else np.unique(dataset.groups, return_index=True)[1]
    smiles = annotations.smiles_of(first)
    if smiles is not None:
        write_smiles(file, np.char.encode(smiles, "utf-8"))
    group = file.create_group("properties", track_order=True)
    for name, values in annotations.properties.items():
        # A property's name may hold a slash, which HDF5 takes for a group.
        column = group.create_dataset(name.replace("/", "|"), data=values)
        column.attrs["name"] = name
        column.attrs["unit"] = annotations.units.get(name, "")


def write_smiles(file: h5py.File, smiles: Shaped[np.ndarray, " G"]) -> None:
    """Write SMILES in UTF-8, one for each molecule or, if there are groups, for each group."""
    write_array(file, "smiles", smiles, SHRUNK)


def read_prepared(path: Path) -> Dataset:
    """The data set of a prepared file; SMILES and properties are read when they are asked for.

    Of more than CHECKED_AT_OPENING bytes of positions, each block is held against its checksum when it is read, and the
    fingerprint is believed; gaga.data.loading.verify reads everything.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is no prepared data set, of a newer version, cut short or changed.
    """
    if not path.is_file():
        raise NotFound("no such file", received=path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            _check_format(file, path)
            check_sizes(file)
            dataset, everything = _read(file, path), not _is_checked_when_read(file)
            expected = str(file.attrs["fingerprint"])
        _check_content(dataset, positions=everything)
    except _DAMAGE as error:
        raise _unreadable(path, _first_line(error)) from error
    if not everything:
        vars(dataset)["fingerprint"] = expected
    elif dataset.fingerprint != expected:
        raise _unreadable(path, "its molecules differ from its fingerprint")
    return dataset


def _is_checked_when_read(file: h5py.File) -> bool:
    """Whether reading all positions takes more than a moment, and they have checksums (zlib's own are in gzip)."""
    positions = file["positions"]
    return positions.nbytes > CHECKED_AT_OPENING and ("checksums" in file or positions.compression == "gzip")


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
        groups=_array(file, "groups", np.int64)[()] if "groups" in file else None,
    )


def _array(file: h5py.File, name: str, dtype: type[np.generic], ndim: int = 1) -> h5py.Dataset:
    item = file[name]
    if not isinstance(item, h5py.Dataset) or item.dtype != dtype or item.ndim != ndim:
        raise ValueError(f"{name} is no array of {np.dtype(dtype).name}")
    return item


def _molecules(file: h5py.File, path: Path) -> PackedMolecules:
    """Positions stay in the file if they lie there in one piece or are many.

    Windows would let no other program replace a file that is open, so that there a small one is read into memory.
    """
    positions = _array(file, "positions", np.float32, 2)
    numbers, offsets = _array(file, "atomic_numbers", np.uint8)[()], _array(file, "offsets", np.int64)[()]
    start, is_large = positions.id.get_offset(), _is_checked_when_read(file)
    in_memory = not is_large and (start is None or os.name == "nt")
    if in_memory or positions.shape != (len(numbers), 3) or positions.dtype != "<f4":
        return PackedMolecules(positions[()], numbers, offsets)
    checksums = _array(file, "checksums", np.uint32)[()] if is_large and start is not None else None
    if start is None:
        read = _compressed_rows(path)
    else:
        read = PlainRows(os.open(path, os.O_RDONLY), start, len(numbers), checksums)
    return MoleculesOnDisk(_checked(read, path) if is_large else read, numbers, offsets)


def _compressed_rows(path: Path) -> ReadRows:
    """Rows of positions that HDF5 decompresses, as large files of versions 1 and 2 have them."""
    file = h5py.File(path, "r", locking=False)  # open as long as the function is there
    return lambda first, last: file["positions"][first:last]


def _checked(read: ReadRows, path: Path) -> ReadRows:
    """Rows that are refused if they are damaged or no positions."""

    def rows(first: int, last: int) -> Float32[np.ndarray, "a 3"]:
        try:
            found = read(first, last)
        except _DAMAGE as error:
            raise _unreadable(path, _first_line(error)) from error
        if not (np.abs(found) <= MAX_COORDINATE).all():
            raise _unreadable(path, "a coordinate is not finite, or too far away")
        return found

    return rows


def _check_content(dataset: Dataset, *, positions: bool) -> None:
    """Stop at molecules that cannot be; `positions` asks whether to look at those too."""
    molecules, vocabulary = dataset.molecules, dataset.vocabulary
    if not len(molecules) or molecules.n_atoms.min() < 1:
        raise ValueError("a molecule has no atoms, or there is none")
    if positions and not all((np.abs(piece) <= MAX_COORDINATE).all() for piece in molecules.position_pieces()):
        raise ValueError("a coordinate is not finite, or too far away")
    if not {*vocabulary_of(dataset.atomic_numbers)} <= {*vocabulary} <= set(range(1, N_ELEMENTS + 1)):
        raise ValueError("its elements are not those of its vocabulary")
    if len(set(vocabulary)) < len(vocabulary):
        raise ValueError("its vocabulary names an element twice")
    _check_members(dataset)


def _check_members(dataset: Dataset) -> None:
    """Stop at a split or at groups that cannot be."""
    split = np.full(len(dataset), -1, dtype=np.int8)
    for k, name in enumerate(SPLIT_NAMES):
        members = dataset.splits[name]
        if len(members) and (members.min() < 0 or members.max() >= len(dataset)):
            raise ValueError("its split names molecules that it has not")
        split[members] = k
    if np.count_nonzero(split >= 0) < sum(map(len, dataset.splits.values())):
        raise ValueError("its split names a molecule twice")
    if dataset.groups is None:
        return
    newest = np.maximum.accumulate(dataset.groups)
    if dataset.groups.min() < 0 or np.any(np.diff(newest, prepend=-1) > 1):
        raise ValueError("its groups are not numbered 0, 1, 2, ... as they appear")
    of_group = np.empty(newest[-1] + 1, dtype=np.int8)
    of_group[dataset.groups] = split
    if np.any(of_group[dataset.groups] != split):
        raise ValueError("its split cuts a group")


def _read_annotations(path: Path) -> Annotations:
    try:
        with h5py.File(path, "r", locking=False) as file:
            check_sizes(file)
            n = len(file["ids"])
            columns = list(file["properties"].values()) if "properties" in file else []
            names = [str(column.attrs["name"]) for column in columns]
            if any(column.shape != (n,) or column.dtype != np.float64 for column in columns):
                raise ValueError("a property is not a number for each molecule")
            groups = file["groups"][()] if "groups" in file else None
            n_smiles = n if groups is None else int(groups.max()) + 1
            return Annotations(
                smiles=_decoded(file["smiles"], n_smiles) if "smiles" in file else None,
                properties={name: column[:] for name, column in zip(names, columns, strict=True)},
                units={name: str(column.attrs["unit"]) for name, column in zip(names, columns, strict=True)},
                of=groups if "smiles" in file else None,
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
