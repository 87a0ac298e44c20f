"""The strict protocol: bonds that can be perceived, one piece, no two atoms on top of each other, valences of real
molecules.

Valences are those of `gaga.chem.valences`, of the molecule as RDKit has it and of its Kekulé structure.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from gaga.chem.bonds import count_fragments, perceive
from gaga.chem.connectivity import shortest_distances, too_close
from gaga.chem.elements import symbol_of
from gaga.chem.valences import describe, strange_valences

if TYPE_CHECKING:
    from rdkit import Chem

_NONE = (np.zeros((0, 2), dtype=np.int64), np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class StrictVerdict:
    """What the strict protocol says of one molecule.

    Attributes:
        valid: bonds, orders and charges were found, RDKit sanitises them, the molecule is in one piece, and no two
            atoms are closer than any two of their elements are (`connectivity.shortest_distances`).
        connected: the molecule is in one piece.
        stable: every atom has a valence that real molecules have, and none is too close to another.
        n_stable_atoms: how many atoms this is true of; 0 if no bond orders were found.
        smiles: canonical SMILES without hydrogens and stereochemistry, None unless valid.
        n_fragments: number of pieces; 0 for no atoms or positions that are not finite.
        reason: why not valid or not stable, empty if both.
    """

    valid: bool
    connected: bool
    stable: bool
    n_stable_atoms: int
    smiles: str | None
    n_fragments: int
    reason: str


def strict_verdict(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], *, charge: int = 0
) -> StrictVerdict:
    """The verdict on a molecule.

    Args:
        atomic_numbers: [N].
        positions: [N, 3] in Å.
        charge: total charge of the molecule, in elementary charges.
    """
    molecule = perceive(atomic_numbers, positions, charge=charge)
    return judge_perceived(molecule) if molecule is not None else judge_unperceived(atomic_numbers, positions)


def judge_perceived(molecule: "Chem.Mol") -> StrictVerdict:
    """The verdict on a molecule that `perceive` returned."""
    strange = strange_valences(molecule)
    n_fragments, numbers, close, distances = _pieces_and_clashes(molecule)
    reasons = [f"in {n_fragments} pieces"] * (n_fragments > 1) + _apart(numbers, close, distances)
    valid = not reasons
    reasons += [describe(valence) for valence in sorted(strange.values())[:1]]
    return StrictVerdict(
        valid=valid,
        connected=n_fragments == 1,
        stable=not strange and not len(close),
        n_stable_atoms=len(numbers) - len(strange.keys() | set(close.ravel().tolist())),
        smiles=strict_smiles(molecule) if valid else None,
        n_fragments=n_fragments,
        reason="; ".join(reasons),
    )


def is_valid(molecule: "Chem.Mol") -> bool:
    """Whether `judge_perceived` calls a molecule that `perceive` returned valid."""
    n_fragments, _, close, _ = _pieces_and_clashes(molecule)
    return n_fragments == 1 and not len(close)


def _pieces_and_clashes(
    molecule: "Chem.Mol",
) -> tuple[int, Int64[np.ndarray, " N"], Int64[np.ndarray, "K 2"], Float64[np.ndarray, " K"]]:
    """The number of pieces, the atomic numbers, and the pairs of atoms that are too close with their distances in Å."""
    from rdkit import Chem

    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    # Nearly all have none, as RDKit's matrix of distances says sooner: the zeros of its diagonal alone.
    apart = np.count_nonzero(Chem.Get3DDistanceMatrix(molecule) < shortest_distances()[numbers][:, numbers])
    clashes = _NONE if apart == len(numbers) else too_close(numbers, molecule.GetConformer().GetPositions())
    return len(Chem.GetMolFrags(molecule)), numbers, *clashes


def _apart(
    numbers: Integer[np.ndarray, " N"], close: Int64[np.ndarray, "K 2"], distances: Float64[np.ndarray, " K"]
) -> list[str]:
    """The shortest distance between atoms that are too close, in words; nothing without such atoms."""
    if not len(close):
        return []
    first, second = sorted(symbol_of(int(number)) for number in numbers[close[0]])
    return [f"atoms {first} and {second} are {distances[0]:.2f} Å apart"]


def strict_smiles(molecule: "Chem.Mol") -> str:
    """Canonical SMILES without hydrogens and without stereochemistry."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        heavy = Chem.RemoveHs(molecule, sanitize=False)
        return str(Chem.MolToSmiles(heavy, isomericSmiles=False))


def stereo_smiles(molecule: "Chem.Mol") -> str:
    """Canonical SMILES without hydrogens and with the stereochemistry of the positions, which the molecule receives."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        Chem.AssignStereochemistryFrom3D(molecule)
        return str(Chem.MolToSmiles(Chem.RemoveHs(molecule, sanitize=False)))


def judge_unperceived(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> StrictVerdict:
    """The verdict on atoms of which `perceive` made no molecule."""
    n_fragments = count_fragments(atomic_numbers, positions)
    if not len(atomic_numbers):
        reason = "no atoms"
    elif not n_fragments:
        reason = "positions are not finite"
    else:
        apart = _apart(atomic_numbers, *too_close(atomic_numbers, positions))
        reason = apart[0] if apart else "no bond orders fit"
    return StrictVerdict(
        valid=False,
        connected=n_fragments == 1,
        stable=False,
        n_stable_atoms=0,
        smiles=None,
        n_fragments=n_fragments,
        reason=reason,
    )
