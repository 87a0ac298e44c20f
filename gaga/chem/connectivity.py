"""Which pairs of atoms are bonded, by distance alone: cheap enough for millions of conformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer
from numpy.typing import NDArray

HYDROGEN = 1

BONDED, APART = 1.15, 1.40
"""A pair closer than 1.15 times its summed covalent radii is bonded, one further apart than 1.40 times is not; between
them either may be. The first is the smallest of bonds.COVALENT_FACTORS, the second is beyond their largest."""
_MIDDLE = (BONDED + APART) / 2

SHORTEST, SHORTEST_TO_H, SHORTEST_H_H = 0.65, 0.75, 0.60
"""No two atoms are closer than 0.65 times their summed covalent radii, 0.75 times if one is hydrogen, and 0.60 Å if
both are: C-H 0.80 Å, O-H 0.73 Å, C-C 0.99 Å. The shortest known bonds are longer: N2 has 0.77 times its radii
(1.098 Å), C-C of alkynes 0.79 times, H2 0.741 Å, O-H in crystal structures 0.85 times (0.82 Å), as X-rays put hydrogen
too near. Radii: Cordero et al. 2008 (doi:10.1039/b801115j), as RDKit has them."""

Graph = tuple[Bool[np.ndarray, "N N"], Bool[np.ndarray, "N N"]]
"""Pairs that are surely bonded, and pairs that are surely not."""


def bond_graph(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> Graph:
    """The sure bonds of a conformer and the pairs that surely have none."""
    radii = _radii()[atomic_numbers]
    difference = positions[:, None] - positions[None]
    ratio2 = np.einsum("ijk,ijk->ij", difference, difference) / np.square(radii[:, None] + radii[None])
    return ratio2 < BONDED**2, ratio2 > APART**2


def may_be_conformers(a: Graph, b: Graph) -> bool:
    """Whether two conformers of the same elements in the same order can have the same bonds: no pair is surely bonded
    in one and surely not in the other."""
    return not (np.any(a[0] & b[1]) or np.any(b[0] & a[1]))


@dataclass(frozen=True)
class Bonds:
    """The bonds of N atoms by distance, a pair (i, j) as i * N + j with i < j.

    Attributes:
        sure: pairs that are surely bonded.
        likely: pairs closer than the middle of BONDED and APART.
        possible: pairs that are not surely apart.
        plausible: whether there are any, and every hydrogen has one: else the atoms are no molecule.
    """

    sure: frozenset[int]
    likely: frozenset[int]
    possible: frozenset[int]
    plausible: bool

    def may_be_those_of(self, other: "Bonds") -> bool:
        """Whether two conformers of the same elements in the same order can have the same bonds."""
        return self.sure <= other.possible and other.sure <= self.possible


def bonds_by_distance(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> Bonds:
    """The bonds of a conformer; unlike `bond_graph` in memory that grows with N alone."""
    from scipy.spatial import cKDTree

    radii, n = _radii()[atomic_numbers], len(atomic_numbers)
    pairs = cKDTree(positions).query_pairs(2 * APART * float(radii.max()), output_type="ndarray")
    first, second = pairs.min(axis=1), pairs.max(axis=1)
    ratio = np.linalg.norm(positions[first] - positions[second], axis=1) / (radii[first] + radii[second])
    codes = first.astype(np.int64) * n + second
    sure, likely, possible = (frozenset(codes[ratio <= limit].tolist()) for limit in (BONDED, _MIDDLE, APART))
    bonded = np.zeros(n, dtype=bool)
    bonded[pairs[ratio <= APART]] = True
    return Bonds(sure, likely, possible, bool(sure) and bool(bonded[np.asarray(atomic_numbers) == 1].all()))


def same_graph(numbers: Sequence[Integer[np.ndarray, " _"]], bonds: Sequence[Bonds]) -> bool:
    """Whether two molecules, of atoms in any order, have the same elements and the same likely bonds."""
    neighbourhoods = [_neighbourhoods(its, graph) for its, graph in zip(numbers, bonds, strict=True)]
    if neighbourhoods[0] != neighbourhoods[1]:  # nearly all that differ, differ there
        return False
    first, second = (_canonical(its, graph) for its, graph in zip(numbers, bonds, strict=True))
    return first == second


def _neighbourhoods(numbers: Integer[np.ndarray, " N"], bonds: Bonds) -> list[list[int]]:
    """The element of each atom, and those of the atoms bonded to it, sorted."""
    elements = numbers.tolist()
    around: list[list[int]] = [[] for _ in elements]
    for i, j in (divmod(code, len(elements)) for code in bonds.likely):
        around[i].append(elements[j])
        around[j].append(elements[i])
    return sorted([element, *sorted(others)] for element, others in zip(elements, around, strict=True))


def _canonical(numbers: Integer[np.ndarray, " N"], bonds: Bonds) -> str:
    """A text that is the same for the same graph, whatever the order of its atoms."""
    from rdkit import Chem

    molecule = Chem.RWMol()
    for number in numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for i, j in (divmod(code, len(numbers)) for code in bonds.likely):
        molecule.AddBond(i, j, Chem.BondType.SINGLE)
    molecule.UpdatePropertyCache(strict=False)
    return str(Chem.MolToSmiles(molecule))


@cache
def _radii() -> NDArray[np.float32]:
    """Covalent radii in Å by atomic number."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    return np.array([table.GetRcovalent(z) for z in range(119)], dtype=np.float32)


