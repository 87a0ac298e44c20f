"""Bonds by distance, and compositions, against RDKit's own."""

import numpy as np
import pytest

from gaga.chem.bonds import perceive
from gaga.chem.connectivity import bond_graph, composition, composition_of_smiles, may_be_conformers
from tests.data.geom_fixtures import drugs


@pytest.fixture(scope="module")
def molecules():
    return drugs(25)


def test_sure_bonds_are_those_of_the_perceived_molecule(molecules):
    for molecule in molecules:
        bonded, apart = bond_graph(molecule.numbers, molecule.conformers[0])
        found = perceive(molecule.numbers, molecule.conformers[0])
        expected = np.zeros_like(bonded)
        for bond in found.GetBonds():
            i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            expected[i, j] = expected[j, i] = True
        off_diagonal = ~np.eye(len(bonded), dtype=bool)
        np.testing.assert_array_equal(bonded & off_diagonal, expected)
        assert not np.any(apart & expected)
        assert np.count_nonzero(~apart & ~expected & off_diagonal) <= 2


def test_jitter_and_turns_make_conformers_and_a_moved_atom_does_not(molecules):
    rng = np.random.default_rng(0)
    for molecule in molecules:
        positions = molecule.conformers[0]
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        moved = positions.copy()
        moved[0] += 50
        graph = bond_graph(molecule.numbers, positions)
        jittered = (positions + rng.normal(scale=0.03, size=positions.shape)) @ turn
        assert may_be_conformers(graph, bond_graph(molecule.numbers, jittered))
        assert not may_be_conformers(graph, bond_graph(molecule.numbers, moved))
        assert not may_be_conformers(bond_graph(molecule.numbers, moved), graph)


@pytest.mark.parametrize(
    ("smiles", "counts"),
    [
        ("CCO", {6: 2, 8: 1, 1: 6}), ("c1ccccc1", {6: 6, 1: 6}), ("[H][H]", {1: 2}), ("[NH4+]", {7: 1, 1: 4}),
        ("C[N+](=O)[O-]", {6: 1, 1: 3, 7: 1, 8: 2}), ("O.[Na+].[Cl-]", {8: 1, 1: 2, 11: 1, 17: 1}),
        ("F[P-](F)(F)(F)(F)F", {15: 1, 9: 6}),
    ],
)  # fmt: skip
def test_compositions_of_smiles(smiles, counts):
    numbers = [z for z, n in counts.items() for _ in range(n)]
    assert composition_of_smiles(smiles) == composition(np.array(numbers))


@pytest.mark.parametrize("smiles", ["", "molecule 1", "C(", "C1CC", "\0", "[Xx]"])
def test_what_is_no_smiles_has_no_composition_of_a_molecule(smiles):
    assert composition_of_smiles(smiles) in (None, composition(np.array([], dtype=np.int64)))
