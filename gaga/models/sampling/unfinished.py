"""Molecules on their way: append-only files beside an unfinished output, from which a killed run goes on.

Each process of a run has a file of its own. One line of JSON says which run it belongs to; then come records, as
docs/FORMAT.md has them. Where each molecule lies is known by its offset, so that none has to stay in memory.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Bool

from gaga.core.errors import InvalidInput
from gaga.models.sampling.molecules import JudgedMolecule
from gaga.storage.files import unwritable
from gaga.storage.partial import first_line, open_run

# seed, index, number of atoms, finite, stable, valid, stable atoms, bytes of the SMILES, bytes of the text
_HEAD = struct.Struct("<IQIBBBIII")
_VALID: tuple[bool | None, ...] = (False, True, None)
_FILE_SHIFT = 44  # bits for the offset within a file
_REMEDY = "start over with `overwrite=True`"


@dataclass(frozen=True)
class Keys:
    """The molecules of a run: `n` for each of `repeats` seeds from `seed` on, in the order of the output."""

    seed: int
    n: int
    repeats: int = 1

    def __len__(self) -> int:
        return self.n * self.repeats

    def place(self, seed: int, index: int) -> int:
        """Which molecule of the output this is.

        Raises:
            KeyError: it is none of the run.
        """
        if not (0 <= seed - self.seed < self.repeats and 0 <= index < self.n):
            raise KeyError((seed, index))
        return (seed - self.seed) * self.n + index


def unfinished_path(output: Path, rank: int = 0) -> Path:
    """Where the molecules of an unfinished output are that this process drew."""
    return output.with_name(f".{output.name}.unfinished" + (f".r{rank}" if rank else ""))


def unfinished_files(output: Path) -> list[Path]:
    """The files of an unfinished output, of however many processes; none where nothing is unfinished."""
    pattern = re.compile(re.escape(unfinished_path(output).name) + r"(\.r[0-9]+)?")
    folder = output.absolute().parent
    names = sorted(path.name for path in folder.iterdir() if pattern.fullmatch(path.name)) if folder.is_dir() else []
    return [output.with_name(name) for name in names]


class UnfinishedSamples:
    """The molecules of a run, those of earlier processes included; appends to its own file; a context manager.

    Args:
        output: the file that the molecules are for.
        run: what identifies the run, as JSON.
        keys: its molecules.
        rank: number of this process.

    Raises:
        Conflict: a file belongs to a run with other settings.
        InvalidInput: a file is no spool.
        Unavailable: the own file cannot be written.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], keys: Keys, rank: int = 0) -> None:
        self._output, self._keys = output, keys
        self._line = json.dumps(dict(run), sort_keys=True).encode() + b"\n"
        self._where = np.zeros(len(keys), dtype=np.int64)  # file and offset of each molecule; 0 where there is none
        self._files = [_File.own(unfinished_path(output, rank), self._line)]
        try:
            self._scan(0)
            self._files[0].cut()
            self.take_over()
        except BaseException:
            self._close()
            raise

    def take_over(self) -> None:
        """Look for what other processes have added."""
        known = {file.path for file in self._files}
        for path in unfinished_files(self._output):
            if path not in known and first_line(path):
                self._files.append(_File.other(path, self._line))
        for number in range(1, len(self._files)):
            self._scan(number)

    def _scan(self, number: int) -> None:
        file = self._files[number]
        for seed, index, offset in file.new_records():
            try:
                self._where[self._keys.place(seed, index)] = number << _FILE_SHIFT | offset
            except KeyError as error:
                raise InvalidInput(f"{file.path} is damaged", remedy=_REMEDY) from error

    def add(self, molecules: Sequence[JudgedMolecule]) -> None:
        """Append molecules; they survive the end of this process."""
        for molecule, offset in zip(molecules, self._files[0].append(molecules), strict=True):
            self._where[self._keys.place(molecule.seed, molecule.index)] = offset

    def done(self, seed: int) -> Bool[np.ndarray, " n"]:
        """Which molecules of a seed are there."""
        first = self._keys.place(seed, 0)
        there: Bool[np.ndarray, " n"] = self._where[first : first + self._keys.n] > 0
        return there

    def __len__(self) -> int:
        return int(np.count_nonzero(self._where))

    def __contains__(self, place: int) -> bool:
        return bool(self._where[place])

    def __getitem__(self, place: int) -> JudgedMolecule:
        """The molecule at a place of the output."""
        where = int(self._where[place])
        return self._files[where >> _FILE_SHIFT].read(where & ((1 << _FILE_SHIFT) - 1))

    def remove(self) -> None:
        """The run has ended well: its files are no longer needed."""
        self._close()
        for path in unfinished_files(self._output):
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        for file in self._files:
            file.close()

    def __enter__(self) -> "UnfinishedSamples":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


