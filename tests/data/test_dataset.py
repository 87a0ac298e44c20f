"""Data sets: histograms, subsets that keep their annotations, a fingerprint of what was trained on."""

import dataclasses
import pickle

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.data.dataset import Annotations, Dataset, already_read, vocabulary_of


def make_dataset(n_molecules: int = 40, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, n_molecules)
    molecules = pack((rng.choice([1, 6, 8], size=n), rng.normal(size=(n, 3))) for n in sizes)
    order = rng.permutation(n_molecules)
    return Dataset(
        name="toy",
        molecules=molecules,
        ids=np.arange(100, 100 + n_molecules),
        splits={"train": order[:30], "valid": order[30:35], "test": order[35:]},
        vocabulary=(1, 6, 8),
        skipped={"no atoms": 2},
        read_annotations=already_read(
            Annotations(
                smiles=np.array([f"C{i}" for i in range(n_molecules)]),
                properties={"gap": np.arange(n_molecules, dtype=np.float64)},
                units={"gap": "Ha"},
            )
        ),
    )


@pytest.fixture
def dataset() -> Dataset:
    return make_dataset()


def test_histogram_counts_a_split_and_reaches_the_largest_of_all(dataset):
    counts = dataset.sizes_histogram("test")
    assert len(counts) == dataset.n_atoms.max() + 1
    assert counts.sum() == 5
    for i in dataset.splits["test"]:
        counts[dataset.n_atoms[i]] -= 1
    assert not counts.any()


def test_a_split_as_subset_holds_the_same_molecules_with_their_annotations(dataset):
    part = dataset.subset("valid")
    assert sorted(part.ids) == sorted(dataset.ids[dataset.splits["valid"]])
    assert np.array_equal(part.ids[part.splits["valid"]], dataset.ids[dataset.splits["valid"]])
    assert len(part.splits["train"]) == len(part.splits["test"]) == 0
    for k, identity in enumerate(part.ids):
        original = int(identity) - 100
        assert part.smiles[k] == f"C{original}"
        assert part.properties["gap"][k] == original
        assert np.array_equal(part.molecules[k][1], dataset.molecules[original][1])


def test_fractions_are_nested_and_no_split_becomes_empty(dataset):
    small, large = dataset.subset(0.1, seed=3), dataset.subset(0.5, seed=3)
    assert set(small.ids) < set(large.ids)
    assert [len(large.splits[s]) for s in ("train", "valid", "test")] == [15, 3, 3]
    assert [len(small.splits[s]) for s in ("train", "valid", "test")] == [3, 1, 1]
    assert set(small.ids[small.splits["valid"]]) <= set(dataset.ids[dataset.splits["valid"]])
    assert set(dataset.subset(0.1, seed=4).ids) != set(small.ids)
    assert dataset.subset(1.0).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("part", ["training", 0.0, 1.5, float("nan")])
def test_an_unknown_part_is_refused(dataset, part):
    with pytest.raises(InvalidInput):
        dataset.subset(part)


def test_the_fingerprint_follows_everything_that_training_sees(dataset):
    assert dataset.fingerprint == make_dataset().fingerprint
    splits = {**dataset.splits, "train": dataset.splits["train"][::-1]}
    moved = dataclasses.replace(dataset.molecules, positions=dataset.positions + np.float32(1e-6))
    assert dataclasses.replace(dataset, splits=splits).fingerprint != dataset.fingerprint
    assert dataclasses.replace(dataset, molecules=moved).fingerprint != dataset.fingerprint
    assert dataclasses.replace(dataset, name="other").fingerprint == dataset.fingerprint


def test_a_dataset_travels_to_another_process(dataset):
    part = pickle.loads(pickle.dumps(dataset.subset("test")))
    assert list(part.smiles) == list(dataset.subset("test").smiles)


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.arange(3)},
        {"splits": {"train": np.arange(3)}},
        {"splits": {"train": np.arange(40), "valid": np.arange(1), "test": np.arange(0)}},
    ],
)
def test_members_that_do_not_fit_are_refused(dataset, change):
    with pytest.raises(InvalidInput):
        dataclasses.replace(dataset, **change)


def test_vocabulary_is_ascending():
    assert vocabulary_of(np.array([8, 1, 6, 1], dtype=np.uint8)) == (1, 6, 8)
