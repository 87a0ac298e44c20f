"""The strict protocol: bonds that can be perceived, one piece, valences that real molecules have.

Valences are those of `gaga.chem.valences`, of the molecule as RDKit has it and of its Kekulé structure.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Integer

from gaga.chem.bonds import count_fragments, perceive
from gaga.chem.valences import describe, strange_valences

if TYPE_CHECKING:
    from rdkit import Chem


@dataclass(frozen=True, kw_only=True)
class StrictVerdict:
    """What the strict protocol says of one molecule.

    Attributes:
        valid: bonds, orders and charges were found, RDKit sanitises them, and the molecule is in one piece.
        connected: the molecule is in one piece.
        stable: every atom has a valence that real molecules have.
        n_stable_atoms: how many do; 0 where no bond orders were found.
        smiles: canonical SMILES without hydrogens and stereochemistry, None unless valid.
        n_fragments: number of pieces; 0 for no atoms or positions that are not finite.
        reason: why not valid or not stable, empty where both.
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
    from rdkit import Chem

    strange = strange_valences(molecule)
    n_fragments = len(Chem.GetMolFrags(molecule))
    reasons = [f"in {n_fragments} pieces"] * (n_fragments > 1) + [describe(v) for v in strange[:1]]
    return StrictVerdict(
        valid=n_fragments == 1,
        connected=n_fragments == 1,
        stable=not strange,
        n_stable_atoms=molecule.GetNumAtoms() - len(strange),
        smiles=strict_smiles(molecule) if n_fragments == 1 else None,
        n_fragments=n_fragments,
        reason="; ".join(reasons),
    )


def strict_smiles(molecule: "Chem.Mol") -> str:
    """Canonical SMILES without hydrogens and without stereochemistry."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        heavy = Chem.RemoveHs(molecule, sanitize=False)
        return str(Chem.MolToSmiles(heavy, isomericSmiles=False))


def judge_unperceived(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> StrictVerdict:
    """The verdict on atoms of which `perceive` made no molecule."""
    n_fragments = count_fragments(atomic_numbers, positions)
    if not len(atomic_numbers):
        reason = "no atoms"
    elif not n_fragments:
        reason = "positions are not finite"
    else:
        reason = "no bond orders fit"
    return StrictVerdict(
        valid=False,
        connected=n_fragments == 1,
        stable=False,
        n_stable_atoms=0,
        smiles=None,
        n_fragments=n_fragments,
        reason=reason,
    )
