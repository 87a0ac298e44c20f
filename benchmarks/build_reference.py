"""Make everything in gaga/shipped that evaluation compares with, from the real QM9 and the example molecules.

    python benchmarks/build_reference.py

Writes valences.csv (the strict protocol's allow-table), reference_qm9_{edm,strict}.npz (bond lengths, angles,
sizes and radii of the training split, hashes of its SMILES) and reference_qm9.json (the test split's row, with its
classes of molecules and distributions). One process, a few minutes.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path

from rdkit import Chem

from gaga.chem.bonds import perceive
from gaga.chem.elements import GEOM_VOCABULARY
from gaga.chem.valences import Valence, atom_valences
from gaga.core.molecules import PackedMolecules
from gaga.data import Dataset, load_dataset
from gaga.evaluation import PROTOCOLS, ReferenceRow, reference_of
from gaga.evaluation.reference import save_reference

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "gaga" / "shipped"
EXAMPLES = ("gdb17_xtb_1000", "mosesaq_xtb_1000")

# A valence that fewer molecules have than this is more likely a slip of perception than chemistry.
MIN_MOLECULES = 5
# What the data lacks or nearly lacks, and textbooks of organic chemistry have. Radicals and carbocations are not here:
# in a neutral molecule they are a slip of perception.
TEXTBOOK: tuple[Valence, ...] = (
    (5, -1, 0, 4),  # borates
    (5, 0, 2, 1),  # azaborines
    (6, -1, 0, 3),  # isocyanides, azomethine ylides
    (7, -1, 0, 2),  # azides, anions of sulfonamides
    (7, 1, 2, 2), (7, 1, 3, 0),  # N-oxides with a double bond, quinolizinium
    (8, 1, 0, 3), (8, 1, 2, 0),  # carbon monoxide, pyrylium
    (15, 0, 2, 0), (15, 0, 2, 1), (15, 1, 0, 4),  # phosphinine, phosphole, phosphonium
    (16, 1, 0, 3), (16, 1, 2, 0),  # sulfonium, thiopyrylium
    (16, -1, 0, 1), (16, 1, 0, 5),  # thiolates, anions of sulfoximines drawn with a charge
    (17, 1, 0, 2), (17, 2, 0, 3), (17, 3, 0, 4),  # chlorite, chlorate and perchlorate, as RDKit has them
    (35, 2, 0, 3), (35, 3, 0, 4), (53, 2, 0, 3), (53, 3, 0, 4),  # the same of bromine and iodine
    (33, 1, 0, 4),  # arsonium
    (34, 0, 2, 0), (34, 1, 0, 3),  # selenophene, selenoxides drawn with charges
    (35, 1, 0, 2), (53, 1, 0, 2),  # diaryl halonium
    (80, 0, 0, 2),  # mercury, whose valence RDKit leaves open
)  # fmt: skip
ELEMENTS = (*GEOM_VOCABULARY, 34)


def main() -> None:
    """Build all of it."""
    qm9 = load_dataset("qm9")
    examples = [load_dataset(ROOT / "examples" / f"{name}.sdf.gz") for name in EXAMPLES]
    write_valences([qm9.molecules, *(example.molecules for example in examples)])
    rows = {protocol: asdict(build(qm9, protocol)) for protocol in PROTOCOLS}
    text = json.dumps(rows, indent=1, sort_keys=True)
    (SHIPPED / "reference_qm9.json").write_text(text + "\n", encoding="utf-8")


def write_valences(sources: Iterable[PackedMolecules]) -> None:
    """The allow-table: valences that at least MIN_MOLECULES real molecules have, RDKit's and the textbooks'."""
    counts = Counter(valence for source in sources for valence in valences_by_molecule(source))
    with (SHIPPED / "valences.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["atomic_number", "charge", "aromatic", "other", "molecules", "source"])
        for valence in sorted(counts.keys() | set(TEXTBOOK) | rdkit_valences()):
            table.writerow([*valence, counts[valence], source_of(valence, counts[valence])])


def source_of(valence: Valence, n_molecules: int) -> str:
    """Why a valence is allowed, or `rare` where it is not."""
    if n_molecules >= MIN_MOLECULES:
        return "data"
    if valence in rdkit_valences():
        return "rdkit"
    return "textbook" if valence in TEXTBOOK else "rare"


@cache
def rdkit_valences() -> frozenset[Valence]:
    """The valences of uncharged atoms in RDKit's periodic table, of GEOM-Drugs' elements and selenium."""
    table = Chem.GetPeriodicTable()
    return frozenset((z, 0, 0, valence) for z in ELEMENTS for valence in table.GetValenceList(z) if valence > 0)


def valences_by_molecule(molecules: PackedMolecules) -> Iterable[Valence]:
    """Each valence of each molecule, once a molecule."""
    for numbers, positions in molecules:
        molecule = perceive(numbers, positions)
        if molecule is not None:
            yield from set(atom_valences(molecule))


def build(qm9: Dataset, protocol: str) -> ReferenceRow:
    """The training split's reference, written; and the test split's row against it."""
    everything = len(qm9)
    found = reference_of(qm9, protocol, train=everything, test=everything, workers=1, progress=report)
    save_reference(str(SHIPPED / f"reference_qm9_{protocol}.npz"), found.reference)
    return found.row


def report(done: int, total: int, note: str = "") -> None:
    """A line every tenth."""
    if done % (total // 10) < 250:
        print(f"{done:,} of {total:,} {note}", flush=True)


if __name__ == "__main__":
    main()
