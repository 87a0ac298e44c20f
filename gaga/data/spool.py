"""Molecules on their way: an append-only file beside an unfinished output, from which a killed run goes on.

One line of JSON says which run it belongs to; then come records: (seed, index, number of atoms, finite) as
little-endian u32, u64, u32, u8, the atomic numbers as bytes, the positions as little-endian float32 in Å.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32, UInt8

from gaga.base.errors import Conflict, InvalidInput
from gaga.base.files import unwritable

_HEAD = struct.Struct("<IQIB")


@dataclass(frozen=True, eq=False)
class Spooled:
    """One molecule: its seed and index, atomic numbers [N], positions [N, 3] in Å, and whether they were finite."""

    seed: int
    index: int
    atomic_numbers: UInt8[np.ndarray, " N"]
    positions: Float32[np.ndarray, "N 3"]
    finite: bool


def spool_path(output: Path) -> Path:
    """Where the molecules of an unfinished output are."""
    return output.with_name(f".{output.name}.unfinished")


class Spool:
    """Appends molecules; use as a context manager.

    Args:
        path: the file; made if missing.
        run: what identifies the run, as JSON.

    Attributes:
        molecules: what was there already, whole records in their order.

    Raises:
        Conflict: the file belongs to a run with other settings.
        InvalidInput: the file is no spool.
        Unavailable: the file cannot be written.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        line = json.dumps(dict(run), sort_keys=True).encode() + b"\n"
        self.molecules: list[Spooled] = []
        try:
            if path.exists():
                _check_run(path, line)
                self._file: BinaryIO = path.open("rb+")
                self._file.readline()
                self._file.truncate(_read_whole(self._file, self.molecules))
                self._file.seek(0, 2)
            else:
                self._file = path.open("xb")
                self._file.write(line)
                self._file.flush()
        except OSError as error:
            raise unwritable(path, error) from error

    def add(self, molecule: Spooled) -> None:
        """Append one molecule; it survives the end of this process."""
        self.molecules.append(molecule)
        head = _HEAD.pack(molecule.seed, molecule.index, len(molecule.atomic_numbers), molecule.finite)
        try:
            self._file.write(head + molecule.atomic_numbers.tobytes() + molecule.positions.astype("<f4").tobytes())
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def remove(self) -> None:
        """The run has ended well: the file is no longer needed."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _check_run(path: Path, wanted: bytes) -> None:
    try:
        with path.open("rb") as file:
            there, here = json.loads(file.readline()), json.loads(wanted)
    except ValueError:
        there = None
    if not isinstance(there, dict):
        raise InvalidInput(f"{path} is not an unfinished run of gaga sample", remedy="delete it")
    differing = [key for key in here if there.get(key) != here[key]]
    if differing:
        raise Conflict(
            f"the unfinished run in {path} was started with another {', '.join(differing)}",
            remedy="resume with the settings it was started with, or start over with --overwrite",
        )


def _read_whole(file: BinaryIO, molecules: list[Spooled]) -> int:
    """Read whole records into `molecules`; returns the offset behind the last."""
    while True:
        end = file.tell()
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return end
        seed, index, n_atoms, finite = _HEAD.unpack(head)
        numbers = file.read(n_atoms)
        positions = file.read(12 * n_atoms)
        if len(positions) < 12 * n_atoms:
            return end
        places = np.frombuffer(positions, dtype="<f4").reshape(n_atoms, 3).astype(np.float32)
        molecules.append(Spooled(seed, index, np.frombuffer(numbers, dtype=np.uint8), places, bool(finite)))
