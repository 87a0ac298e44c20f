"""RDKit's own binary form of a molecule, as pickles of RDKit molecules hold it.

RDKit trusts those bytes: of some that are damaged it dies, so that a stranger's are read in another process.
"""

import numpy as np
from jaxtyping import Float, UInt8

from gaga.core.processes import Isolated

_SECONDS = 30.0  # for a molecule; GEOM's take a millisecond
_MOST = 1 << 26  # bytes
_ATOM = 25  # bytes: atomic number, three float64


class BinaryReader:
    """Reads RDKit's binary molecules in a process of its own; a context manager."""

    def __init__(self) -> None:
        self._isolated = Isolated(_packed, seconds=_SECONDS, most=_MOST)

    def atoms(self, content: bytes) -> tuple[UInt8[np.ndarray, " N"], Float[np.ndarray, "N 3"]]:
        """As `atoms_of_binary`.

        Raises:
            ValueError: it is no molecule of RDKit, or has not one conformer, or RDKit dies of it.
            Unavailable: no process can be started.
        """
        packed = self._isolated(content)
        n = len(packed) // _ATOM
        if len(packed) != n * _ATOM:
            raise ValueError("it is no molecule of RDKit")
        return np.frombuffer(packed, np.uint8, n), np.frombuffer(packed, np.float64, offset=n).reshape(n, 3)

    def __enter__(self) -> "BinaryReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._isolated.close()


def _packed(content: bytes) -> bytes:
    numbers, positions = atoms_of_binary(content)
    return numbers.tobytes() + positions.astype(np.float64).tobytes()


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
