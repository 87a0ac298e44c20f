"""Bonds, bond orders and formal charges perceived from elements and coordinates alone."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Integer

from gaga.chem.connectivity import close_pairs, pieces
from gaga.chem.orders import Lewis, lewis_structure
from gaga.chem.valences import lowest_valences, max_bonds

if TYPE_CHECKING:
    from rdkit import Chem

COVALENT_FACTORS = (1.15, 1.20, 1.25, 1.30)
"""A pair bonds below this multiple of its summed covalent radii; the first that makes a molecule is kept.

The smallest recovers all but a few in 10,000 molecules of QM9, the others most of the rest.
"""

MAX_ITERATIONS = 1000
"""Assignments of valences tried for one molecule. Real ones need few; garbage has exponentially many."""


def perceive(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], *, charge: int = 0
) -> "Chem.Mol | None":
    """The sanitised RDKit molecule of these atoms, with bonds, formal charges and a conformer, or None.

    Bonds by covalent radii. Orders and charges are those of the Lewis structure with the fewest formal charges
    (`orders.lewis_structure`): a neutral one if there is one. If there is none with valences that real molecules
    have, what RDKit's search finds (Kim and Kim 2015, doi:10.1002/bkcs.10334). All of it is done in an order of atoms
    that follows from the bonds, so that the molecule does not depend on the order of the given ones.

    Atoms keep their order, fragments stay in one molecule, stereochemistry is left to the coordinates.

    Args:
        atomic_numbers: [N].
        positions: [N, 3] in Å.
        charge: total charge that the formal charges must sum to.
    """
    from rdkit import Chem, rdBase

    if not len(atomic_numbers) or not np.isfinite(positions).all():
        return None
    best: tuple[float, Chem.Mol] | None = None
    with rdBase.BlockLogs():
        atoms = _atoms_only(atomic_numbers, positions)
        for factor, skeleton in _skeletons(atoms, atomic_numbers):
            if not charge and (only := _only_one(skeleton, atomic_numbers)) is not None:
                return only
            order = _canonical_order(skeleton)
            reordered = _bonded(Chem.RWMol(Chem.RenumberAtoms(atoms, order)), factor)
            found, n_charges = _ordered(reordered, atomic_numbers[order], charge)
            if found is not None and (best is None or n_charges < best[0]):
                best = (n_charges, Chem.RenumberAtoms(found, np.argsort(order).tolist()))
            if n_charges == abs(charge):
                break  # no larger factor gives a better one
        return None if best is None else best[1]


def count_fragments(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> int:
    """Number of pieces at the largest covalent factor, without bond orders; 0 for no or bad atoms."""
    if not len(atomic_numbers) or not np.isfinite(positions).all():
        return 0
    pairs = close_pairs(atomic_numbers, positions, COVALENT_FACTORS[-1])
    return int(pieces(len(atomic_numbers), pairs).max()) + 1


def _skeletons(atoms: "Chem.RWMol", atomic_numbers: Integer[np.ndarray, " N"]) -> "Iterator[tuple[float, Chem.RWMol]]":
    """Each covalent factor that bonds more pairs than the one before, and the molecule with these single bonds.

    If an atom has more bonds than its element can have, there is no molecule, nor at any larger factor.
    """
    from rdkit import Chem

    n_bonds = -1
    for factor in COVALENT_FACTORS:
        skeleton = _bonded(Chem.RWMol(atoms), factor)
        if (Chem.GetAdjacencyMatrix(skeleton).sum(axis=0) > max_bonds()[atomic_numbers]).any():
            return
        if skeleton.GetNumBonds() > n_bonds:
            n_bonds = skeleton.GetNumBonds()
            yield factor, skeleton


def _atoms_only(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> "Chem.RWMol":
    from rdkit import Chem

    # Parsed, as adding atoms one by one takes twice the time. Atoms in brackets get no hydrogens.
    smiles = ".".join([f"[#{number}]" for number in atomic_numbers.tolist()])
    molecule = Chem.RWMol(Chem.MolFromSmiles(smiles, _as_it_is()))
    conformer = Chem.Conformer(len(atomic_numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    molecule.AddConformer(conformer)
    return molecule


@cache
def _as_it_is() -> "Chem.SmilesParserParams":
    from rdkit import Chem

    parameters = Chem.SmilesParserParams()
    parameters.sanitize = False  # type: ignore[assignment]
    parameters.removeHs = False  # type: ignore[assignment]
    return parameters


def _bonded(atoms: "Chem.RWMol", factor: float) -> "Chem.RWMol":
    """Single bonds between all pairs closer than a multiple of their covalent radii, in the order of atoms."""
    from rdkit.Chem import rdDetermineBonds

    rdDetermineBonds.DetermineConnectivity(atoms, useVdw=True, covFactor=factor)
    return atoms


def _only_one(skeleton: "Chem.RWMol", atomic_numbers: Integer[np.ndarray, " N"]) -> "Chem.Mol | None":
    """A skeleton with the orders that RDKit finds, if no other orders can be as good; most molecules in half the time.

    All atoms are plain, and two structures of which this is true differ in a ring of alternating orders, which has
    several multiple bonds.
    """
    from rdkit import Chem

    found = _of_rdkit(skeleton)
    if found is None or not _is_plain(found, atomic_numbers):
        return None
    first, second = np.nonzero(Chem.GetAdjacencyMatrix(found, useBO=True) > 1)
    if len(first) > 2:  # each bond is there twice
        Chem.FastFindRings(found)
        bonds = (found.GetBondBetweenAtoms(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True))
        if sum(bond.IsInRing() for bond in bonds) > 2:
            return None
    return _sanitised(found)


def _canonical_order(skeleton: "Chem.RWMol") -> list[int]:
    """The atoms in an order that depends on elements and bonds alone, up to symmetry."""
    from rdkit import Chem

    skeleton.UpdatePropertyCache(strict=False)
    ranks = list(Chem.CanonicalRankAtoms(skeleton, breakTies=True))
    return sorted(range(len(ranks)), key=ranks.__getitem__)


def _ordered(
    skeleton: "Chem.RWMol", atomic_numbers: Integer[np.ndarray, " N"], charge: int
) -> "tuple[Chem.Mol | None, float]":
    """A skeleton with orders and charges, sanitised, and how many charges; more than any number without a structure of
    the table."""
    first = None if charge else _of_rdkit(skeleton)
    if first is not None and _is_plain(first, atomic_numbers):
        return _sanitised(first), 0
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in skeleton.GetBonds()]
    lewis = lewis_structure(atomic_numbers, np.array(pairs, dtype=np.int64).reshape(-1, 2), charge=charge)
    if lewis is not None and (molecule := _of_lewis(skeleton, lewis)) is not None:
        return molecule, int(np.abs(lewis.charges).sum())
    first = _of_rdkit(skeleton, charge) if charge else first
    return (None if first is None else _sanitised(first)), np.inf


def _of_rdkit(skeleton: "Chem.RWMol", charge: int = 0) -> "Chem.RWMol | None":
    """A skeleton with the orders that RDKit finds first."""
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    molecule = Chem.RWMol(skeleton)
    try:
        rdDetermineBonds.DetermineBondOrders(
            molecule, charge, allowChargedFragments=True, embedChiral=False, maxIterations=MAX_ITERATIONS
        )
    except (ValueError, RuntimeError):  # no valences fit, or too many assignments to try
        return None
    return molecule


def _is_plain(molecule: "Chem.RWMol", atomic_numbers: Integer[np.ndarray, " N"]) -> bool:
    """Whether every atom is neutral and has the lowest valence of its element: no structure costs less."""
    from rdkit import Chem

    valences = Chem.GetAdjacencyMatrix(molecule, useBO=True, force=True).sum(axis=0)
    return bool((valences == lowest_valences()[atomic_numbers]).all())


def _of_lewis(skeleton: "Chem.RWMol", lewis: Lewis) -> "Chem.Mol | None":
    from rdkit import Chem

    molecule = Chem.RWMol(skeleton)
    kinds = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    for bond, order in zip(molecule.GetBonds(), lewis.orders.tolist(), strict=True):
        bond.SetBondType(kinds[order - 1])
    for atom, formal in zip(molecule.GetAtoms(), lewis.charges.tolist(), strict=True):
        atom.SetFormalCharge(formal)
    return _sanitised(molecule)


def _sanitised(molecule: "Chem.RWMol") -> "Chem.Mol | None":
    from rdkit import Chem

    try:
        Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError):
        return None
    return molecule
