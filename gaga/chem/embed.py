"""SMILES -> molecules in 3D: ETKDGv3, then MMFF94, by rdkit.

ETKDGv3: Wang, Witek, Landrum, Riniker 2020 (doi:10.1021/acs.jcim.0c00025). MMFF94: Halgren 1996. Hydrogens are
explicit: they follow the heavy atoms, which stand in the order of the SMILES. The geometry depends on the SMILES and
the seed alone, not on who else is embedded or in which process.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, UInt8

from gaga.chem.records import NO_ATOMS, UNKNOWN_ELEMENT
from gaga.core.errors import InvalidInput

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from rdkit.ForceField.rdForceField import ForceField

MAX_LETTERS = 10_000
MAX_ATOMS = 1_000  # hydrogens included; distance geometry takes the cube of them
TIME_LIMIT_S = 60.0
MMFF94, UFF = "MMFF94", "UFF"

NOT_PARSED = "cannot parse SMILES"
TOO_LONG = f"SMILES of more than {MAX_LETTERS:,} letters"
TOO_LARGE = f"more than {MAX_ATOMS:,} atoms"
SEVERAL_FRAGMENTS = "several fragments"
NOT_EMBEDDED = "embedding failed"
NO_PARAMETERS = "no force field parameters"
NOT_MINIMISED = "force field failed"
TOO_SLOW = "embedding took too long"

_ITERATIONS = 50  # of the force field between two looks at the clock
_MAX_ITERATIONS = 20_000


class NotEmbedded(InvalidInput):
    """A SMILES of which no molecule in 3D was made.

    Attributes:
        reason: why, in a few fixed words to count by.
    """

    def __init__(self, reason: str, smiles: str) -> None:
        self.reason = reason
        super().__init__(reason, received=smiles[:80])


@dataclass(frozen=True, eq=False)
class Parsed:
    """What a SMILES says of its molecule of N atoms, hydrogens included.

    Attributes:
        smiles: as it was given, or the canonical one of the fragment that was chosen.
        canonical: rdkit's canonical SMILES with stereochemistry and without hydrogens.
        atomic_numbers: [N], in the order in which `embed` places the atoms.
        charge: total formal charge.
    """

    smiles: str
    canonical: str
    atomic_numbers: UInt8[np.ndarray, " N"]
    charge: int


@dataclass(frozen=True, eq=False)
class Embedded:
    """Positions [N, 3] in Å, and the force field that they are a minimum of: MMFF94, or UFF."""

    positions: Float64[np.ndarray, "N 3"]
    force_field: str


def parse(smiles: str, *, largest_fragment: bool = False) -> Parsed:
    """What a SMILES says.

    Args:
        smiles: of a whole molecule.
        largest_fragment: of several fragments, take the one of the most heavy atoms, then of the largest mass.

    Raises:
        NotEmbedded: it cannot be parsed, is too long or of too many atoms, has an atom of no element, or several
            fragments.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = _sanitised(smiles)
        pieces = Chem.GetMolFrags(molecule, asMols=True)
        if len(pieces) > 1:
            if not largest_fragment:
                raise NotEmbedded(SEVERAL_FRAGMENTS, smiles)
            smiles = Chem.MolToSmiles(max(pieces, key=_size))
            molecule = _sanitised(smiles)
        with_hydrogens = _with_hydrogens(molecule, smiles)
        return Parsed(
            smiles=smiles,
            canonical=str(Chem.MolToSmiles(molecule)),
            atomic_numbers=np.array([atom.GetAtomicNum() for atom in with_hydrogens.GetAtoms()], dtype=np.uint8),
            charge=int(Chem.GetFormalCharge(molecule)),
        )


