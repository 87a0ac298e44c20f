"""Bond lengths and bond angles of a molecule, each with the kind it belongs to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64, Integer

from gaga.chem.elements import symbol_of

if TYPE_CHECKING:
    from rdkit import Chem

AROMATIC = 4
_BOND_SIGNS = {1: "-", 2: "=", 3: "#", AROMATIC: ":"}
_BASE = 128  # larger than any atomic number


@dataclass(frozen=True, eq=False)
class Bonds:
    """Bonded pairs and their orders: 1, 2, 3 or AROMATIC."""

    pairs: Int64[np.ndarray, "K 2"]
    orders: Int64[np.ndarray, " K"]


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
    """The bonds of an RDKit molecule."""
    bonds = list(molecule.GetBonds())
    pairs = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in bonds]
    orders = [AROMATIC if b.GetIsAromatic() else int(b.GetBondTypeAsDouble()) for b in bonds]
    return Bonds(np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(orders, dtype=np.int64))


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
    ends = np.concatenate([bonds.pairs, bonds.pairs[:, ::-1]])
    first, second = np.nonzero(np.triu(ends[:, None, 0] == ends[None, :, 0], k=1))
    centre, a, b = ends[first, 0], ends[first, 1], ends[second, 1]
    u, v = positions[a] - positions[centre], positions[b] - positions[centre]
    norms = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    cosines = np.clip((u * v).sum(axis=1) / np.maximum(norms, np.finfo(np.float32).tiny), -1.0, 1.0)
    numbers = atomic_numbers.astype(np.int32)
    low, high = np.minimum(numbers[a], numbers[b]), np.maximum(numbers[a], numbers[b])
    codes = (low * _BASE + numbers[centre]) * _BASE + high
    return Measured(codes.astype(np.int32), np.degrees(np.arccos(cosines)).astype(np.float32))


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
