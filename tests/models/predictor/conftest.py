"""Molecules with a property that distances decide: their sum over all pairs."""

import numpy as np
import pytest

from gaga.core.molecules import PackedMolecules, pack
from gaga.data.dataset import Annotations, Dataset


def molecules(n: int, seed: int = 0) -> PackedMolecules:
    rng = np.random.default_rng(seed)
    return pack(
        (rng.choice([1, 6, 8], size), rng.normal(size=(size, 3)).astype(np.float32) * 1.5)
        for size in rng.choice([1, 3, 5], n).tolist()  # few sizes: each is a group of its own, which takes time
    )


def sum_of_distances(packed: PackedMolecules) -> np.ndarray:
    """The sum of distances between all pairs, in Å."""
    pieces = np.split(packed.positions.astype(np.float64), packed.offsets[1:-1])
    return np.array([np.linalg.norm(x[:, None] - x[None], axis=2).sum() / 2 for x in pieces])


def toy_dataset(n: int = 300, name: str = "toy", **more: np.ndarray) -> Dataset:
    packed = molecules(n)
    annotations = Annotations(properties={"pairs": sum_of_distances(packed), **more}, units={"pairs": "Å"})
    order = np.random.default_rng(1).permutation(n)
    splits = {"train": order[: n * 2 // 3], "valid": order[n * 2 // 3 : n * 5 // 6], "test": order[n * 5 // 6 :]}
    return Dataset(
        name=name, molecules=packed, ids=np.arange(n), splits=splits, vocabulary=(1, 6, 8),
        read_annotations=lambda: annotations,
    )  # fmt: skip


@pytest.fixture
def toy() -> Dataset:
    return toy_dataset()
