"""Bond lengths and bond angles, each with the kind it belongs to, and torsions; of one molecule or of many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Integer

from gaga.chem.elements import symbol_of

if TYPE_CHECKING:
    from rdkit import Chem

AROMATIC = 4
_AROMATIC_OF_RDKIT = 1.5
_BOND_SIGNS = {1: "-", 2: "=", 3: "#", AROMATIC: ":"}
_BASE = 128  # larger than any atomic number
_STRAIGHT = 10.0  # degrees: nearer to a line, three atoms have no plane


@dataclass(frozen=True, eq=False)
class Bonds:
    """Bonded pairs and their orders: 1, 2, 3 or AROMATIC."""

    pairs: Int64[np.ndarray, "K 2"]
    orders: Int64[np.ndarray, " K"]


NO_BONDS = Bonds(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Measured:
    """Values of several kinds mixed, each with its kind's code: lengths in Å or angles in degrees."""

    codes: Int32[np.ndarray, " n"]
    values: Float32[np.ndarray, " n"]

    def of_kind(self, code: int) -> Float32[np.ndarray, " m"]:
        """The values of one kind, in their order."""
        values: Float32[np.ndarray, " m"] = self.values[self.codes == code]
        return values


def bonds_of_orders(orders: Int64[np.ndarray, "N N"]) -> Bonds:
    """The bonds of a symmetric matrix of bond orders."""
    pairs = np.argwhere(np.triu(orders))
    return Bonds(pairs, orders[pairs[:, 0], pairs[:, 1]])


def bonds_of_molecule(molecule: "Chem.Mol") -> Bonds:
    """The bonds of an RDKit molecule, by its atoms' numbers."""
    from rdkit import Chem

    orders = Chem.GetAdjacencyMatrix(molecule, useBO=True, force=True)
    first, second = np.nonzero(orders)
    once = first < second
    first, second = first[once], second[once]
    found = orders[first, second]
    found[found == _AROMATIC_OF_RDKIT] = AROMATIC
    return Bonds(np.stack([first, second], axis=1), found.astype(np.int64))


def joined_bonds(bonds: Sequence[Bonds], offsets: Int64[np.ndarray, " M_plus_1"]) -> Bonds:
    """The bonds of M molecules, whose atoms are numbered on from molecule to molecule.

    Args:
        bonds: of each molecule.
        offsets: the number of the first atom of each molecule, and of all atoms.
    """
    pairs, orders = (
        np.concatenate([getattr(each, part) for each in (NO_BONDS, *bonds)]) for part in ("pairs", "orders")
    )
    before = np.repeat(offsets[:-1], [len(each.orders) for each in bonds])
    return Bonds(pairs + before[:, None], orders)


def bond_lengths(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], bonds: Bonds
) -> Measured:
    """The length of each bond in Å; its kind is the two elements and the order."""
    i, j = bonds.pairs.T
    lengths = np.linalg.norm(positions[i] - positions[j], axis=1)
    low, high = np.sort(atomic_numbers[bonds.pairs].astype(np.int32), axis=1).T
    return Measured(((low * _BASE + high) * 8 + bonds.orders).astype(np.int32), lengths.astype(np.float32))


