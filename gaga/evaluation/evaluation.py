"""Molecules -> rates, distances and verdicts, from elements and coordinates alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sys import intern

import numpy as np

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Progress, silent
from gaga.data import Dataset
from gaga.evaluation.class_shares import ClassShares
from gaga.evaluation.distances import Distances
from gaga.evaluation.distributions import Distributions
from gaga.evaluation.molecule_set import Records, SkippedRecords, molecule_set
from gaga.evaluation.rates import Rates
from gaga.evaluation.reference import (
    Comparison,
    DataReference,
    ReferenceRow,
    compare,
    rdkit_version,
    shipped_reference,
)
from gaga.evaluation.support import Support, support_of
from gaga.evaluation.verdicts import JudgedMolecules, Verdicts, judge
from gaga.storage.partial import NO_PARTIALS, PartialResults


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
        records: names, formulas, total charges, and which records were skipped; None in results of earlier versions.
        classes: how much each class of molecules makes up, beside the data's; None in results of earlier versions.
        support: how many different molecules there are to be drawn; None in results of earlier versions.
        distributions: of bond lengths, angles, torsions, sizes and radii, which `gaga.evaluation.plots` draws; None in
            results of earlier versions.
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
    records: Records | None = None
    classes: ClassShares | None = None
    support: Support | None = None
    distributions: Distributions | None = None


def evaluate(
    molecules: PackedMolecules | Dataset | str | Path,
    *,
    protocol: str = "edm",
    charges: Sequence[int] | None = None,
    workers: int | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    reference: str | DataReference | None = "qm9",
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> Evaluation:
    """Stability, validity, uniqueness, novelty and geometry of molecules.

    Args:
        molecules: packed molecules, a data set or its name, an SDF or XYZ file or a folder of them; bonds in a file
            are ignored.
        protocol: "edm", to compare with papers, or "strict".
        charges: total charges for the strict protocol, one for each molecule; None for those that the file or data
            set gives (charges of an SDF, `charge=` of an XYZ file, a property `charge`), and 0 for others. EDM's
            protocol knows no charges.
        workers: processes; all cores if None, this process alone for 1 or for few molecules. With more, a script
            calls this under `if __name__ == "__main__":`.
        time_limit: seconds for one molecule, None for no limit; see `judge`.
        seed: of the bootstrap.
        reference: what novelty and distances are computed against: "qm9", what `reference_of` makes of another data
            set, or None for neither.
        progress: called with the number of molecules judged so far.
        pieces: finished verdicts on these molecules; new ones are put there.

    Raises:
        InvalidInput: no molecules, an unknown protocol, or charges that are not one for each molecule.
        NotFound: no such file or reference.
        Unavailable: a worker process ended early.
    """
    found = molecule_set(molecules, charges)
    if not found.molecules.n_atoms.any():
        raise InvalidInput("there are no molecules to evaluate", received=str(molecules)[:80])
    data = shipped_reference(reference, protocol) if isinstance(reference, str) else reference
    if data is not None and data.protocol != protocol:
        raise InvalidInput("the reference was made by another protocol", received=data.protocol)
    judged = judge(
        found.molecules, protocol, charges=found.records.charges, workers=workers, time_limit=time_limit,
        progress=progress, pieces=pieces,
    )  # fmt: skip
    judged = replace(judged, verdicts=_with_skipped(judged.verdicts, found.records.skipped))
    return Evaluation(
        protocol=protocol,
        n_molecules=len(found.molecules),
        n_unreadable=int((found.molecules.n_atoms == 0).sum()),
        **_compared(judged, data, np.random.default_rng(seed))._asdict(),
        reference=data.name if data else "",
        real_data=data.row if data else None,
        seed=seed,
        rdkit=rdkit_version(),
        records=found.records,
        support=support_of(judged.verdicts.smiles),
    )


def _compared(judged: JudgedMolecules, data: DataReference | None, rng: np.random.Generator) -> Comparison:
    if data is None:
        return compare(judged, None, rng)
    classes = data.row.classes
    return compare(judged, data.reference, rng, largest=classes.largest if classes else None, data=classes)


def _with_skipped(verdicts: Verdicts, skipped: SkippedRecords) -> Verdicts:
    """The verdicts, with the reasons for which records were skipped, in the words of other commands, and with the
    atoms of molecules that are not finite: none of them is stable.
    """
    if not len(skipped.indices):
        return verdicts
    reasons = list(verdicts.reasons)
    why = (intern(str(reason)) for piece in skipped.reasons for reason in piece)
    for i, reason in zip(skipped.indices.tolist(), why, strict=True):
        reasons[i] = reason
    n_atoms = verdicts.n_atoms.copy()
    n_atoms[skipped.indices] = skipped.n_atoms
    return replace(verdicts, reasons=tuple(reasons), n_atoms=n_atoms)