class _File:
    """One file of records, of which those before `_end` have been looked at."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file, self._end = path, file, len(file.readline())

    @classmethod
    def own(cls, path: Path, line: bytes) -> "_File":
        """A file to append to; made if missing."""
        if first_line(path):
            return cls(path, open_run(path, line, "rb+", remedy=_REMEDY))
        try:
            # not atomic: a first line that was cut short is written anew
            path.write_bytes(line)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise unwritable(path, error) from error
        return cls(path, open_run(path, line, "rb+", remedy=_REMEDY))

    @classmethod
    def other(cls, path: Path, line: bytes) -> "_File":
        """A file that another process appends to."""
        return cls(path, open_run(path, line, "rb", remedy=_REMEDY))

    def new_records(self) -> Iterator[tuple[int, int, int]]:
        """Seed, index and offset of the whole records behind those looked at."""
        size = self._file.seek(0, 2)
        while True:
            self._file.seek(self._end)
            head = self._file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            seed, index, n_atoms, *_, smiles, text = _HEAD.unpack(head)
            end = self._end + _HEAD.size + 13 * n_atoms + smiles + text
            if end > size:
                return
            offset, self._end = self._end, end
            yield seed, index, offset

    def cut(self) -> None:
        """Drop what follows the last whole record."""
        try:
            self._file.truncate(self._end)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def append(self, molecules: Sequence[JudgedMolecule]) -> list[int]:
        """Add records; their offsets."""
        records = [_record(molecule) for molecule in molecules]
        offsets = self._end + np.cumsum([0, *map(len, records)])
        try:
            self._file.seek(self._end)
            self._file.write(b"".join(records))
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._end = int(offsets[-1])
        return [int(offset) for offset in offsets[:-1]]

    def read(self, offset: int) -> JudgedMolecule:
        """The record at an offset."""
        self._file.seek(offset)
        seed, index, n, finite, stable, valid, n_stable, smiles, text = _HEAD.unpack(self._file.read(_HEAD.size))
        content = self._file.read(13 * n + smiles + text)
        places = np.frombuffer(content, dtype="<f4", count=3 * n, offset=n).reshape(n, 3).astype(np.float32)
        return JudgedMolecule(
            seed=seed, index=index, atomic_numbers=np.frombuffer(content, dtype=np.uint8, count=n), positions=places,
            finite=bool(finite), stable=bool(stable), n_stable_atoms=n_stable, valid=_VALID[valid],
            smiles=content[13 * n : 13 * n + smiles].decode(), text=content[13 * n + smiles :],
        )  # fmt: skip

    def close(self) -> None:
        """Close it; what could not be written was told when it was added."""
        with suppress(OSError):
            self._file.close()


def _record(molecule: JudgedMolecule) -> bytes:
    smiles = molecule.smiles.encode()
    head = _HEAD.pack(
        molecule.seed, molecule.index, len(molecule.atomic_numbers), molecule.finite, molecule.stable,
        _VALID.index(molecule.valid), molecule.n_stable_atoms, len(smiles), len(molecule.text),
    )  # fmt: skip
    places = molecule.positions.astype("<f4").tobytes()
    return b"".join([head, molecule.atomic_numbers.tobytes(), places, smiles, molecule.text])
