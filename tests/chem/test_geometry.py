import numpy as np
import pytest

from gaga.chem import perceive
from gaga.chem.edm import edm_bond_orders
from gaga.chem.geometry import (
    AROMATIC,
    aligned_rmsd,
    angle_name,
    bond_angles,
    bond_lengths,
    bond_name,
    bonds_of_molecule,
    bonds_of_orders,
    joined_bonds,
    torsions,
)


@pytest.fixture
def water():
    half = np.radians(104.5 / 2)
    hydrogens = 0.96 * np.array([[np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    return np.array([8, 1, 1], np.uint8), np.concatenate([np.zeros((1, 3)), hydrogens])


def test_water(water):
    for bonds in (bonds_of_orders(edm_bond_orders(*water)), bonds_of_molecule(perceive(*water))):
        lengths, angles = bond_lengths(*water, bonds), bond_angles(*water, bonds)
        np.testing.assert_allclose(lengths.values, [0.96, 0.96], rtol=1e-6)
        np.testing.assert_allclose(angles.values, [104.5], rtol=1e-5)
        assert {bond_name(int(c)) for c in lengths.codes} == {"H-O"}
        assert [angle_name(int(c)) for c in angles.codes] == ["H-O-H"]


def test_angles_of_methane_are_tetrahedral():
    corners = 1.09 / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    numbers, positions = np.array([6, 1, 1, 1, 1], np.uint8), np.concatenate([np.zeros((1, 3)), corners])
    angles = bond_angles(numbers, positions, bonds_of_orders(edm_bond_orders(numbers, positions)))
    np.testing.assert_allclose(angles.values, np.full(6, np.degrees(np.arccos(-1 / 3))), rtol=1e-5)


def test_kinds_do_not_depend_on_the_order_of_atoms():
    positions = np.array([[0, 0, 0], [0, 0, 1.2]])
    codes = [
        bond_lengths(z, positions, bonds_of_orders(edm_bond_orders(z, positions))).codes.tolist()
        for z in (np.array([6, 8], np.uint8), np.array([8, 6], np.uint8))
    ]
    assert codes[0] == codes[1]
    assert bond_name(codes[0][0]) == "C=O"


def test_aromatic_bonds_are_a_kind_of_their_own():
    ring = np.radians(60 * np.arange(6))[:, None]
    circle = np.concatenate([np.cos(ring), np.sin(ring), 0 * ring], axis=1)
    numbers = np.array([6] * 6 + [1] * 6, np.uint8)
    bonds = bonds_of_molecule(perceive(numbers, np.concatenate([1.395 * circle, 2.48 * circle])))
    assert sorted(bonds.orders) == [1] * 6 + [AROMATIC] * 6


def test_no_bonds_no_values():
    numbers, positions = np.array([1, 1], np.uint8), np.array([[0.0, 0, 0], [0, 0, 9]])
    bonds = bonds_of_orders(edm_bond_orders(numbers, positions))
    assert len(bond_lengths(numbers, positions, bonds).values) == 0
    assert len(bond_angles(numbers, positions, bonds).values) == 0


def test_many_molecules_at_once_have_the_values_of_each():
    """Bit for bit, and in the same order for lengths."""
    rng = np.random.default_rng(0)
    molecules = [
        (rng.choice([1, 6, 7, 8], n).astype(np.uint8), rng.normal(scale=0.8, size=(n, 3)).astype(np.float32))
        for n in (3, 1, 9, 14)
    ]
    bonds = [bonds_of_orders(edm_bond_orders(*molecule)) for molecule in molecules]
    numbers, positions = (np.concatenate(part) for part in zip(*molecules, strict=True))
    whole = joined_bonds(bonds, np.array([0, 3, 4, 13, 27]))
    for measure, is_sorted in ((bond_lengths, False), (bond_angles, True)):
        found = measure(numbers, positions, whole)
        each = [measure(*molecule, its) for molecule, its in zip(molecules, bonds, strict=True)]
        ours, theirs = (
            np.stack([codes, values.view(np.int32)])
            for codes, values in (
                (found.codes, found.values),
                (np.concatenate([one.codes for one in each]), np.concatenate([one.values for one in each])),
            )
        )
        assert ours.shape[1] > 10
        if is_sorted:
            ours, theirs = (rows[:, np.lexsort(rows)] for rows in (ours, theirs))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("angle", [0.0, 60.0, -60.0, 115.0, 180.0])
def test_torsions_have_no_sign(angle):
    turned = np.radians(angle)
    positions = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1.5], [np.cos(turned), np.sin(turned), 1.5]])
    found = torsions(positions, np.array([[2, 1], [0, 1], [2, 3]]))
    np.testing.assert_allclose(found.angles, [abs(angle)], atol=1e-6)
    assert found.bond.tolist() == [0]


def test_each_way_over_a_bond_is_a_torsion():
    """Ethane has nine; one of three hydrogens of each methyl lies opposite, two are at 60 degrees."""
    ring = np.radians(120 * np.arange(3))
    methyl = np.stack([np.cos(ring), np.sin(ring), np.full(3, -0.36)], axis=1)
    positions = np.concatenate([[[0, 0, 0], [0, 0, 1.5]], methyl, -methyl + [0, 0, 1.5]])
    pairs = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 5], [1, 6], [1, 7]])
    np.testing.assert_allclose(np.sort(torsions(positions, pairs).angles), [60] * 6 + [180] * 3, atol=1e-6)


def test_atoms_in_a_line_and_rings_of_three_have_no_torsion():
    line = np.array([[0, 0, 0], [0, 0, 1.2], [0.05, 0, 2.6], [1.3, 0, 3.0]])
    assert len(torsions(line, np.array([[0, 1], [1, 2], [2, 3]])).angles) == 0
    triangle = np.array([[0, 0, 0], [1.5, 0, 0], [0.75, 1.3, 0]])
    assert len(torsions(triangle, np.array([[0, 1], [1, 2], [0, 2]])).angles) == 0
    assert len(torsions(np.zeros((0, 3)), np.zeros((0, 2), dtype=np.int64)).angles) == 0


def test_superimposed_distance_knows_rotations_and_not_mirrors():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(12, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    assert aligned_rmsd(positions, positions @ rotation + 3.0) == pytest.approx(0, abs=1e-12)
    assert aligned_rmsd(positions, positions * np.array([1, 1, -1])) > 0.1
    # Along one axis nothing but translation matters: each of two atoms is off by half of the difference.
    assert aligned_rmsd(np.array([[0.0, 0, 0], [0, 0, 1.0]]), np.array([[0.0, 0, 0], [1.4, 0, 0]])) == pytest.approx(
        0.2
    )
