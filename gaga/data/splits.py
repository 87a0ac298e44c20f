"""Who is trained on: EDM's split of QM9, and a split by content for everybody else's molecules."""

import hashlib

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from gaga.base.errors import InvalidInput
from gaga.base.molecules import PackedMolecules

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


def content_split(molecules: PackedMolecules, seed: int = 0) -> dict[str, Int64[np.ndarray, " n"]]:
    """80 / 10 / 10 by rank of a keyed hash of each molecule.

    The split depends on the molecules and the seed, not on their order or their file, and the copies of a
    molecule stand side by side, so that hardly any is both trained and tested on. No split of three molecules
    or more is empty.
    """
    keys = [_content_key(numbers, positions, seed) for numbers, positions in molecules]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    n_held_out = max(round(VALID_FRACTION * len(keys)), 1 if len(keys) >= 3 else 0)
    return _cut(order, len(keys) - 2 * n_held_out, n_held_out)


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
