"""Bonds by distance, and compositions, against RDKit's own."""

from itertools import pairwise

import numpy as np
import pytest

from gaga.chem.bonds import perceive
from gaga.chem.connectivity import (
    Bonds,
    bond_graph,
    bonds_by_distance,
    composition,
    composition_of_smiles,
    may_be_conformers,
    same_graph,
)
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


def test_bonds_in_little_memory_are_those_of_all_pairs(molecules):
    for molecule in molecules:
        n, graphs = len(molecule.numbers), []
        for conformer in molecule.conformers[:2]:
            bonded, apart = bond_graph(molecule.numbers, conformer)
            found = bonds_by_distance(molecule.numbers, conformer)
            upper = np.triu(np.ones((n, n), dtype=bool), 1)
            assert found.sure == set(np.flatnonzero(bonded & upper).tolist())
            assert found.possible == set(np.flatnonzero(~apart & upper).tolist())
            assert found.sure <= found.likely <= found.possible
            assert found.plausible
            graphs.append(found)
        assert graphs[0].may_be_those_of(graphs[-1])


def test_ten_thousand_atoms_and_no_molecule():
    grid = np.stack(np.meshgrid(*[np.arange(22) * 1.5] * 3), axis=-1).reshape(-1, 3)
    carbon = np.full(len(grid), 6)
    assert len(bonds_by_distance(carbon, grid).sure) == 3 * 21 * 22**2  # neighbours along each axis
    assert not bonds_by_distance(carbon, 10 * grid).plausible
    assert not bonds_by_distance(np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0, 0.96], [9.0, 0, 0]])).plausible
    assert not bonds_by_distance(np.array([2]), np.zeros((1, 3))).plausible


def test_the_same_graph_in_another_order(molecules):
    rng = np.random.default_rng(0)
    graphs = []
    for molecule in molecules[:8]:
        numbers, positions = molecule.numbers, molecule.conformers[0]
        order = rng.permutation(len(numbers))
        both = [numbers, numbers[order]]
        assert same_graph(
            both, [bonds_by_distance(numbers, positions), bonds_by_distance(numbers[order], positions[order])]
        )
        graphs.append((numbers, bonds_by_distance(numbers, positions)))
    for first, second in pairwise(graphs):
        assert not same_graph([first[0], second[0]], [first[1], second[1]])


def test_graphs_that_neighbourhoods_alone_do_not_tell_apart():
    """Decalin and bicyclopentyl as graphs of carbon: equal neighbours of neighbours, other rings."""
    rings = {
        "decalin": [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (5, 6), (6, 7), (7, 8), (8, 9), (9, 4)],
        "bicyclopentyl": [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (5, 6), (6, 7), (7, 8), (8, 9), (9, 5), (0, 5)],
    }
    carbon = np.full(10, 6)
    codes = [frozenset(10 * min(pair) + max(pair) for pair in pairs) for pairs in rings.values()]
    assert not same_graph([carbon, carbon], [Bonds(its, its, its, plausible=True) for its in codes])
