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
