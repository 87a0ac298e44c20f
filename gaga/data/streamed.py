"""Writing a prepared file as a stream: what is done is kept next to it, memory is bounded, and the file appears whole.

Blocks of molecules are appended one by one to an unfinished file, `.<name>.unfinished`, together with their hashes and
how far the source was read. A killed run resumes after the last of them. At the end the blocks are copied into the
prepared file, and what is known of all molecules together is added: the split, the fingerprint.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.core.progress import Progress, silent
from gaga.data.dataset import element_counts, fingerprint_of
from gaga.data.prepared import VERSION, write_attributes, write_members, write_positions, write_smiles
from gaga.data.splits import content_keys, members_of, rank_split, smallest_keys
from gaga.storage.files import atomic_write, target
from gaga.storage.hdf5 import new_hdf5
from gaga.storage.locks import locked
from gaga.storage.partial import PartialFile, Piece, has_run, resume_or_reject

START_OVER = "start over with `overwrite=True`"
_PACKED = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
_LONGEST_SMILES = 512  # letters; an array of text is as wide as its longest
_ATOMS = 1 << 16  # of a compressed piece of atomic numbers

_POSITIONS, _REST = "positions ", "rest "  # the pieces of a block
_CHUNKS = "chunks "  # compressed positions, as earlier versions kept them

Splits = Mapping[str, Int64[np.ndarray, " _"]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Block:
    """Some molecules of a source, with all their conformers.

    Attributes:
        molecules: M conformers, those of a molecule one after the other.
        ids: the source's own index of each conformer, [M].
        sizes: number of conformers of each of G molecules, [G], none 0.
        smiles: of each molecule, [G]; empty if it is not known. None if the source has none.
        skipped: conformers left out, by reason.
        place: how far the source is read, for a run that resumes; what it means is up to the reader.
        notes: what the reader counts for its report, summed over blocks.
    """

    molecules: PackedMolecules
    ids: Int64[np.ndarray, " M"]
    sizes: Int64[np.ndarray, " G"]
    smiles: tuple[str, ...] | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """What was written: how many conformers, molecules and atoms, and how many conformers were left out, by reason.

    `notes` are the reader's own counts; `splits` counts the conformers of each split, `elements` the atoms of each
    atomic number, `sizes` the conformers of each number of atoms; `fingerprint` is the data set's.
    """

    path: Path
    conformers: int
    molecules: int
    atoms: int
    splits: Mapping[str, int]
    skipped: Mapping[str, int]
    notes: Mapping[str, int]
    fingerprint: str
    elements: Int64[np.ndarray, "256"]
    sizes: Int64[np.ndarray, " N_max_plus_1"]


class PreparedWriter:
    """A prepared file that is written block by block; a context manager.

    Args:
        path: the file.
        run: what identifies the run, as JSON: source, settings.
        split_seed: of the split by content.
        resume, start_over: whether an unfinished run is resumed, or deleted.

    Raises:
        NotFound: there is no such folder.
        Conflict: an unfinished run is neither resumed nor deleted, or has other settings, or a process is at it.
        Unavailable: the file cannot be written.
    """

    def __init__(
        self, path: Path, run: Mapping[str, Any], *, split_seed: int = 0, resume: bool = True, start_over: bool = False
    ) -> None:
        self.path, self._seed = target(path), split_seed
        self._unfinished = unfinished(self.path)
        self._held = ExitStack()
        self._held.enter_context(locked(self._unfinished, timeout=5))
        try:
            resume_or_reject(
                has_run(self._unfinished), self._unfinished.unlink, resume=resume, start_over=start_over,
                what=f"an earlier run that was to write {self.path}", remedy=START_OVER,
            )  # fmt: skip
            run = {**run, "split_seed": split_seed}
            self._journal = self._held.enter_context(PartialFile(self._unfinished, run, remedy=START_OVER))
            self._state = self._last()
        except BaseException:
            self._held.close()
            raise

    def _last(self) -> "_State":
        last = sum(name.startswith(_REST) for name in self._journal.names())
        return _State.of(self._piece(_REST, last - 1)) if last else _State()

    @property
    def place(self) -> Mapping[str, Any]:
        """Where the source is to be read on: the place of the last block, empty at the beginning."""
        return self._state.place

    @property
    def molecules(self) -> int:
        """How many molecules are written, whatever the number of their conformers."""
        return self._state.molecules

    def smiles(self) -> list[str] | None:
        """The SMILES of each of them, or None if the source has none."""
        if not self._state.has_smiles:
            return None
        return [line for part in self._parts("smiles") for line in part.tobytes().decode().splitlines()]

    def append(self, block: Block) -> None:
        """Finish a block; it survives the end of this process.

        Raises:
            InvalidInput: it is inconsistent.
            Unavailable: the disk is full.
        """
        if len(block.ids) != len(block.molecules) or block.sizes.sum() != len(block.ids) or not np.all(block.sizes > 0):
            raise InvalidInput("conformers of a block are not those of its molecules")
        keys = content_keys(block.molecules, self._seed)
        state, number = self._state.after(block), self._state.blocks
        # The positions apart, as all of the rest is read more than once; it comes last, and makes the block whole.
        self._journal.put(f"{_POSITIONS}{number}", {"positions": block.molecules.positions})
        self._journal.put(
            f"{_REST}{number}",
            {
                "numbers": block.molecules.atomic_numbers,
                "n_atoms": block.molecules.n_atoms.astype(np.int32),
                "ids": block.ids,
                "sizes": block.sizes,
                "keys": smallest_keys(keys, block.sizes),
                "smiles": _bytes("".join(f"{_line(text)}\n" for text in block.smiles or ()).encode()),
                "state": _bytes(state.as_json()),
            },
        )
        self._state = state

    def publish(
        self,
        *,
        name: str,
        origin: str,
        vocabulary: tuple[int, ...] | None,
        splits: Splits | None = None,
        progress: Progress = silent,
    ) -> Prepared:
        """Write the file from the finished blocks, and forget them.

        Args:
            name, origin, vocabulary: see `Dataset`; None for the elements that occur, ascending.
            splits: the molecules (not conformers) of train, valid and test; None for 80 / 10 / 10 by content.
            progress: called with the blocks copied.

        Raises:
            InvalidInput: there is no molecule.
            Unavailable: the file cannot be written.
        """
        if not self._state.conformers:
            raise InvalidInput("the source holds no usable molecule", received=_counts(self._state.skipped))
        with atomic_write(self.path) as partial, new_hdf5(partial) as (file, proceed):
            written = self._write(file, splits, progress, proceed)
            write_attributes(
                file, name=name, origin=origin, vocabulary=vocabulary or _occurring(written.elements),
                skipped=self._state.skipped,
                fingerprint=written.fingerprint, version=VERSION,
            )  # fmt: skip
        self._unfinished.unlink(missing_ok=True)
        return written

    def _write(
        self, file: h5py.File, splits: Splits | None, progress: Progress, proceed: Callable[[], None]
    ) -> Prepared:
        sizes = self._column("sizes", np.int64, self._state.molecules)
        groups = None if self._has_no_groups else np.repeat(np.arange(len(sizes)), sizes)
        members = members_of(self._split() if splits is None else splits, sizes)
        offsets = offsets_of(self._column("n_atoms", np.int32, self._state.conformers))
        write_members(file, offsets, self._column("ids", np.int64, self._state.conformers), members, groups, _PACKED)
        smiles = self.smiles()
        if smiles is not None:
            write_smiles(file, np.array([text.encode() for text in smiles]))
        elements = np.zeros(256, dtype=np.int64)
        fingerprint = fingerprint_of(
            write_positions(file, self._positions(progress, proceed), self._state.atoms),
            self._written_numbers(file, elements), offsets, members, groups,
        )  # fmt: skip
        return Prepared(
            path=self.path, conformers=self._state.conformers, molecules=len(sizes), atoms=int(offsets[-1]),
            splits={name: len(some) for name, some in members.items()}, skipped=self._state.skipped,
            notes=self._state.notes, fingerprint=fingerprint, elements=elements, sizes=np.bincount(np.diff(offsets)),
        )  # fmt: skip

    def _split(self) -> Splits:
        keys = np.concatenate(list(self._parts("keys")))
        return rank_split(keys)

    def _positions(self, progress: Progress, proceed: Callable[[], None]) -> Iterator[NDArray[np.float32]]:
        for done in range(self._state.blocks):
            is_plain = f"{_POSITIONS}{done}" in self._journal
            yield self._piece(_POSITIONS, done)["positions"] if is_plain else self._decompressed(done)
            proceed()
            progress(done + 1, self._state.blocks, "writing")

    def _decompressed(self, k: int) -> NDArray[np.float32]:
        """The positions of a block of an earlier version: whole chunks; what fills none follows the last block."""
        chunks, content, first = self._piece(_CHUNKS, k), list[NDArray[np.float32]](), 0
        for size in chunks["sizes"].tolist():
            plain = zlib.decompress(chunks["content"][first : first + size].tobytes())
            content.append(np.frombuffer(plain, np.uint8).reshape(4, -1).T.copy().view("<f4").reshape(-1, 3))
            first += size
        is_last = k + 1 == self._state.blocks or f"{_POSITIONS}{k + 1}" in self._journal
        return np.concatenate([*content, self._piece(_REST, k)["tail"][: None if is_last else 0]])

    def _written_numbers(self, file: h5py.File, elements: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Write the atomic numbers, give them, and count the atoms of each element."""
        n_atoms, first = self._state.atoms, 0
        item = file.create_dataset(
            "atomic_numbers", shape=(n_atoms,), dtype=np.uint8, chunks=(min(n_atoms, _ATOMS),), **_PACKED
        )
        for part in self._parts("numbers"):
            item[first : first + len(part)] = part
            first += len(part)
            elements += element_counts(part)
            yield part

    def _parts(self, name: str) -> Iterator[NDArray[Any]]:
        """An array, block by block."""
        return (self._piece(_REST, k)[name] for k in range(self._state.blocks))

    def _column(self, name: str, dtype: Any, length: int) -> NDArray[Any]:
        """An array of all blocks, in memory once."""
        whole, first = np.empty(length, dtype=dtype), 0
        for part in self._parts(name):
            whole[first : first + len(part)] = part
            first += len(part)
        return whole

    @property
    def _has_no_groups(self) -> bool:
        return self._state.conformers == self._state.molecules

    def _piece(self, kind: str, k: int) -> Piece:
        piece = self._journal.get(f"{kind}{k}")
        if piece is None:
            raise InvalidInput(f"{self._unfinished} lacks a piece", remedy=START_OVER)
        return piece

    def __enter__(self) -> "PreparedWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()


