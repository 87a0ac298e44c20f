"""Which SMILES a training split has, as hashes; needs neither rdkit nor verdicts."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt64

REFERENCES = ("qm9",)
"""Data sets whose reference ships with the package."""


def hash_smiles(smiles: list[str]) -> UInt64[np.ndarray, " n"]:
    """The first 64 bits of each SMILES' SHA-256: 100,000 of them mistake a new one once in 10^14."""
    digests = b"".join(hashlib.sha256(text.encode("ascii")).digest()[:8] for text in smiles)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def are_known(smiles: list[str], hashes: UInt64[np.ndarray, " H"]) -> Bool[np.ndarray, " n"]:
    """Which of these SMILES are among those of the hashes, which ascend."""
    mine = hash_smiles(smiles)
    places = np.minimum(np.searchsorted(hashes, mine), max(0, len(hashes) - 1))
    return hashes[places] == mine if len(hashes) else np.zeros(len(mine), dtype=bool)


@contextmanager
def shipped_arrays(name: str, protocol: str) -> Iterator[Any]:
    """The arrays of the reference of one of REFERENCES, by name."""
    path = files("gaga").joinpath("shipped", f"reference_{name}_{protocol}.npz")
    with as_file(path) as file, np.load(file) as arrays:
        yield arrays


def hashes_of(arrays: Any) -> UInt64[np.ndarray, " H"]:
    """The hashes of a shipped reference's arrays, which hold their differences."""
    return np.cumsum(arrays["hash_steps"], dtype=np.uint64)
