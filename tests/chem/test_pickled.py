"""RDKit's binary form: what it holds comes out, what is damaged is a ValueError."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gaga.chem.pickled import BinaryReader, atoms_of_binary


@pytest.fixture(scope="module")
def molecule():
    molecule = Chem.AddHs(Chem.MolFromSmiles("c1ccccc1C(=O)[O-].[Na+]"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    return molecule


def test_atoms_are_those_of_the_conformer_in_float32(molecule):
    numbers, positions = atoms_of_binary(molecule.ToBinary())
    assert numbers.tolist() == [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    expected = molecule.GetConformer().GetPositions()
    np.testing.assert_array_equal(positions.astype(np.float32), expected.astype(np.float32))


def test_no_conformer_and_two_are_refused(molecule):
    with pytest.raises(ValueError, match="0 conformers"):
        atoms_of_binary(Chem.MolFromSmiles("C").ToBinary())
    two = Chem.Mol(molecule)
    two.AddConformer(molecule.GetConformer(), assignId=True)
    with pytest.raises(ValueError, match="2 conformers"):
        atoms_of_binary(two.ToBinary())


def test_cut_anywhere_it_is_an_error(molecule):
    content = molecule.ToBinary()
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(ValueError):
            atoms_of_binary(content[:length])


def test_flipped_anywhere_it_is_atoms_or_an_error(molecule):
    content = molecule.ToBinary()
    for at in range(0, len(content), 5):
        flipped = bytearray(content)
        flipped[at] ^= 0x10
        try:
            numbers, positions = atoms_of_binary(bytes(flipped))
        except ValueError:
            continue
        assert len(numbers) == len(positions)


def test_bytes_that_rdkit_dies_of_are_an_error(molecule):
    """Bonds to atoms that are not there, which RDKit does not look for: read in this process they end it."""
    content, rng = molecule.ToBinary(), np.random.default_rng(0)
    with BinaryReader() as reader:
        for _ in range(400):
            forged = bytearray(content)
            for at in rng.integers(20, len(content), 3):
                forged[at] = rng.choice([0, 127, 128, 255])
            try:
                numbers, positions = reader.atoms(bytes(forged))
            except ValueError:
                continue
            assert len(numbers) == len(positions)
        numbers, positions = reader.atoms(content)
    expected = atoms_of_binary(content)
    np.testing.assert_array_equal(numbers, expected[0])
    np.testing.assert_array_equal(positions, expected[1])
