"""Bond orders and charges from coordinates alone: whatever the order of atoms, with the charge of the file, and with
the neutral structure if there is one."""

import csv
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Chem.MolStandardize import rdMolStandardize

from gaga.chem import strict_verdict
from gaga.chem.connectivity import shortest_distances
from gaga.chem.facts import identity, total_charge
from gaga.chem.io import read_molecules
from gaga.chem.records import Record
from gaga.data import load_dataset

CASES = Path(__file__).parents[1] / "cases"
EXAMPLES = Path(__file__).parents[2] / "examples"

# 77 molecules whose bond orders are easily taken for others: neutral, and zwitterionic with a total charge of 0.
with Path(__file__).with_name("functional_groups.csv").open(newline="") as table:
    GROUPS = {row["name"]: row["smiles"] for row in csv.DictReader(table)}


def embedded(smiles):
    """Atomic numbers, positions and charge of a molecule by distance geometry (seed 7) and MMFF, else UFF."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(molecule, randomSeed=7) == 0
    mmff = AllChem.MMFFHasAllMoleculeParams(molecule)
    (AllChem.MMFFOptimizeMolecule if mmff else AllChem.UFFOptimizeMolecule)(molecule)
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], np.uint8)
    return numbers, molecule.GetConformer().GetPositions(), Chem.GetFormalCharge(molecule)


def normalised(smiles):
    """The canonical SMILES that RDKit makes of all drawings of one structure (sulfoxides, azides, ...)."""
    molecule = rdMolStandardize.Normalize(Chem.MolFromSmiles(smiles))
    Chem.RemoveStereochemistry(molecule)
    return Chem.CanonSmiles(Chem.MolToSmiles(molecule))


def perceived(numbers, positions, charge, n_orders, rng):
    """What is found in several orders of the atoms."""
    orders = [rng.permutation(len(numbers)) for _ in range(n_orders)]
    verdicts = [strict_verdict(numbers[order], positions[order], charge=charge) for order in orders]
    return {(verdict.smiles, verdict.stable, verdict.reason) for verdict in verdicts}


def test_77_functional_groups():
    rng = np.random.default_rng(0)
    wrong = {}
    for name, smiles in GROUPS.items():
        found = perceived(*embedded(smiles), 3, rng)
        if {(normalised(s or ""), stable, reason) for s, stable, reason in found} != {(normalised(smiles), True, "")}:
            wrong[name] = found
        if "+" not in smiles:  # also without RDKit's normalisation, which draws sulfoxides with charges
            assert "+" not in "".join(s for s, _, _ in found)
    assert len(GROUPS) == 77
    assert wrong == {}


@pytest.mark.parametrize(
    "smiles",
    ["CC(=O)[O-]", "[O-]C(=O)[O-]", "NC(N)=[NH2+]", "c1cc[nH+]cc1", "C[NH3+]", "C[N+](C)(C)C", "[O-]P(=O)([O-])[O-]",
     "COP(=O)([O-])[O-]", "O=[N+]([O-])[O-]", "[O-]S(=O)(=O)[O-]", "CS(=O)(=O)[O-]", "[O-][Cl+3]([O-])([O-])[O-]",
     "[O-]c1ccccc1", "[O-]c1ccc([N+](=O)[O-])cc1", "[N-]=[N+]=[N-]", "[C-]#N", "[O-]C#N", "[S-]C#N", "C#[C-]", "C[S-]",
     "C[Se-]", "[OH-]", "[OH3+]", "[NH4+]", "[NH2-]", "[Cl-]", "[Na+]", "I[I-]I", "F[B-](F)(F)F", "F[Si-](F)(F)(F)F",
     "C[S+](C)C", "C[P+](C)(C)C", "c1ccc([I+]c2ccccc2)cc1", "N#[N+]c1ccccc1", "O=[N+]=O", "C[n+]1ccccc1", "C[n+]1ccsc1",
     "Cc1nccc[n+]1C", "Nc1cc[nH+]cc1", "CN(C)C=[OH+]", "c1cc[o+]cc1", "CC#[O+]", "C[C+](C)C", "c1ccc[cH+]cc1",
     "[cH-]1cccc1", "[NH3+]CC[NH3+]", "O=C([O-])CC([NH3+])C(=O)[O-]", "NC(=[NH2+])NCCCC([NH3+])C(=O)[O-]"],
)  # fmt: skip
def test_ions(smiles):
    numbers, positions, charge = embedded(smiles)
    ((found, stable, reason),) = perceived(numbers, positions, charge, 2, np.random.default_rng(1))
    cation_of_dmf = smiles == "CN(C)C=[OH+]"  # whose charge is rather on nitrogen
    assert (normalised(found), stable, reason) == (normalised("C[N+](C)=CO" if cation_of_dmf else smiles), True, "")
    assert not strict_verdict(numbers, positions, charge=charge + 1).stable


def test_the_charge_of_the_file():
    records = list(read_molecules(CASES / "charged.sdf", bonding=True))
    drawn = {mol.GetProp("_Name"): mol for mol in Chem.SDMolSupplier(str(CASES / "charged.sdf")) if mol is not None}
    assert len(records) == len(drawn) > 5
    for record in records:
        verdict = strict_verdict(record.atomic_numbers, record.positions, charge=total_charge(record))
        assert (verdict.valid, verdict.reason) == (True, ""), record.name
        assert normalised(verdict.smiles) == normalised(Chem.MolToSmiles(drawn[record.name])), record.name


def test_one_molecule_in_twenty_orders():
    records = list(read_molecules(CASES / "one_molecule_20_orders.sdf"))
    assert len(records) == 20
    assert len({strict_verdict(record.atomic_numbers, record.positions).smiles for record in records}) == 1
    assert len({identity(Record(record.atomic_numbers, record.positions)) for record in records}) == 1


@pytest.mark.parametrize(
    ("name", "known"),
    [("mosesaq_xtb_1000.sdf.gz", [56, 68, 94, 136, 148, 235, 273, 274, 298, 304, 321, 361, 393, 400, 422, 436]),
     ("gdb17_xtb_1000.sdf.gz", [333, 494, 557, 599, 601, 795, 842, 906]),
     ("qm9", [6485, 74760, 83066])],
)  # fmt: skip
def test_the_order_of_atoms_does_not_matter(name, known):
    """Some that depended on it when RDKit's search was taken at its word, and others.

    74,760 of QM9 is a symmetric polycycle, whose isomeric SMILES by RDKit has two forms.
    """
    rng = np.random.default_rng(2)
    molecules = load_dataset(EXAMPLES / name if name.endswith("gz") else name).molecules
    for numbers, positions in molecules.take(np.concatenate([known, rng.choice(len(molecules), 20)])):
        order = rng.permutation(len(numbers))
        first, second = strict_verdict(numbers, positions), strict_verdict(numbers[order], positions[order])
        assert first == second
        assert identity(Record(numbers, positions)) == identity(Record(numbers[order], positions[order]))


def test_noise_does_not_make_it_matter():
    """Of molecules with wrong bonds too, as a model that has not learnt much draws them."""
    rng = np.random.default_rng(3)
    molecules = load_dataset(EXAMPLES / "mosesaq_xtb_1000.sdf.gz").molecules
    for numbers, positions in molecules.take(np.arange(12)):
        noisy = positions + rng.choice([0.1, 0.2, 0.3]) * rng.normal(size=positions.shape)
        order = rng.permutation(len(numbers))
        assert strict_verdict(numbers, noisy) == strict_verdict(numbers[order], noisy[order])


def test_atoms_on_top_of_each_other():
    records = list(read_molecules(CASES / "too_close.xyz"))
    verdicts = {r.name: strict_verdict(r.atomic_numbers, r.positions) for r in records}
    assert verdicts.pop("ok").valid
    assert [name for name, verdict in verdicts.items() if verdict.valid or verdict.stable] == []
    assert verdicts["CH at 0.05"].reason == "atoms C and H are 0.05 Å apart"
    assert verdicts["CH at 0.05"].n_stable_atoms == 7  # of 9
    assert "atoms C and C are 0.50 Å apart" in verdicts["CC at 0.5"].reason
    assert verdicts["nm units"].reason == "atoms H and O are 0.10 Å apart"  # the shortest, though no bond orders fit


@pytest.mark.parametrize(
    ("elements", "length"),
    [((1, 1), 0.741), ((6, 1), 0.93), ((7, 1), 0.86), ((8, 1), 0.82), ((9, 1), 0.917), ((16, 1), 1.336),
     ((7, 7), 1.098), ((6, 8), 1.128), ((6, 7), 1.14), ((6, 6), 1.18), ((7, 8), 1.06), ((8, 8), 1.12), ((9, 9), 1.412),
     ((15, 7), 1.49), ((16, 8), 1.41), ((15, 15), 1.89), ((16, 6), 1.53), ((5, 8), 1.20), ((14, 8), 1.51),
     ((80, 6), 2.05)],
)  # fmt: skip
def test_the_shortest_distances_are_below_the_shortest_bonds(elements, length):
    """Of diatomic molecules, and bonds to hydrogen as X-rays see them (Allen 2010, doi:10.1107/S0108768110012048)."""
    shortest = shortest_distances()[elements]
    assert shortest == shortest_distances()[elements[::-1]]
    assert length * 0.5 < shortest < length * 0.95
