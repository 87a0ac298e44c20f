"""The molecules of an unfinished output: files next to it, from which a killed run resumes (docs/FORMAT.md).

Each process of a run has a file of its own. The offset of each molecule is known, so that none has to stay in memory.
"""

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gaga.core.errors import InvalidInput, Unavailable
from gaga.core.text import counted
from gaga.models.sampling.molecules import JudgedMolecule
from gaga.storage.partial import RecordFile, has_run

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
    """The file of the molecules of an unfinished output that this process drew."""
    return output.with_name(f".{output.name}.unfinished" + (f".r{rank}" if rank else ""))


def unfinished_files(output: Path) -> list[Path]:
    """The files of an unfinished output, of however many processes; none if nothing is unfinished."""
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
        InvalidInput: a file is none of an unfinished run, or damaged.
        Unavailable: the own file cannot be written.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], keys: Keys, rank: int = 0) -> None:
        self._output, self._run, self._keys = output, run, keys
        self._where = np.zeros(len(keys), dtype=np.int64)  # file and offset of each molecule; 0 if it is not there
        self._files = [self._opened(unfinished_path(output, rank), appends=True)]
        try:
            self._scan(0)
            self._files[0].make_or_trim()
            self.take_over()
        except BaseException:
            self._close()
            raise

    def _opened(self, path: Path, *, appends: bool) -> RecordFile:
        return RecordFile(path, self._run, _HEAD, _bytes_after, _is_whole, remedy=_REMEDY, appends=appends)

    def take_over(self, *, whole: bool = False) -> None:
        """Read what other processes have added.

        Raises:
            Unavailable: molecules are missing, if there is to be the `whole` output.
        """
        known = {file.path for file in self._files}
        for path in unfinished_files(self._output):
            if path not in known and has_run(path):
                self._files.append(self._opened(path, appends=False))
        for number in range(1, len(self._files)):
            self._scan(number)
        if whole and (missing := len(self._keys) - len(self)):
            raise Unavailable(
                f"{counted(missing, 'molecule')} of other ranks cannot be found next to {self._output}",
                remedy="run the same command with `resume=True`",
            )

    def _scan(self, number: int) -> None:
        file = self._files[number]
        for offset, (seed, index, *_), _ in file.new_records():
            try:
                self._where[self._keys.place(seed, index)] = number << _FILE_SHIFT | offset
            except KeyError as error:
                raise InvalidInput(f"{file.path} is damaged", remedy=_REMEDY) from error

    def add(self, molecules: Sequence[JudgedMolecule]) -> None:
        """Append molecules; they survive the end of this process."""
        offsets = self._files[0].append([_record(molecule) for molecule in molecules])
        for molecule, offset in zip(molecules, offsets, strict=True):
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
        return _molecule(*self._files[where >> _FILE_SHIFT].read(where & ((1 << _FILE_SHIFT) - 1)))

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

    def __exit__(self, *_: object) -> None:
        self._close()


def _bytes_after(seed: int, index: int, n_atoms: int, *rest: int) -> int:
    return 13 * n_atoms + rest[-2] + rest[-1]


def _is_whole(head: Sequence[int], content: bytes) -> bool:
    """Zeros, which a disk may leave after a loss of power, are no record; of others the length is all that is known."""
    return head[2] > 0


def _record(molecule: JudgedMolecule) -> bytes:
    smiles = molecule.smiles.encode()
    head = _HEAD.pack(
        molecule.seed, molecule.index, len(molecule.atomic_numbers), molecule.finite, molecule.stable,
        _VALID.index(molecule.valid), molecule.n_stable_atoms, len(smiles), len(molecule.text),
    )  # fmt: skip
    positions = molecule.positions.astype("<f4").tobytes()
    return b"".join([head, molecule.atomic_numbers.tobytes(), positions, smiles, molecule.text])


def _molecule(head: Sequence[Any], content: bytes) -> JudgedMolecule:
    seed, index, n, finite, stable, valid, n_stable, smiles, _ = head
    positions = np.frombuffer(content, dtype="<f4", count=3 * n, offset=n).reshape(n, 3).astype(np.float32)
    return JudgedMolecule(
        seed=seed, index=index, atomic_numbers=np.frombuffer(content, dtype=np.uint8, count=n), positions=positions,
        finite=bool(finite), stable=bool(stable), n_stable_atoms=n_stable, valid=_VALID[valid],
        smiles=content[13 * n : 13 * n + smiles].decode(), text=content[13 * n + smiles :],
    )  # fmt: skip
