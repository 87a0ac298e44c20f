"""Lewis structures, held against what RDKit's own parser says of the same molecules, and against trying everything."""

from itertools import product

import numpy as np
import pytest
from rdkit import Chem

from gaga.chem.orders import lewis_structure
from gaga.chem.valences import lewis_states


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


def test_charges_far_apart_are_a_zwitterion():
    """A hydrogen that moved from one end of a chain to the other: an ammonium and an alkoxide far apart."""
    numbers, pairs, molecule = skeleton("NCCCCCCO")
    oxygen = next(a for a in molecule.GetAtoms() if a.GetAtomicNum() == 8)
    hydrogen = next(a.GetIdx() for a in oxygen.GetNeighbors() if a.GetAtomicNum() == 1)
    moved = [(0, hydrogen) if hydrogen in pair else tuple(pair) for pair in pairs.tolist()]
    lewis = lewis_structure(numbers, np.array(moved))
    assert np.flatnonzero(lewis.charges).tolist() == [0, oxygen.GetIdx()]


def test_ions_have_a_structure_with_their_charge_alone():
    oxygen, bond = np.array([8, 1]), np.array([[0, 1]])
    assert lewis_structure(oxygen, bond) is None
    assert lewis_structure(oxygen, bond, charge=1) is None
    assert lewis_structure(oxygen, bond, charge=-1).charges.tolist() == [-1, 0]


C60 = (
    "c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c9c4c4c9c%10c5c5c1c1c6c6c%11c2c2c7c3c3c8c4c4"
    "c9c5c1c1c6c2c3c41"
)


@pytest.mark.parametrize(
    ("smiles", "n_charges"),
    [(C60, 0), ("c1cc2ccc3ccc4ccc5ccc6ccc1c1c2c3c4c5c61", 0),
     ("O=[N+]([O-])C12C3([N+](=O)[O-])C4([N+](=O)[O-])C1([N+](=O)[O-])C1([N+](=O)[O-])C2([N+](=O)[O-])"
      "C3([N+](=O)[O-])C41[N+](=O)[O-]", 16)],
)  # fmt: skip
def test_large_ones_are_within_the_limit(smiles, n_charges):
    numbers, pairs, _ = skeleton(smiles)
    assert np.abs(lewis_structure(numbers, pairs).charges).sum() == n_charges


def cheapest_by_trying(numbers, pairs, charge):
    """The fewest charges of all structures, by going through all orders of bonds and states of atoms."""
    table = lewis_states(ion=charge != 0)
    found = []
    for orders in product((1, 2, 3), repeat=len(pairs)):
        sums = np.bincount(pairs.ravel(), np.repeat(orders, 2), minlength=len(numbers))
        options = [[q for q, v in table[z] if v == total] for z, total in zip(numbers.tolist(), sums, strict=True)]
        found += [sum(map(abs, charges)) for charges in product(*options) if sum(charges) == charge]
    return min(found, default=None)


@pytest.mark.parametrize("charge", [-1, 0, 1])
def test_no_structure_has_fewer_charges(charge):
    """Random small graphs without hydrogens, held against trying everything."""
    rng = np.random.default_rng(charge + 5)
    n_found = 0
    for _ in range(60):
        n = int(rng.integers(2, 6))
        numbers = rng.choice([6, 7, 8, 16, 15, 5, 9], n)
        bonds = [(int(rng.integers(0, atom)), atom) for atom in range(1, n)] + [(0, n - 1)] * (
            n > 2 and rng.random() < 0.5
        )
        pairs = np.array(sorted(set(bonds)))
        lewis, expected = lewis_structure(numbers, pairs, charge=charge), cheapest_by_trying(numbers, pairs, charge)
        assert (None if lewis is None else np.abs(lewis.charges).sum()) == expected
        if lewis is not None:
            n_found += 1
            sums = np.bincount(pairs.ravel(), np.repeat(lewis.orders, 2), minlength=n)
            table = lewis_states(ion=charge != 0)
            assert all((q, v) in table[z] for z, q, v in zip(numbers.tolist(), lewis.charges, sums, strict=True))
    assert n_found > 5
