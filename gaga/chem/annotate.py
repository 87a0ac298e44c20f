"""A generated molecule as a record that says what it is: stability, validity, SMILES, and bonds if perceived."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

from gaga.chem.edm import edm_stability
from gaga.chem.records import PropertyValue, Record

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True, eq=False)
class Annotated:
    """A record, the molecule with perceived bonds if there is one, and what was found.

    Attributes:
        record: atoms, positions and properties.
        mol: with bonds and a conformer; None if no bond orders fit, or rdkit is missing.
        stable: EDM's molecule stability. n_stable_atoms: EDM's count.
        valid: by the strict protocol: bonds and charges fit, sanitised, in one piece; None without rdkit.
        smiles: of a valid molecule, without stereochemistry; else empty.
    """

    record: Record
    mol: "Mol | None"
    stable: bool
    n_stable_atoms: int
    valid: bool | None
    smiles: str


def annotate(
    atomic_numbers: UInt8[np.ndarray, " N"],
    positions: Float32[np.ndarray, "N 3"],
    *,
    name: str,
    properties: Mapping[str, PropertyValue],
) -> Annotated:
    """Judge a molecule (positions in Å) and write the verdict into its properties, behind the given ones.

    The property SMILES has the stereochemistry of the positions. Without rdkit there is EDM's stability alone.
    """
    n_stable, stable = edm_stability(atomic_numbers, positions)
    found: dict[str, PropertyValue] = {"stable_edm": stable, "stable_atoms_edm": f"{n_stable}/{len(atomic_numbers)}"}
    mol, valid, smiles = _perceived(atomic_numbers, positions)
    if valid is not None:
        found |= {"valid_strict": valid, "bonds": "perceived" if mol is not None else "none"}
    if mol is not None and smiles:
        from gaga.chem.strict import stereo_smiles

        found["SMILES"] = stereo_smiles(type(mol)(mol))  # the molecule itself stays as it was perceived
    record = Record(atomic_numbers, positions, name, {**properties, **found})
    return Annotated(record, mol, stable, n_stable, valid, smiles)


def _perceived(
    atomic_numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"]
) -> tuple["Mol | None", bool | None, str]:
    if find_spec("rdkit") is None:
        return None, None, ""
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived

    mol = perceive(atomic_numbers, positions)
    if mol is None:
        return None, False, ""
    verdict = judge_perceived(mol)
    return mol, verdict.valid, verdict.smiles or ""
