"""Splits: EDM's by its published counts (see test_qm9), others by content."""

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.data.splits import content_split, edm_split


def molecules(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return pack((np.full(4, 6), rng.normal(size=(4, 3))) for _ in range(n))


def members(split: dict) -> np.ndarray:
    return np.sort(np.concatenate(list(split.values())))


def test_edm_split_is_a_partition_of_the_published_sizes():
    split = edm_split(130_831)
    assert [len(split[s]) for s in ("train", "valid", "test")] == [100_000, 17_748, 13_083]
    assert np.array_equal(members(split), np.arange(130_831))
    assert not np.array_equal(edm_split(130_831, seed=1)["train"], split["train"])


def test_edm_split_needs_that_many_molecules():
    with pytest.raises(InvalidInput):
        edm_split(1000)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 10, 1001])
def test_content_split_is_a_partition(n):
    split = content_split(molecules(n))
    assert np.array_equal(members(split), np.arange(n))
    if n >= 3:
        assert len(split["valid"]) == len(split["test"]) == max(1, round(0.1 * n))


def test_content_split_follows_the_molecules_not_their_order():
    data = molecules(200)
    order = np.random.default_rng(1).permutation(200)
    split, shuffled = content_split(data), content_split(data.take(order))
    for name in split:
        assert set(order[shuffled[name]]) == set(split[name])
    assert set(content_split(data, seed=5)["test"]) != set(split["test"])


def test_copies_of_a_molecule_stay_together():
    data = molecules(50)
    doubled = data.take(np.tile(np.arange(50), 4))
    split = content_split(doubled)
    torn = set(split["train"] % 50) & set(split["test"] % 50)
    assert len(torn) <= 1
