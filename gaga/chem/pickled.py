"""RDKit's own binary form of a molecule, as pickles of RDKit molecules hold it."""

import numpy as np
from jaxtyping import Float, UInt8


def atoms_of_binary(content: bytes) -> tuple[UInt8[np.ndarray, " N"], Float[np.ndarray, "N 3"]]:
    """Atomic numbers and positions in Å of the one conformer of a molecule.

    Raises:
        ValueError: it is no molecule of RDKit, or has not one conformer.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        try:
            molecule = Chem.Mol(content)  # type: ignore[call-overload] # its stubs say text
        except (RuntimeError, ValueError, MemoryError, OverflowError) as error:
            raise ValueError("it is no molecule of RDKit") from error
        if molecule.GetNumConformers() != 1:
            raise ValueError(f"it has {molecule.GetNumConformers()} conformers")
        numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], dtype=np.uint8)
        return numbers, np.asarray(molecule.GetConformer().GetPositions()).reshape(-1, 3)
