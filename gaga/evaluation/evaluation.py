"""Molecules -> rates, distances and verdicts, from elements and coordinates alone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from gaga.base.errors import InvalidInput
from gaga.base.filed import file_away
from gaga.base.files import expanded
from gaga.base.journal import KEEPS_NONE, Pieces
from gaga.base.molecules import PackedMolecules
from gaga.base.progress import Progress, silent
from gaga.chem.io import READ_SUFFIXES, Skipped, read_molecules
from gaga.data import Dataset, load_dataset
from gaga.evaluation.comparing import compare
from gaga.evaluation.distances import Distances
from gaga.evaluation.judging import judge
from gaga.evaluation.rates import Rates
from gaga.evaluation.reference import DataReference, ReferenceRow, shipped
from gaga.evaluation.verdicts import Judged, Verdicts


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What a protocol says of a set of molecules.

    Attributes:
        protocol: "edm" or "strict".
        n_molecules: M; records of a file that could not be read are among them, as failures.
        n_unreadable: how many those are.
        rates: every rate with its denominator and interval.
        bond_lengths: distances to the reference's bond lengths.
        bond_angles: distances to the reference's bond angles.
        sizes: Wasserstein-1 distance of the numbers of atoms to the reference's, in atoms.
        verdicts: each molecule's verdict, in their order.
        reference: name of the reference, empty for none.
        real_data: the reference's own row under the same protocol; None without a reference.
        seed: seed of the bootstrap.
        rdkit: version of RDKit.
    """

    protocol: str
    n_molecules: int
    n_unreadable: int
    rates: Rates
    bond_lengths: Distances
    bond_angles: Distances
    sizes: float
    verdicts: Verdicts
    reference: str
    real_data: ReferenceRow | None
    seed: int
    rdkit: str


def evaluate(
    molecules: PackedMolecules | Dataset | str | Path,
    *,
    protocol: str = "edm",
    workers: int | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    reference: str | DataReference | None = "qm9",
    progress: Progress = silent,
    pieces: Pieces = KEEPS_NONE,
) -> Evaluation:
    """Stability, validity, uniqueness, novelty and geometry of molecules.

    Args:
        molecules: packed molecules, a data set or its name, an SDF or XYZ file or a folder of them;
            bonds in a file are not looked at.
        protocol: "edm", to compare with papers, or "strict".
        workers: processes; all cores if None, this process alone for 1 or for few molecules. With more,
            a script calls this under `if __name__ == "__main__":`.
        time_limit: seconds for one molecule, None for as long as it takes; see `judge`.
        seed: of the bootstrap.
        reference: what novelty and distances are held against: "qm9", what `reference_of` makes of another data set,
            or None for neither.
        progress: told the molecules done.
        pieces: verdicts on these very molecules that are there are not found again; the others are put there.

    Raises:
        InvalidInput: no molecules, or an unknown protocol.
        NotFound: no such file or reference.
        Unavailable: a worker process ended early.
    """
    found = packed(molecules)
    if not found.n_atoms.any():
        raise InvalidInput("there are no molecules to evaluate", received=str(molecules)[:80])
    data = shipped(reference, protocol) if isinstance(reference, str) else reference
    if data is not None and data.protocol != protocol:
        raise InvalidInput("the reference was made by another protocol", received=data.protocol)
    judged = judge(found, protocol, workers=workers, time_limit=time_limit, progress=progress, pieces=pieces)
    return summarise(judged, protocol, data, seed=seed)


def summarise(judged: Judged, protocol: str, data: DataReference | None, *, seed: int = 0) -> Evaluation:
    """Rates and distances of molecules that have been judged, held against this data."""
    from rdkit import rdBase

    verdicts = judged.verdicts
    found = compare(judged, data.reference if data else None, np.random.default_rng(seed))
    return Evaluation(
        protocol=protocol,
        n_molecules=len(verdicts.n_atoms),
        n_unreadable=int((verdicts.n_atoms == 0).sum()),
        rates=found.rates,
        bond_lengths=found.bond_lengths,
        bond_angles=found.bond_angles,
        sizes=found.sizes,
        verdicts=verdicts,
        reference=data.name if data else "",
        real_data=data.row if data else None,
        seed=seed,
        rdkit=rdBase.rdkitVersion,
    )


def packed(molecules: PackedMolecules | Dataset | str | Path) -> PackedMolecules:
    """The molecules that `evaluate` looks at; a record of a file that cannot be read is one without atoms."""
    if isinstance(molecules, PackedMolecules):
        return molecules
    if isinstance(molecules, Dataset):
        return molecules.molecules
    path = expanded(molecules)
    is_file = path.is_dir() or path.name.lower().endswith(READ_SUFFIXES)
    return _read(path) if is_file else load_dataset(molecules).molecules


def _read(path: Path) -> PackedMolecules:
    """The molecules of a file; a record that cannot be used becomes a molecule without atoms, which fails."""
    skipped: Counter[str] = Counter()
    molecules = file_away(_usable(path, skipped))
    if skipped.total() == len(molecules):
        counts = ", ".join(f"{n} x {reason}" for reason, n in skipped.items())
        raise InvalidInput(f"{path} holds no usable molecule", received=counts or "no records")
    return molecules


def _usable(path: Path, skipped: Counter[str]) -> Iterator[tuple[UInt8[np.ndarray, " N"], Float[np.ndarray, "N 3"]]]:
    for record in read_molecules(path):
        if isinstance(record, Skipped):
            skipped[record.reason] += 1
            yield np.zeros(0, np.uint8), np.zeros((0, 3), np.float32)
        else:
            yield record.atomic_numbers, record.positions
