"""EDM's judgement of molecules from distances alone: stability and the SMILES of what its bonds make.

Hoogeboom et al. 2022 (arXiv 2203.17003), section 5 and appendix C: a pair of atoms is bonded if it is
closer than the typical bond of its elements plus a margin; an atom is stable if its bond orders sum to an
allowed valence. Kept exactly as published, weaknesses included, so that numbers compare with the literature:
aromatic rings count as single and double bonds, charges do not exist, far-apart atoms make a valid molecule.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64, Integer

from gaga.chem.elements import N_ELEMENTS, number_of

if TYPE_CHECKING:
    from rdkit import Chem

# Typical lengths in pm. Pairs that are not listed never bond.
_SINGLE = {
    "H": {"H": 74, "B": 119, "C": 109, "N": 101, "O": 96, "F": 92, "Si": 148, "P": 144, "S": 134, "Cl": 127,
          "As": 152, "Br": 141, "I": 161},
    "B": {"Cl": 175},
    "C": {"C": 154, "N": 147, "O": 143, "F": 135, "Si": 185, "P": 184, "S": 182, "Cl": 177, "Br": 194,
          "I": 214},
    "N": {"N": 145, "O": 140, "F": 136, "P": 177, "S": 168, "Cl": 175, "Br": 214, "I": 222},
    "O": {"O": 148, "F": 142, "Si": 163, "P": 163, "S": 151, "Cl": 164, "Br": 172, "I": 194},
    "F": {"F": 142, "Si": 160, "P": 156, "S": 158, "Cl": 166, "Br": 178, "I": 187},
    "Si": {"Si": 233, "S": 200, "Cl": 202, "Br": 215, "I": 243},
    "P": {"P": 221, "S": 210, "Cl": 203, "Br": 222},
    "S": {"S": 204, "Cl": 207, "Br": 225, "I": 234},
    "Cl": {"Cl": 199, "Br": 214},
    "Br": {"Br": 228},
    "I": {"I": 266},
}  # fmt: skip
_DOUBLE = {
    "C": {"C": 134, "N": 129, "O": 120, "S": 160},
    "N": {"N": 125, "O": 121},
    "O": {"O": 121, "P": 150},
    "P": {"S": 186},
}
_TRIPLE = {"C": {"C": 120, "N": 116, "O": 113}, "N": {"N": 110}}
_MARGINS = (10, 5, 3)

_VALENCES = {
    "H": (1,), "B": (3,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "Al": (3,), "Si": (4,), "P": (3, 5),
    "S": (4,), "Cl": (1,), "As": (3,), "Br": (1,), "I": (1,), "Hg": (1, 2), "Bi": (3, 5),
}  # fmt: skip
_MAX_VALENCE = max(max(allowed) for allowed in _VALENCES.values())


def _thresholds(lengths: dict[str, dict[str, int]], margin: int) -> Int64[np.ndarray, "Z Z"]:
    table = np.zeros((N_ELEMENTS + 1, N_ELEMENTS + 1), dtype=np.int64)
    for first, others in lengths.items():
        for second, length in others.items():
            a, b = number_of(first), number_of(second)
            table[a, b] = table[b, a] = length + margin
    return table


_THRESHOLDS = [_thresholds(t, m) for t, m in zip((_SINGLE, _DOUBLE, _TRIPLE), _MARGINS, strict=True)]
# One column beyond the largest valence, for every sum that is larger: never allowed.
_ALLOWED = np.zeros((N_ELEMENTS + 1, _MAX_VALENCE + 2), dtype=bool)
for _symbol, _valences in _VALENCES.items():
    _ALLOWED[number_of(_symbol), list(_valences)] = True


def edm_bond_orders(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]
) -> Int64[np.ndarray, "N N"]:
    """Bond order of every pair by its distance (positions in Å), 0 to 3; symmetric, zero on the diagonal.

    The threshold of each order lies below that of the order before, so the order is the number of thresholds
    that the distance is under. A distance that is not finite is no bond.
    """
    points = np.asarray(positions, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        pm = 100.0 * np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(pm, np.inf)
    pairs = (atomic_numbers[:, None], atomic_numbers[None])
    orders = np.zeros(pm.shape, dtype=np.int64)
    for table in _THRESHOLDS:
        orders += pm < table[pairs]
    return orders


def edm_stability(
    atomic_numbers: Integer[np.ndarray, " N"],
    positions: Float[np.ndarray, "N 3"],
    *,
    orders: Int64[np.ndarray, "N N"] | None = None,
) -> tuple[int, bool]:
    """Number of stable atoms, and whether all of the molecule's are (a molecule of no atoms is not).

    Args:
        atomic_numbers: [N]; elements outside EDM's vocabularies are never stable.
        positions: [N, 3] in Å.
        orders: `edm_bond_orders` of these if they are known.
    """
    valences = (edm_bond_orders(atomic_numbers, positions) if orders is None else orders).sum(axis=1)
    stable = int(_ALLOWED[atomic_numbers, np.minimum(valences, _MAX_VALENCE + 1)].sum())
    return stable, 0 < len(atomic_numbers) == stable


def edm_smiles(
    atomic_numbers: Integer[np.ndarray, " N"],
    positions: Float[np.ndarray, "N 3"],
    *,
    single_bonds: bool = False,
    orders: Int64[np.ndarray, "N N"] | None = None,
) -> str | None:
    """Canonical SMILES (explicit hydrogens, no stereochemistry) of the largest fragment; None if invalid.

    Valid means: RDKit sanitises the whole of it, all fragments. RDKit fills open valences with implicit
    hydrogens, so an atom with too few bonds is valid, one with too many is not.

    Args:
        atomic_numbers: [N].
        positions: [N, 3] in Å.
        single_bonds: make every bond single, as EDM does for GEOM-Drugs, to compare with its numbers there.
        orders: `edm_bond_orders` of these if they are known.
    """
    from rdkit import Chem, rdBase

    orders = edm_bond_orders(atomic_numbers, positions) if orders is None else orders
    with rdBase.BlockLogs():
        molecule = _build(atomic_numbers, np.minimum(orders, 1) if single_bonds else orders)
        try:
            Chem.SanitizeMol(molecule)
        except (ValueError, RuntimeError):  # RDKit says the latter of some valences that it does not know
            return None
        fragments = Chem.GetMolFrags(molecule, asMols=True)
        largest = max(fragments, default=molecule, key=lambda fragment: fragment.GetNumAtoms())
        return str(Chem.MolToSmiles(largest))


def _build(atomic_numbers: Integer[np.ndarray, " N"], orders: Int64[np.ndarray, "N N"]) -> "Chem.RWMol":
    from rdkit import Chem

    kinds = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    molecule = Chem.RWMol()
    for number in atomic_numbers:
        molecule.AddAtom(Chem.Atom(int(number)))
    for i, j in np.argwhere(np.tril(orders)):
        molecule.AddBond(int(i), int(j), kinds[orders[i, j] - 1])
    return molecule
