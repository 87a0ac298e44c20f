"""Who is trained on: EDM's split of QM9, and a split by content for everybody else's molecules."""

import hashlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64, UInt64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules

EDM_TRAIN = 100_000
EDM_TEST_FRACTION = 0.1
TRAIN_FRACTION, VALID_FRACTION = 0.8, 0.1


def edm_split(n_molecules: int, seed: int = 0) -> dict[str, Int64[np.ndarray, " n"]]:
    """EDM's split of QM9: a permutation, its first 100,000 train, its last tenth test, the rest valid.

    Hoogeboom et al. 2022, after Anderson et al. 2019 (Cormorant); seed 0 is theirs.

    Raises:
        InvalidInput: there are too few molecules for such a split.
    """
    n_test = int(EDM_TEST_FRACTION * n_molecules)
    if n_molecules < EDM_TRAIN + n_test:
        raise InvalidInput("too few molecules for EDM's split", received=n_molecules)
    return _cut(_legacy_permutation(n_molecules, seed), EDM_TRAIN, n_molecules - EDM_TRAIN - n_test)


def content_split(
    molecules: PackedMolecules, seed: int = 0, groups: Int64[np.ndarray, " M"] | None = None
) -> dict[str, Int64[np.ndarray, " n"]]:
    """80 / 10 / 10 by rank of a keyed hash of each molecule.

    The split depends on the molecules and the seed, not on their order or their file, and the copies of a
    molecule stand side by side, so that hardly any is both trained and tested on. No split of three molecules
    or more is empty.

    Args:
        molecules: M conformers.
        seed: of the hash.
        groups: which molecule each is a conformer of, 0, 1, 2, ...; None if each is its own. The conformers of a
            molecule are in one split, which the smallest of their hashes decides.
    """
    keys = _keys([key for piece in molecules.pieces() for key in content_keys(piece, seed)])
    if groups is None:
        return rank_split(keys)
    order = np.lexsort((keys[:, 1], keys[:, 0], groups))
    first = np.flatnonzero(np.diff(groups[order], prepend=-1))
    members = members_of(rank_split(keys[order[first]]), np.bincount(groups))
    in_groups = np.argsort(groups, kind="stable")
    return {name: in_groups[some] for name, some in members.items()}


def content_keys(molecules: PackedMolecules, seed: int) -> list[bytes]:
    """16 bytes for each molecule, which depend on its elements and positions and the seed."""
    return [_content_key(numbers, positions, seed) for numbers, positions in molecules]


def _keys(keys: list[bytes]) -> UInt64[np.ndarray, "n 2"]:
    """Keys as numbers that sort as their bytes do."""
    return np.frombuffer(b"".join(keys), dtype=">u8").reshape(-1, 2).astype(np.uint64)


def smallest_keys(keys: list[bytes], sizes: Int64[np.ndarray, " G"]) -> UInt64[np.ndarray, "G 2"]:
    """The smallest key of each group of consecutive keys."""
    ends = np.cumsum(sizes)
    return _keys([min(keys[end - size : end]) for end, size in zip(ends, sizes, strict=True)])


def rank_split(keys: UInt64[np.ndarray, "n 2"]) -> dict[str, Int64[np.ndarray, " _"]]:
    """80 / 10 / 10 by rank."""
    n_held_out = max(round(VALID_FRACTION * len(keys)), 1 if len(keys) >= 3 else 0)
    return _cut(np.lexsort((keys[:, 1], keys[:, 0])), len(keys) - 2 * n_held_out, n_held_out)


def members_of(
    splits: Mapping[str, Int64[np.ndarray, " _"]], sizes: Int64[np.ndarray, " G"]
) -> dict[str, Int64[np.ndarray, " _"]]:
    """Splits of groups -> splits of their members, which lie one group after the other."""
    ends = np.cumsum(sizes)
    return {name: _ranges(ends[some] - sizes[some], sizes[some]) for name, some in splits.items()}


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ..., for each start as many as its size."""
    return np.asarray(np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes))


def _legacy_permutation(n: int, seed: int) -> NDArray[np.int64]:
    # The published split was drawn with numpy's legacy generator, so no newer one gives it.
    return np.random.RandomState(seed).permutation(n).astype(np.int64)


def _cut(order: NDArray[np.int64], n_train: int, n_valid: int) -> dict[str, NDArray[np.int64]]:
    train, valid, test = np.split(order, [n_train, n_train + n_valid])
    return {"train": train, "valid": valid, "test": test}


def _content_key(numbers: NDArray[np.uint8], positions: NDArray[np.float32], seed: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16, key=seed.to_bytes(8, "little", signed=True))
    digest.update(numbers.tobytes())
    digest.update(positions.astype("<f4").tobytes())
    return digest.digest()