def covalent_radius(atomic_number: int) -> float:
    """The covalent radius of an element in Å, of RDKit's table."""
    return round(float(_radii()[atomic_number]), 3)


def close_pairs(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], factor: float
) -> Int64[np.ndarray, "K 2"]:
    """Pairs closer than a multiple of their summed covalent radii, in no order."""
    radii = factor * _summed_radii()
    return _closer(atomic_numbers, positions, radii)[0]


def too_close(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]
) -> tuple[Int64[np.ndarray, "K 2"], Float64[np.ndarray, " K"]]:
    """Pairs of atoms that are closer than any two atoms of their elements, and their distances in Å, shortest first."""
    pairs, distances = _closer(atomic_numbers, positions, shortest_distances())
    order = np.lexsort((atomic_numbers[pairs].astype(np.int64).prod(axis=1), distances))
    return pairs[order], distances[order]


def _closer(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], limits: NDArray[np.float64]
) -> tuple[Int64[np.ndarray, "K 2"], Float64[np.ndarray, " K"]]:
    """Pairs closer than the limit of their elements, and their distances, in Å."""
    from scipy.spatial import cKDTree

    elements = np.unique(atomic_numbers)
    reach = float(limits[np.ix_(elements, elements)].max())
    points = positions.astype(np.float64)
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    difference = points[pairs[:, 0]] - points[pairs[:, 1]]
    distances = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    near = distances < limits[atomic_numbers[pairs[:, 0]], atomic_numbers[pairs[:, 1]]]
    return pairs[near], distances[near]


@cache
def _summed_radii() -> NDArray[np.float64]:
    """The summed covalent radii in Å of two elements, by their atomic numbers."""
    radii = _radii().astype(np.float64)
    return radii[:, None] + radii


@cache
def shortest_distances() -> NDArray[np.float64]:
    """The shortest distance in Å that two atoms can have, by their atomic numbers."""
    shortest = SHORTEST * _summed_radii()
    shortest[HYDROGEN] = shortest[:, HYDROGEN] = SHORTEST_TO_H * _summed_radii()[HYDROGEN]
    shortest[HYDROGEN, HYDROGEN] = SHORTEST_H_H
    return shortest


def pieces(n_atoms: int, pairs: Int64[np.ndarray, "K 2"]) -> Int64[np.ndarray, " N"]:
    """The number of the piece of each of N atoms, from 0, in the order of their first atoms."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n_atoms, n_atoms))
    labels: Int64[np.ndarray, " N"] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def composition(atomic_numbers: Integer[np.ndarray, " N"]) -> bytes:
    """How many atoms of each element, as a key."""
    return np.bincount(atomic_numbers, minlength=119).astype("<u2").tobytes()


def composition_of_smiles(smiles: str) -> bytes | None:
    """The composition of a SMILES, hydrogens included; None if it cannot be read."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule: Chem.Mol | None = Chem.MolFromSmiles(smiles, sanitize=False)
        if molecule is None:
            return None
        try:
            molecule.UpdatePropertyCache(strict=False)
            atoms = [(atom.GetAtomicNum(), atom.GetTotalNumHs()) for atom in molecule.GetAtoms()]
        except (ValueError, RuntimeError):  # no valences fit
            return None
    numbers = np.array([z for z, _ in atoms] + [1] * sum(hydrogens for _, hydrogens in atoms), dtype=np.int64)
    return composition(numbers)
