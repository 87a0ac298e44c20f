"""Bonds, bond orders and formal charges perceived from elements and coordinates alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64, Integer

from gaga.chem.connectivity import close_pairs, pieces
from gaga.chem.orders import Lewis, lewis_structure
from gaga.chem.valences import lowest_valences, max_valences

if TYPE_CHECKING:
    from rdkit import Chem

COVALENT_FACTORS = (1.15, 1.20, 1.25, 1.30)
"""A pair bonds below this multiple of its summed covalent radii; the first that makes a molecule is kept.

The smallest recovers all but a few in 10,000 molecules of QM9, the others most of the rest.
"""

MAX_ITERATIONS = 1000
"""Assignments of valences tried for one molecule. Real ones need few; garbage has exponentially many."""

_MAX_DEGREE = 12  # of elements that the table of valences does not have


def perceive(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], *, charge: int = 0
) -> "Chem.Mol | None":
    """The sanitised RDKit molecule of these atoms, with bonds, formal charges and a conformer, or None.

    Bonds by covalent radii. Orders and charges are those of the Lewis structure with the fewest formal charges
    (`orders.lewis_structure`): a neutral one if there is one. Where there is none with valences that real molecules
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
    best: tuple[float, Chem.Mol, list[int]] | None = None
    with rdBase.BlockLogs():
        for skeleton, ranks in _skeletons(atomic_numbers, positions):
            found, n_charges = _ordered(skeleton, charge)
            if found is not None and (best is None or n_charges < best[0]):
                best = (n_charges, found, ranks)
            if n_charges == abs(charge):
                break  # no larger factor gives a better one
        return None if best is None else Chem.RenumberAtoms(best[1], best[2])


def count_fragments(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> int:
    """Number of pieces at the largest covalent factor, without bond orders; 0 for no or bad atoms."""
    if not len(atomic_numbers) or not np.isfinite(positions).all():
        return 0
    pairs, _ = close_pairs(atomic_numbers, positions, COVALENT_FACTORS[-1])
    return int(pieces(len(atomic_numbers), pairs).max()) + 1


def _skeletons(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]
) -> "Iterator[tuple[Chem.RWMol, list[int]]]":
    """The molecule with single bonds at each covalent factor that bonds more pairs than the one before.

    Each with its atoms in a canonical order, and the place of every given atom in it. If an atom has more bonds than
    its element can have, there is no molecule, nor at any larger factor.
    """
    from rdkit import Chem

    close, ratios = close_pairs(atomic_numbers, positions, COVALENT_FACTORS[-1])
    most = max_valences()
    room = np.array([most.get(number, _MAX_DEGREE) for number in atomic_numbers.tolist()])
    atoms = _atoms_only(atomic_numbers, positions)
    n_bonds = -1
    for factor in COVALENT_FACTORS:
        pairs = close[ratios < factor]
        if len(pairs) == n_bonds:
            continue
        n_bonds = len(pairs)
        if (np.bincount(pairs.ravel(), minlength=len(room)) > room).any():
            return
        ranks = _canonical_ranks(_bonded(Chem.RWMol(atoms, True), pairs))
        places = np.array(ranks)
        canonical = Chem.RWMol(Chem.RenumberAtoms(atoms, np.argsort(places).tolist()))
        renamed = np.sort(places[pairs], axis=1)
        yield _bonded(canonical, renamed[np.lexsort(renamed.T[::-1])]), ranks


def _atoms_only(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> "Chem.RWMol":
    from rdkit import Chem

    molecule = Chem.RWMol()
    for number in atomic_numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    conformer = Chem.Conformer(len(atomic_numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    molecule.AddConformer(conformer)
    return molecule


def _bonded(molecule: "Chem.RWMol", pairs: Int64[np.ndarray, "K 2"]) -> "Chem.RWMol":
    from rdkit import Chem

    for a, b in pairs.tolist():
        molecule.AddBond(a, b, Chem.BondType.SINGLE)
    return molecule


def _canonical_ranks(skeleton: "Chem.RWMol") -> list[int]:
    """The place of each atom in an order that depends on elements and bonds alone, up to symmetry."""
    from rdkit import Chem

    skeleton.UpdatePropertyCache(strict=False)
    return list(Chem.CanonicalRankAtoms(skeleton, breakTies=True))


def _ordered(skeleton: "Chem.RWMol", charge: int) -> "tuple[Chem.Mol | None, float]":
    """A skeleton with orders and charges, sanitised, and how many charges; more than any number without a structure of
    the table."""
    first = None if charge else _of_rdkit(skeleton, charge)
    if first is not None and _is_plain(first):
        return _sanitised(first), 0
    numbers = np.array([atom.GetAtomicNum() for atom in skeleton.GetAtoms()], dtype=np.int64)
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in skeleton.GetBonds()]
    lewis = lewis_structure(numbers, np.array(pairs, dtype=np.int64).reshape(-1, 2), charge=charge)
    if lewis is not None and (molecule := _of_lewis(skeleton, lewis)) is not None:
        return molecule, int(np.abs(lewis.charges).sum())
    first = _of_rdkit(skeleton, charge) if charge else first
    return (None if first is None else _sanitised(first)), np.inf


def _of_rdkit(skeleton: "Chem.RWMol", charge: int) -> "Chem.RWMol | None":
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


def _is_plain(molecule: "Chem.RWMol") -> bool:
    """Whether every atom is neutral and has the lowest valence of its element: no structure costs less."""
    lowest = lowest_valences()
    molecule.UpdatePropertyCache(strict=False)
    atoms = (molecule.GetAtomWithIdx(index) for index in range(molecule.GetNumAtoms()))
    return all(
        not atom.GetFormalCharge() and atom.GetTotalValence() == lowest.get(atom.GetAtomicNum()) for atom in atoms
    )


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
    return Chem.Mol(molecule)
