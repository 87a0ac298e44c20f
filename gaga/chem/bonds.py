"""Bonds, bond orders and formal charges perceived from elements and coordinates alone."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Integer

from gaga.chem.orders import lewis_structure
from gaga.chem.valences import strange_valences

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

    Kim and Kim 2015 (doi:10.1002/bkcs.10334), as RDKit's DetermineBonds has it, with bonds by covalent radii. Where
    that finds nothing for a neutral molecule, or atoms with valences that real molecules do not have, the Lewis
    structure of least charge is looked for, and taken if it has none of those. Atoms keep their order, fragments stay
    in one molecule, stereochemistry is left to the coordinates.

    Args:
        atomic_numbers: [N].
        positions: [N, 3] in Å.
        charge: total charge that the formal charges must sum to.
    """
    from rdkit import rdBase

    if not len(atomic_numbers) or not np.isfinite(positions).all():
        return None
    with rdBase.BlockLogs():
        found = _first(_ordered(skeleton, charge) for skeleton in _skeletons(atomic_numbers, positions))
        if charge or (found is not None and not strange_valences(found)):
            return found
        sound = _first(_sound(skeleton) for skeleton in _skeletons(atomic_numbers, positions))
        return found if sound is None else sound


def _first(molecules: "Iterable[Chem.Mol | None]") -> "Chem.Mol | None":
    return next((molecule for molecule in molecules if molecule is not None), None)


def count_fragments(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> int:
    """Number of pieces at the largest covalent factor, without bond orders; 0 for no or bad atoms."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds

    if not len(atomic_numbers) or not np.isfinite(positions).all():
        return 0
    molecule = _atoms_only(atomic_numbers, positions)
    with rdBase.BlockLogs():
        rdDetermineBonds.DetermineConnectivity(molecule, useVdw=True, covFactor=COVALENT_FACTORS[-1])
    return len(Chem.GetMolFrags(molecule))


def _atoms_only(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> "Chem.RWMol":
    from rdkit import Chem

    molecule = Chem.RWMol()
    for number in atomic_numbers:
        molecule.AddAtom(Chem.Atom(int(number)))
    conformer = Chem.Conformer(len(atomic_numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    molecule.AddConformer(conformer)
    return molecule


def _skeletons(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]
) -> "Iterator[Chem.RWMol]":
    """The molecule with single bonds at each covalent factor that bonds more pairs than the one before."""
    from rdkit.Chem import rdDetermineBonds

    n_bonds = -1
    for factor in COVALENT_FACTORS:
        molecule = _atoms_only(atomic_numbers, positions)
        rdDetermineBonds.DetermineConnectivity(molecule, useVdw=True, covFactor=factor)
        if molecule.GetNumBonds() > n_bonds:
            n_bonds = molecule.GetNumBonds()
            yield molecule


def _ordered(skeleton: "Chem.RWMol", charge: int) -> "Chem.Mol | None":
    """A skeleton with the orders that RDKit finds, sanitised."""
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    molecule = Chem.RWMol(skeleton)
    try:
        rdDetermineBonds.DetermineBondOrders(
            molecule, charge, allowChargedFragments=True, embedChiral=False, maxIterations=MAX_ITERATIONS
        )
        Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError):  # no valences fit, or too many assignments to try
        return None
    return Chem.Mol(molecule)


def _sound(skeleton: "Chem.RWMol") -> "Chem.Mol | None":
    """A skeleton with the Lewis structure of least charge, sanitised, all of whose valences real molecules have."""
    from rdkit import Chem

    numbers = np.array([atom.GetAtomicNum() for atom in skeleton.GetAtoms()])
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in skeleton.GetBonds()]
    lewis = lewis_structure(numbers, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    if lewis is None:
        return None
    molecule = Chem.RWMol(skeleton)
    kinds = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    for bond, order in zip(molecule.GetBonds(), lewis.orders.tolist(), strict=True):
        bond.SetBondType(kinds[order - 1])
    for atom, formal in zip(molecule.GetAtoms(), lewis.charges.tolist(), strict=True):
        atom.SetFormalCharge(formal)
        atom.SetNoImplicit(True)
    try:
        Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError):
        return None
    return None if strange_valences(molecule) else Chem.Mol(molecule)
