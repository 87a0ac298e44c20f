"""Lewis structures by integer programming, held against what RDKit's own parser says of the same molecules."""

import numpy as np
import pytest
from rdkit import Chem

from gaga.chem.orders import lewis_structure


def skeleton(smiles):
    """Atomic numbers with hydrogens, bonded pairs, and the molecule with Kekulé bonds."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], np.uint8)
    return numbers, np.array(pairs, np.int64).reshape(-1, 2), molecule


def canonical(numbers, pairs, lewis):
    molecule = Chem.RWMol()
    for number, charge in zip(numbers, lewis.charges, strict=True):
        atom = Chem.Atom(int(number))
        atom.SetFormalCharge(int(charge))
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    kinds = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    for (i, j), order in zip(pairs, lewis.orders, strict=True):
        molecule.AddBond(int(i), int(j), kinds[order - 1])
    Chem.SanitizeMol(molecule)
    return Chem.MolToSmiles(Chem.RemoveHs(molecule, sanitize=False))


@pytest.mark.parametrize(
    "smiles",
    ["CCO", "C#CC#N", "c1ccccc1", "c1ccc2[nH]ccc2c1", "CS(C)(=O)=O", "CN=[N+]=[N-]", "C[N+](=O)[O-]",
     "O=[N+]([O-])c1cc([N+](=O)[O-])cc([N+](=O)[O-])c1O", "[N-]=[N+]=Nc1ccccc1", "[O-][n+]1ccccc1", "C[N+](C)(C)[O-]",
     "[C-]#[N+]c1ccccc1", "CC(=O)OI(OC(C)=O)c1ccccc1", "C[Hg]Cl", "C[Al](C)C", "C[Bi](C)C", "O=[As](O)(O)c1ccc(N)cc1",
     "OB(O)c1ccccc1", "CP(=O)(O)O", "C[Si](C)(C)C", "C[Se]C"],
)  # fmt: skip
def test_orders_and_charges_are_those_of_the_molecule(smiles):
    numbers, pairs, _ = skeleton(smiles)
    lewis = lewis_structure(numbers, pairs)
    assert lewis is not None
    assert lewis.charges.sum() == 0
    expected = Chem.MolFromSmiles(smiles)
    found = Chem.MolFromSmiles(canonical(numbers, pairs, lewis))
    assert Chem.MolToSmiles(found) == Chem.MolToSmiles(expected)


def test_order_of_the_atoms_does_not_matter():
    numbers, pairs, _ = skeleton("O=[N+]([O-])c1cc([N+](=O)[O-])cc(N=[N+]=[N-])c1")
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(len(numbers))
        place = np.argsort(order)
        lewis = lewis_structure(numbers[order], place[pairs])
        assert np.abs(lewis.charges).sum() == 6
        assert canonical(numbers[order], place[pairs], lewis) == canonical(
            numbers, pairs, lewis_structure(numbers, pairs)
        )


def test_what_has_no_structure():
    carbon_with_five = np.array([[0, i] for i in range(1, 6)])
    assert lewis_structure(np.array([6, 1, 1, 1, 1, 1]), carbon_with_five) is None
    methyl = np.array([[0, i] for i in range(1, 4)])
    assert lewis_structure(np.array([6, 1, 1, 1]), methyl) is None
    helium = np.zeros((0, 2), np.int64)
    assert lewis_structure(np.array([2]), helium) is None


def test_charges_far_apart_are_no_structure():
    """A hydrogen that moved from one end of a chain to the other: an ammonium and an alkoxide far apart."""
    numbers, pairs, molecule = skeleton("NCCCCCCO")
    oxygen = next(a for a in molecule.GetAtoms() if a.GetAtomicNum() == 8)
    hydrogen = next(a.GetIdx() for a in oxygen.GetNeighbors() if a.GetAtomicNum() == 1)
    moved = [(0, hydrogen) if hydrogen in pair else tuple(pair) for pair in pairs.tolist()]
    assert lewis_structure(numbers, np.array(moved)) is None


def test_ions_have_no_uncharged_structure():
    assert lewis_structure(np.array([8, 1]), np.array([[0, 1]])) is None


# Elements and bonded pairs of a radical.
ELEMENTS = "8 6 6 7 6 7 6 6 6 6 8 6 7 6 6 6 6 6 6 1 1 1 1 1 1 1 1 1 1 1 1 1 1"
PAIRS = (
    "0 1 0 19 1 2 1 20 1 21 2 3 2 22 2 23 3 4 3 18 4 5 4 12 5 6 5 24 6 7 6 11 7 8 7 25 8 9 8 26 9 10 9 27 "
    "10 11 11 28 12 13 13 14 13 18 14 15 14 29 15 16 15 30 16 17 16 31 17 18 17 32"
)


def test_the_solver_prints_nothing(capfd):
    """HiGHS prints a line about this one, into what a command writes as JSON."""
    pairs = np.array(PAIRS.split(), np.int64).reshape(-1, 2)
    assert lewis_structure(np.array(ELEMENTS.split(), np.uint8), pairs) is None
    assert capfd.readouterr().out == ""
