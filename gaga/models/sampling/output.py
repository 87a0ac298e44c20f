"""Molecules on their way from the spool into the output file and the record, in the order of their keys."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gaga.chem.records import Record
from gaga.chem.writers import open_writer, trajectory_path
from gaga.models.checkpoint import file_digest
from gaga.models.sampling.molecules import JudgedMolecule, Sampled
from gaga.models.sampling.record import SampleColumns
from gaga.models.sampling.targets import Asked
from gaga.models.sampling.unfinished import Keys, UnfinishedSamples
from gaga.storage.files import atomic_write, sync

_AT_ONCE = 256  # molecules


class SampleOutput:
    """The output file and the record for the store, written together; a context manager.

    The file is there when the block has ended well; until then, what was there stays.

    Args:
        out: the file; what was there is replaced.
        keys: the molecules of the run.
        folder: where the record grows.
        chosen: whether a molecule is written, from its SMILES, asked in the order of the output; all are if None. The
            record has them all.
        asked: what molecules are asked to have; None if nothing is.

    Raises:
        Unavailable: one of them cannot be written.
    """

    def __init__(
        self,
        out: Path,
        keys: Keys,
        folder: Path,
        chosen: Callable[[str], bool] | None = None,
        asked: Asked | None = None,
    ) -> None:
        self._keys, self._next, self._chosen = keys, 0, chosen
        with ExitStack() as files:
            self._columns = files.enter_context(SampleColumns(folder, asked))
            partial = files.enter_context(atomic_write(out))
            self._writer = files.enter_context(open_writer(partial, overwrite=True))
            self._files = files.pop_all()

    def write_next(self, spool: UnfinishedSamples) -> None:
        """Write the molecules whose turn it is, up to the first that is not there yet."""
        while True:
            last = self._next
            while last < len(self._keys) and last in spool and last - self._next < _AT_ONCE:
                last += 1
            if last == self._next:
                return
            molecules = [self._as_chosen(spool[place]) for place in range(self._next, last)]
            self._writer.append(b"".join(molecule.text for molecule in molecules))
            self._columns.add(molecules)
            self._next = last

    def _as_chosen(self, molecule: JudgedMolecule) -> JudgedMolecule:
        written = not molecule.text or self._chosen is None or self._chosen(molecule.smiles)
        return molecule if written else replace(molecule, text=b"")

    def finish(self, products: str = "", variances: tuple[float, float] = (float("nan"), float("nan"))) -> Any:
        """All is written: what goes to the store while this is open, to be read as a `SampleRecord`.

        `products` is the library of float32 products (gaga.models.network.kernels.products), `variances` what the
        solver does to Gaussian data (gaga.models.sampling.solvers.returned_variances).

        Raises:
            Unavailable: the disk is full.
        """
        self._writer.close()
        sync(self._writer.path)
        return self._columns.record(file_digest(self._writer.path), products, variances)

    def __enter__(self) -> "SampleOutput":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._files.__exit__(*failure)


def write_trajectory(out: Path, drawn: Sampled) -> None:
    """Frames as multi-frame XYZ, up to the first that is not finite."""
    with atomic_write(trajectory_path(out, drawn.index)) as partial, open_writer(partial, overwrite=True) as writer:
        for k, (numbers, positions) in enumerate(drawn.frames):
            if not np.isfinite(positions).all():
                return
            writer.write(Record(numbers, positions, f"frame {k}"))
