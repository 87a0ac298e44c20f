"""Which molecules of a sample are written: all, or those that are valid, stable, unique or novel."""

import numpy as np
from jaxtyping import UInt64

from gaga.core.errors import InvalidInput
from gaga.evaluation.known import REFERENCES, are_known, hashes_of, shipped_arrays
from gaga.models.sampling.config import KEPT


class FirstOfEach:
    """Lets a SMILES pass once, in the order of the output, and never one of those that are known by these hashes."""

    def __init__(self, known: UInt64[np.ndarray, " H"] | None) -> None:
        self._known = known
        self._seen = {""}  # a molecule without a SMILES is not valid

    def __call__(self, smiles: str) -> bool:
        """Whether the molecule is written; `smiles` is without stereochemistry."""
        if smiles in self._seen or (self._known is not None and are_known([smiles], self._known)[0]):
            return False
        self._seen.add(smiles)
        return True


def judged_as(keep: str) -> str:
    """What is asked of each molecule by itself: unique and novel ones are valid first."""
    return "valid" if keep in ("unique", "novel") else keep


def among_others(keep: str, dataset: str) -> FirstOfEach | None:
    """What is asked of a molecule among the others of the output; None if nothing is.

    Args:
        keep: one of KEPT.
        dataset: what the model was trained on.

    Raises:
        InvalidInput: `keep` is none of them, or the training data of novel ones does not ship with gaga.
    """
    if keep not in KEPT:
        raise InvalidInput("unknown choice of molecules", received=keep, remedy=f"use one of {', '.join(KEPT)}")
    if keep != "novel":
        return FirstOfEach(None) if keep == "unique" else None
    if dataset not in REFERENCES:
        raise InvalidInput(
            f"whether a molecule is novel is known for models of {', '.join(REFERENCES)} only",
            received=f"a model of {dataset or 'unknown data'}",
            remedy="draw with `keep=unique`; `gaga evaluate --dataset` compares them with your data",
        )
    with shipped_arrays(dataset, "strict") as arrays:
        return FirstOfEach(hashes_of(arrays))
