"""Molecules on their way into the output file: judged as they are drawn, written in the order of their keys."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gaga.chem.annotate import annotate
from gaga.chem.records import Record
from gaga.chem.writers import as_written, open_writer
from gaga.data.spool import Keys, Spool, Spooled
from gaga.models.checkpoint import file_digest
from gaga.models.sample_record import SampleColumns
from gaga.models.samplers import Sampled

_AT_ONCE = 256  # molecules


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges molecules and makes their records.

    Attributes:
        out: the output file, whose name says how records look.
        keep: `all`, `valid` by the strict protocol, or `stable` by EDM's; a .smi file holds what has a SMILES.
        label: the checkpoint, as the records name it.
    """

    out: Path
    keep: str
    label: str

    def __call__(self, seed: int, molecules: Sequence[Sampled]) -> list[Spooled]:
        """The molecules of a batch under this seed, ready to be spooled."""
        return [self._judged(seed, molecule) for molecule in molecules]

    def _judged(self, seed: int, molecule: Sampled) -> Spooled:
        properties = {"gaga_seed": str(seed), "gaga_index": str(molecule.index), "checkpoint": self.label}
        name = f"gaga-{seed}-{molecule.index}"
        found = annotate(molecule.atomic_numbers, molecule.positions, name=name, properties=properties)
        passed = molecule.finite  # what is not finite fails everything
        valid = None if found.valid is None else found.valid and passed
        stable, smiles = found.stable and passed, found.smiles if passed else ""
        kept = {"all": True, "valid": bool(valid), "stable": stable}[self.keep]
        if self.out.name.lower().endswith(".smi") and not smiles:
            kept = False
        return Spooled(
            seed=seed, index=molecule.index, atomic_numbers=molecule.atomic_numbers, positions=molecule.positions,
            finite=passed, stable=stable, n_stable_atoms=found.n_stable_atoms if passed else 0, valid=valid,
            smiles=smiles, text=as_written(self.out, found.record, found.mol) if kept else b"",
        )  # fmt: skip


class SampleOutput:
    """The output file and the record for the store, written together; a context manager.

    Args:
        out: the file; what was there is replaced.
        keys: the molecules of the run.
        folder: where the record grows.

    Raises:
        Unavailable: one of them cannot be written.
    """

    def __init__(self, out: Path, keys: Keys, folder: Path) -> None:
        self._keys, self._next = keys, 0
        with ExitStack() as files:
            self._columns = files.enter_context(SampleColumns(folder))
            self._writer = files.enter_context(open_writer(out, overwrite=True))
            self._files = files.pop_all()

    def go_on(self, spool: Spool) -> None:
        """Write the molecules whose turn it is, up to the first that is not there yet."""
        while True:
            last = self._next
            while last < len(self._keys) and last in spool and last - self._next < _AT_ONCE:
                last += 1
            if last == self._next:
                return
            molecules = [spool[place] for place in range(self._next, last)]
            self._writer.append(b"".join(molecule.text for molecule in molecules))
            self._columns.add(molecules)
            self._next = last

    def finish(self) -> Any:
        """All is written: what goes to the store while this is open, to be read as a `SampleRecord`."""
        self._writer.close()
        return self._columns.record(file_digest(self._writer.path))

    def __enter__(self) -> "SampleOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


def trajectory_path(out: Path, index: int) -> Path:
    """Where the frames of a molecule go, such as mols_trajectory_0.xyz beside mols.sdf."""
    return out.with_name(f"{out.name.partition('.')[0]}_trajectory_{index}.xyz")


def write_trajectory(out: Path, drawn: Sampled) -> None:
    """Frames as multi-frame XYZ, up to the first that is not finite."""
    with open_writer(trajectory_path(out, drawn.index), overwrite=True) as writer:
        for k, (numbers, positions) in enumerate(drawn.frames):
            if not np.isfinite(positions).all():
                return
            writer.write(Record(numbers, positions, f"frame {k}"))
