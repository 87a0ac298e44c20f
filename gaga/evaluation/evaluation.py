"""Molecules -> rates, distances and verdicts, from elements and coordinates alone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from gaga.base.errors import InvalidInput
from gaga.base.filed import file_away
from gaga.base.journal import KEEPS_NONE, Pieces
from gaga.base.molecules import PackedMolecules
from gaga.base.progress import Progress, silent
from gaga.chem.geometry import angle_name, bond_name
from gaga.chem.io import READ_SUFFIXES, Skipped, read_molecules
from gaga.data import Dataset, load_dataset
from gaga.evaluation.distances import NO_DISTANCES, Distances, distances_to, size_distance
from gaga.evaluation.judging import Judged, Verdicts, judge
from gaga.evaluation.rates import Rates, bootstrap_rate, first_occurrences
from gaga.evaluation.reference import Reference, ReferenceRow, load_reference, load_row


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
    seed: int
    rdkit: str

    @property
    def real_data(self) -> ReferenceRow | None:
        """The reference's own row under the same protocol, as shipped; None without a reference."""
        return load_row(self.reference, self.protocol) if self.reference else None


def evaluate(
    molecules: PackedMolecules | Dataset | str | Path,
    *,
    protocol: str = "edm",
    workers: int | None = None,
    seed: int = 0,
    reference: str | None = "qm9",
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
        seed: of the bootstrap.
        reference: what novelty and distances are held against; None for neither.
        progress: told the molecules done.
        pieces: verdicts on these very molecules that are there are not found again; the others are put there.

    Raises:
        InvalidInput: no molecules, or an unknown protocol.
        NotFound: no such file or reference.
        Unavailable: a worker process ended early.
    """
    packed = _packed(molecules)
    if not packed.n_atoms.any():
        raise InvalidInput("there are no molecules to evaluate", received=str(molecules)[:80])
    data = load_reference(reference, protocol) if reference else None
    judged = judge(packed, protocol, workers=workers, progress=progress, pieces=pieces)
    return summarise(judged, protocol, data, reference=reference or "", seed=seed)


def summarise(
    judged: Judged, protocol: str, data: Reference | None, *, reference: str = "", seed: int = 0
) -> Evaluation:
    """Rates and distances of molecules that have been judged, held against this data."""
    from rdkit import rdBase

    verdicts = judged.verdicts
    lengths, angles, sizes = _distances(judged, data)
    return Evaluation(
        protocol=protocol,
        n_molecules=len(verdicts.n_atoms),
        n_unreadable=int((verdicts.n_atoms == 0).sum()),
        rates=rates_of(verdicts, data, np.random.default_rng(seed)),
        bond_lengths=lengths,
        bond_angles=angles,
        sizes=sizes,
        verdicts=verdicts,
        reference=reference,
        seed=seed,
        rdkit=rdBase.rdkitVersion,
    )


def rates_of(verdicts: Verdicts, data: Reference | None, rng: np.random.Generator) -> Rates:
    """Every rate of these verdicts; novelty against the hashes of this data."""
    every = np.ones(len(verdicts.n_atoms), dtype=np.int64)
    first = first_occurrences(verdicts.smiles)
    asked = first if data else np.zeros_like(first)
    novel = _novel(verdicts.smiles, asked, data) if data else asked
    return Rates(
        atom_stable=bootstrap_rate(verdicts.n_stable_atoms, verdicts.n_atoms, "atoms", rng),
        molecule_stable=bootstrap_rate(verdicts.stable, every, "molecules", rng),
        valid=bootstrap_rate(verdicts.valid, every, "molecules", rng),
        connected=bootstrap_rate(verdicts.connected, every, "molecules", rng),
        unique=bootstrap_rate(first, verdicts.valid, "valid molecules", rng),
        valid_and_unique=bootstrap_rate(first, every, "molecules", rng),
        novel=bootstrap_rate(novel, asked, "distinct valid molecules", rng),
    )


def _novel(smiles: tuple[str, ...], first: Bool[np.ndarray, " M"], data: Reference) -> Bool[np.ndarray, " M"]:
    flags = np.zeros(len(smiles), dtype=bool)
    flags[first] = ~data.contains([smiles[i] for i in np.flatnonzero(first)])
    return flags


def _distances(judged: Judged, data: Reference | None) -> tuple[Distances, Distances, float]:
    if data is None:
        return NO_DISTANCES, NO_DISTANCES, float("nan")
    bonds = tuple(bond_name(int(code)) for code in data.lengths.codes)
    angles = tuple(angle_name(int(code)) for code in data.angles.codes)
    n_atoms = judged.verdicts.n_atoms
    return (
        distances_to(data.lengths, judged.lengths, bonds),
        distances_to(data.angles, judged.angles, angles),
        size_distance(n_atoms[n_atoms > 0], data.sizes),
    )


def _packed(molecules: PackedMolecules | Dataset | str | Path) -> PackedMolecules:
    if isinstance(molecules, PackedMolecules):
        return molecules
    if isinstance(molecules, Dataset):
        return molecules.molecules
    path = Path(molecules).expanduser()
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
