"""Molecules drawn from a file for what takes seconds for each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int16, Int64

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules

if TYPE_CHECKING:
    from rdkit import Chem

SAMPLE_SIZE = 200
"""Molecules that `gaga evaluate` draws where nobody says how many."""

NOT_VALID = "not valid"


@dataclass(frozen=True, eq=False)
class Drawn:
    """S molecules of M.

    Attributes:
        molecules: the S.
        charges: their total charges, [S].
        indices: their numbers among the M, ascending, [S].
        n_molecules: M.
    """

    molecules: PackedMolecules
    charges: Int16[np.ndarray, " S"]
    indices: Int64[np.ndarray, " S"]
    n_molecules: int


def draw(
    molecules: PackedMolecules, sample_size: int, seed: int, charges: Int16[np.ndarray, " M"] | None = None
) -> Drawn:
    """So many molecules at most, the same for the same seed; a larger sample holds the smaller ones.

    `charges` are total charges, [M]; None for 0.

    Raises:
        InvalidInput: no molecules, or a sample of none.
    """
    if sample_size < 1:
        raise InvalidInput("a sample has molecules", received=sample_size)
    if not molecules.n_atoms.any():
        raise InvalidInput("there are no molecules to look at")
    order = np.random.default_rng(seed).permutation(len(molecules))
    indices = np.sort(order[:sample_size])
    given = np.zeros(len(indices), dtype=np.int16) if charges is None else charges[indices]
    return Drawn(molecules.take(indices), given, indices, len(molecules))


def perceived_and_valid(numbers: Any, positions: Any, charge: int) -> "Chem.Mol | None":
    """The molecule of that total charge with its bonds, by the strict protocol; None if that finds it not valid."""
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived

    molecule = perceive(numbers, positions, charge=charge)
    return molecule if molecule is not None and judge_perceived(molecule).valid else None