def embed(smiles: str, *, seed: int = 0, time_limit_s: float = TIME_LIMIT_S) -> Embedded:
    """A geometry: one embedding by ETKDGv3, then the nearest minimum of MMFF94, or of UFF if that has no parameters.

    If distances alone do not lead to a geometry, it starts from random coordinates.

    Args:
        smiles: as `parse` returns it.
        seed: another one gives another conformer.
        time_limit_s: seconds after which it is given up; looked at between steps of a few tenths of a second.

    Raises:
        NotEmbedded: it fails, for a reason that is one of this module's.
    """
    from rdkit import rdBase

    end = time.monotonic() + time_limit_s
    with rdBase.BlockLogs():
        molecule = _with_hydrogens(_sanitised(smiles), smiles)
        _place(molecule, smiles, seed, end)
        force_field = _minimise(molecule, smiles, end)
    positions = np.array(molecule.GetConformer().GetPositions(), dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(positions).all():
        raise NotEmbedded(NOT_MINIMISED, smiles)
    return Embedded(positions, force_field)


def _sanitised(smiles: str) -> "Mol":
    """The molecule; sizes are looked at before anything that takes long for large ones."""
    from rdkit import Chem

    if len(smiles) > MAX_LETTERS:
        raise NotEmbedded(TOO_LONG, smiles)
    if not smiles.isascii() or not smiles.isprintable():
        raise NotEmbedded(NOT_PARSED, smiles)
    molecule = Chem.MolFromSmiles(smiles, sanitize=False)
    if molecule is None:
        raise NotEmbedded(NOT_PARSED, smiles)
    if not molecule.GetNumAtoms():
        raise NotEmbedded(NO_ATOMS, smiles)
    if molecule.GetNumAtoms() > MAX_ATOMS:
        raise NotEmbedded(TOO_LARGE, smiles)
    whole = Chem.MolFromSmiles(smiles)
    if whole is None:
        raise NotEmbedded(NOT_PARSED, smiles)
    return whole


def _size(piece: "Mol") -> tuple[int, float, str]:
    from rdkit import Chem
    from rdkit.Chem.rdMolDescriptors import CalcExactMolWt

    return piece.GetNumHeavyAtoms(), float(CalcExactMolWt(piece)), str(Chem.MolToSmiles(piece))


def _with_hydrogens(molecule: "Mol", smiles: str) -> "Mol":
    from rdkit import Chem

    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise NotEmbedded(UNKNOWN_ELEMENT, smiles)
    whole = Chem.AddHs(molecule)
    if whole.GetNumAtoms() > MAX_ATOMS:
        raise NotEmbedded(TOO_LARGE, smiles)
    return whole


def _place(molecule: "Mol", smiles: str, seed: int, end: float) -> None:
    """Give the molecule its one conformer."""
    from rdkit.Chem import rdDistGeom

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = _keyed(smiles, seed)
    for random_start in (False, True):
        parameters.useRandomCoords = random_start
        parameters.timeout = max(1, round(end - time.monotonic()))
        try:
            if rdDistGeom.EmbedMolecule(molecule, parameters) == 0:
                return
        except (ValueError, RuntimeError) as error:  # bounds that contradict each other
            raise NotEmbedded(NOT_EMBEDDED, smiles) from error
        if time.monotonic() >= end:
            raise NotEmbedded(TOO_SLOW, smiles)
    raise NotEmbedded(NOT_EMBEDDED, smiles)


def _keyed(smiles: str, seed: int) -> int:
    """A seed for this SMILES, above 0 and below 2^31."""
    digest = hashlib.blake2b(f"{seed} {smiles}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") % (2**31 - 1) + 1


def _minimise(molecule: "Mol", smiles: str, end: float) -> str:
    """Move the atoms to the minimum; the force field's name."""
    try:
        name, field = _force_field(molecule, smiles)
        for _ in range(0, _MAX_ITERATIONS, _ITERATIONS):
            if not field.Minimize(maxIts=_ITERATIONS):
                return name
            if time.monotonic() >= end:
                raise NotEmbedded(TOO_SLOW, smiles)
    except (ValueError, RuntimeError) as error:
        raise NotEmbedded(NOT_MINIMISED, smiles) from error
    raise NotEmbedded(NOT_MINIMISED, smiles)


def _force_field(molecule: "Mol", smiles: str) -> tuple[str, "ForceField"]:
    from rdkit.Chem import rdForceFieldHelpers as helpers

    if helpers.MMFFHasAllMoleculeParams(molecule):
        parameters = helpers.MMFFGetMoleculeProperties(molecule, mmffVariant="MMFF94")
        name, field = MMFF94, helpers.MMFFGetMoleculeForceField(molecule, parameters)
    elif helpers.UFFHasAllMoleculeParams(molecule):
        name, field = UFF, helpers.UFFGetMoleculeForceField(molecule)
    else:
        raise NotEmbedded(NO_PARAMETERS, smiles)
    if field is None:
        raise NotEmbedded(NOT_MINIMISED, smiles)
    field.Initialize()
    return name, field