def unfinished(path: Path) -> Path:
    """The file of the finished blocks, next to the prepared file."""
    return path.with_name(f".{path.name}.unfinished")


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is written so far, and how far the source is read."""

    conformers: int = 0
    molecules: int = 0
    blocks: int = 0
    atoms: int = 0
    has_smiles: bool = True
    skipped: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)

    def after(self, block: Block) -> "_State":
        return _State(
            conformers=self.conformers + len(block.ids),
            molecules=self.molecules + len(block.sizes),
            blocks=self.blocks + 1,
            atoms=self.atoms + len(block.molecules.atomic_numbers),
            has_smiles=self.has_smiles and block.smiles is not None,
            skipped=dict(Counter(self.skipped) + Counter(block.skipped)),
            notes=dict(Counter(self.notes) + Counter(block.notes)),
            place=dict(block.place),
        )

    def as_json(self) -> bytes:
        return json.dumps(vars(self)).encode()

    @classmethod
    def of(cls, piece: Piece) -> "_State":
        return cls(**json.loads(piece["state"].tobytes()))


def _occurring(elements: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(z) for z in np.flatnonzero(elements))


def _bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)


def _line(text: str) -> str:
    """A SMILES as one line of text; empty if no molecule's is so long, or has such letters."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SMILES and line.isascii() and line.isprintable() else ""


def _counts(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in skipped.items()) or "no molecule at all"
