"""One molecule on its way from the sampler to the output file: as it was drawn, and with the verdict on it.

Needs no torch, so that processes which judge molecules start at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, UInt8


@dataclass(frozen=True, eq=False)
class Sampled:
    """One molecule. `index` is its key under the run's seed: the pair always gives this molecule.

    Attributes:
        index: number of the molecule under its seed.
        atomic_numbers: [N].
        positions: [N, 3] in Å, centred.
        finite: false if the network gave numbers that are not finite; all positions are NaN then.
        frames: trajectory as (atomic_numbers, positions) pairs, from noise to molecule.
        guessed: whether it is of one element that centred types do not tell; it is then that of most such training
            molecules of its size, if there are any.
        notes: numbers on what was asked for, by name, such as the fragment's RMSD before it was put back.
    """

    index: int
    atomic_numbers: UInt8[np.ndarray, " N"]
    positions: Float32[np.ndarray, "N 3"]
    finite: bool = True
    frames: tuple[tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]], ...] = ()
    guessed: bool = False
    notes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class JudgedMolecule:
    """One molecule with the verdict on it, and what of it goes into the output.

    Attributes:
        seed, index: its key.
        atomic_numbers: [N]. positions: [N, 3] in Å. finite: whether the network's numbers were.
        stable: EDM's molecule stability. n_stable_atoms: EDM's count.
        valid: by the strict protocol; None if rdkit is missing.
        smiles: of a valid molecule, else empty.
        text: the record as it is in the output file; empty if it is left out.
    """

    seed: int
    index: int
    atomic_numbers: UInt8[np.ndarray, " N"]
    positions: Float32[np.ndarray, "N 3"]
    finite: bool
    stable: bool
    n_stable_atoms: int
    valid: bool | None
    smiles: str
    text: bytes
