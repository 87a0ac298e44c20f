"""How alike two molecules are by the atoms around each atom: Tanimoto similarity of ECFP4 fingerprints.

Rogers and Hahn 2010 (doi:10.1021/ci100050t), circles of two bonds, 2,048 bits.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdkit.DataStructs import ExplicitBitVect

_RADIUS, _BITS = 2, 2048


def similarity(smiles: str, other: str) -> float:
    """From 0 (no circle in common) to 1 (all)."""
    from rdkit.DataStructs import TanimotoSimilarity

    return float(TanimotoSimilarity(_fingerprint(smiles), _fingerprint(other)))


@lru_cache(maxsize=1024)
def _fingerprint(smiles: str) -> "ExplicitBitVect":
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=_BITS)
    fingerprint: ExplicitBitVect = generator.GetFingerprint(Chem.MolFromSmiles(smiles))
    return fingerprint