def bond_angles(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], bonds: Bonds
) -> Measured:
    """The angle of each pair of bonds that share an atom, in degrees; its kind is the three elements."""
    ends = _Ends.of(bonds.pairs, len(atomic_numbers))
    # Of each end, the later ends at the same atom.
    first, second = _runs(np.arange(1, len(ends.at) + 1), ends.begin[ends.at + 1])
    centre, a, b = ends.at[first], ends.other[first], ends.other[second]
    u, v = positions[a] - positions[centre], positions[b] - positions[centre]
    norms = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    cosines = np.clip((u * v).sum(axis=1) / np.maximum(norms, np.finfo(np.float32).tiny), -1.0, 1.0)
    numbers = atomic_numbers.astype(np.int32)
    low, high = np.minimum(numbers[a], numbers[b]), np.maximum(numbers[a], numbers[b])
    codes = (low * _BASE + numbers[centre]) * _BASE + high
    return Measured(codes.astype(np.int32), np.degrees(np.arccos(cosines)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Torsions:
    """T torsions: the bond in the middle of each, as an index of bonds, and the angle without its sign in degrees."""

    bond: Int64[np.ndarray, " T"]
    angles: Float64[np.ndarray, " T"]


def torsions(positions: Float[np.ndarray, "N 3"], pairs: Int64[np.ndarray, "K 2"]) -> Torsions:
    """The torsions i-j-k-l of each three bonds in a row, 0 (i and l on one side) to 180 degrees.

    Those with three atoms within 10 degrees of a line are left out: the angle means nothing.

    Args:
        positions: of the atoms.
        pairs: the bonds, each once.
    """
    ends = _Ends.of(pairs, len(positions))
    j, k = pairs.T
    bond, before = _runs(ends.begin[j], ends.begin[j + 1])
    outer, after = _runs(ends.begin[k[bond]], ends.begin[k[bond] + 1])
    bond, i, l = bond[outer], ends.other[before[outer]], ends.other[after]  # noqa: E741 - as chemists name them
    apart = (i != k[bond]) & (l != j[bond]) & (i != l)
    bond, i, l = bond[apart], i[apart], l[apart]  # noqa: E741
    points = positions.astype(np.float64)
    into, middle, out = points[j[bond]] - points[i], points[k[bond]] - points[j[bond]], points[l] - points[k[bond]]
    first, second = np.cross(into, middle), np.cross(middle, out)
    length = np.linalg.norm(middle, axis=1)
    sine = np.sin(np.radians(_STRAIGHT))
    bent = np.linalg.norm(first, axis=1) > sine * length * np.linalg.norm(into, axis=1)
    bent &= np.linalg.norm(second, axis=1) > sine * length * np.linalg.norm(out, axis=1)
    angles = np.arctan2(length * (into * second).sum(axis=1), (first * second).sum(axis=1))
    return Torsions(bond[bent], np.degrees(np.abs(angles[bent])))


@dataclass(frozen=True, eq=False)
class _Ends:
    """Both ends of K bonds, sorted by their atoms; those of atom n are `begin[n]` to `begin[n + 1]`."""

    at: Int64[np.ndarray, " 2K"]
    other: Int64[np.ndarray, " 2K"]
    begin: Int64[np.ndarray, " N_plus_1"]

    @classmethod
    def of(cls, pairs: Int64[np.ndarray, "K 2"], n_atoms: int) -> "_Ends":
        ends = np.concatenate([pairs, pairs[:, ::-1]])
        ends = ends[np.argsort(ends[:, 0], kind="stable")]
        begin = np.concatenate([[0], np.cumsum(np.bincount(ends[:, 0], minlength=n_atoms))])
        return cls(ends[:, 0], ends[:, 1], begin)


def _runs(
    start: Int64[np.ndarray, " n"], stop: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """(i, number) for every number from start[i] to stop[i]."""
    counts = stop - start
    owner = np.repeat(np.arange(len(start)), counts)
    first = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - first[owner] + start[owner]


def bond_name(code: int) -> str:
    """A kind of bond in words: C-H, C=O, N#N, C:C."""
    pair, order = divmod(code, 8)
    low, high = divmod(pair, _BASE)
    return _BOND_SIGNS[order].join(sorted((symbol_of(low), symbol_of(high))))


def angle_name(code: int) -> str:
    """A kind of angle in words, centre in the middle: H-C-H."""
    rest, high = divmod(code, _BASE)
    low, centre = divmod(rest, _BASE)
    a, b = sorted((symbol_of(low), symbol_of(high)))
    return f"{a}-{symbol_of(centre)}-{b}"


def aligned_rmsd(first: Float[np.ndarray, "N 3"], second: Float[np.ndarray, "N 3"]) -> float:
    """Root-mean-square distance in Å of the same atoms in two geometries, superimposed by translation and rotation.

    Kabsch 1976 (doi:10.1107/S0567739476001873): mirror images are not superimposed.
    """
    a = first.astype(np.float64) - first.mean(axis=0)
    b = second.astype(np.float64) - second.mean(axis=0)
    left, _, right = np.linalg.svd(a.T @ b)
    mirror = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return float(np.sqrt((((a @ (left * mirror) @ right) - b) ** 2).sum() / len(a)))


def superimposed(moving: Float[np.ndarray, "N 3"], onto: Float[np.ndarray, "k 3"]) -> Float64[np.ndarray, "N 3"]:
    """All positions moved as one body so that the first k lie on `onto` as well as can be (Kabsch 1976)."""
    some, target = moving[: len(onto)].astype(np.float64), onto.astype(np.float64)
    left, _, right = np.linalg.svd((some - some.mean(axis=0)).T @ (target - target.mean(axis=0)))
    mirror = np.array([1.0, 1.0, 1.0 if np.linalg.det(left @ right) > 0 else -1.0])
    moved: Float64[np.ndarray, "N 3"] = (moving - some.mean(axis=0)) @ (left * mirror) @ right + target.mean(axis=0)
    return moved
