"""The strict protocol: bonds that can be perceived, one piece, valences that real molecules have.

Valences are looked up by element, formal charge and (aromatic bonds, sum of the other bonds' orders), as
Nikitin et al. 2025 ("GEOM-Drugs Revisited", arXiv 2505.00169) propose, in a table derived from real ones.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Integer

from gaga.chem.bonds import count_fragments, perceive
from gaga.chem.elements import symbol_of

if TYPE_CHECKING:
    from rdkit import Chem

Valence = tuple[int, int, int, int]
"""(atomic number, formal charge, number of aromatic bonds, sum of the orders of the other bonds)."""


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


def strict_verdict(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> StrictVerdict:
    """The verdict on a neutral molecule; positions in Å."""
    molecule = perceive(atomic_numbers, positions)
    return judge_perceived(molecule) if molecule is not None else judge_unperceived(atomic_numbers, positions)


def judge_perceived(molecule: "Chem.Mol") -> StrictVerdict:
    """The verdict on a molecule that `perceive` returned."""
    from rdkit import Chem

    strange = [v for v in atom_valences(molecule) if v not in allowed_valences()]
    n_fragments = len(Chem.GetMolFrags(molecule))
    reasons = [f"in {n_fragments} pieces"] * (n_fragments > 1) + [_describe(v) for v in strange[:1]]
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


def atom_valences(molecule: "Chem.Mol") -> list[Valence]:
    """The valence of each atom."""
    return [_valence(atom) for atom in molecule.GetAtoms()]


@cache
def allowed_valences() -> frozenset[Valence]:
    """The valences of real molecules, from the table that ships with the package."""
    text = files("gaga").joinpath("shipped", "valences.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return frozenset(_parse(row) for row in rows if row["source"] != "rare")


def _parse(row: dict[str, str]) -> Valence:
    return int(row["atomic_number"]), int(row["charge"]), int(row["aromatic"]), int(row["other"])


def _valence(atom: "Chem.Atom") -> Valence:
    aromatic = other = 0
    for bond in atom.GetBonds():
        if bond.GetIsAromatic():
            aromatic += 1
        else:
            other += int(bond.GetBondTypeAsDouble())
    return atom.GetAtomicNum(), atom.GetFormalCharge(), aromatic, other


def _describe(valence: Valence) -> str:
    number, charge, aromatic, other = valence
    bonds = f"{aromatic} aromatic bonds and " if aromatic else ""
    ion = f"{symbol_of(number)}{charge:+d}" if charge else symbol_of(number)
    return f"{ion} with {bonds}bonds of order {other}"


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
