from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.data import Dataset, load_dataset
from gaga.evaluation import DataReference, evaluate, reference_of, shipped_reference
from gaga.evaluation.reference import picked, row_split
from gaga.storage.partial import PartialFile
from gaga.storage.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def drugs():
    return load_dataset(EXAMPLES / "mosesaq_xtb_1000.sdf.gz").subset(0.2)


@pytest.fixture(scope="module")
def reference(drugs):
    return reference_of(drugs, "strict", workers=1)


def test_row_is_that_of_the_test_split(drugs, reference):
    row = reference.row
    test = drugs.splits["test"]
    assert (row.n_molecules, row.n_train, row.n_train_in_all) == (len(test), *2 * (len(drugs.splits["train"]),))
    assert row.description == "mosesaq_xtb_1000, test split"
    assert row.rates.valid.value == 1.0
    judged = evaluate(drugs.molecules.take(test), protocol="strict", reference=reference)
    assert judged.rates == row.rates
    assert (judged.bond_lengths.mean, judged.sizes) == (row.bond_lengths, row.sizes)
    assert judged.real_data == row
    assert judged.reference == "mosesaq_xtb_1000"


def test_training_molecules_are_known_and_others_novel(drugs, reference):
    for split, share in (("train", 0.0), ("test", 1.0)):
        found = evaluate(drugs.molecules.take(drugs.splits[split][:20]), protocol="strict", reference=reference)
        assert found.rates.novel.value == pytest.approx(share, abs=0.11)


def test_a_large_data_set_is_drawn_from_and_says_so(drugs, tmp_path):
    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        found = reference_of(drugs, "edm", train=50, test=7, pieces=journal)
        assert len(journal) == 2
    assert (found.row.n_train, found.row.n_molecules) == (50, 7)
    n_test = len(drugs.splits["test"])
    assert found.row.description == f"mosesaq_xtb_1000, 7 of the {n_test} molecules of the test split"
    assert found.reference.sizes.sum() == 50


def test_the_shipped_reference_is_made_so():
    qm9 = load_dataset("qm9")
    part = np.sort(qm9.splits["train"])
    members, n = picked(qm9, "train", len(qm9))
    np.testing.assert_array_equal(members, part)
    assert n == shipped_reference("qm9", "edm").row.n_train
    sizes = shipped_reference("qm9", "edm").reference.sizes
    np.testing.assert_array_equal(np.bincount(qm9.n_atoms[members], minlength=30), sizes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Grouped(Dataset):
    """A data set of conformers."""

    groups: np.ndarray


def test_of_several_conformers_the_first_is_looked_at(drugs):
    groups = np.arange(len(drugs)) // 3
    splits = {"train": np.arange(30), "valid": np.arange(30, 30), "test": np.arange(30, 36)}
    grouped = Grouped(
        name="g", molecules=drugs.molecules, ids=drugs.ids, splits=splits, vocabulary=drugs.vocabulary, groups=groups
    )
    assert picked(grouped, "train", 100)[0].tolist() == list(range(0, 30, 3))
    members, in_all = picked(grouped, "train", 4)
    assert (len(members), in_all) == (4, 10)
    assert set(members) <= set(range(0, 30, 3))


def test_the_row_is_of_the_next_split_that_has_molecules(drugs):
    nobody = np.zeros(0, np.int64)
    assert row_split(replace(drugs, splits={**drugs.splits, "test": nobody})) == "valid"
    assert row_split(replace(drugs, splits={"train": np.arange(5), "valid": nobody, "test": nobody})) == "train"
    with pytest.raises(InvalidInput, match="without training molecules"):
        reference_of(replace(drugs, splits={"train": nobody, "valid": nobody, "test": np.arange(5)}), "edm")


def test_another_protocol_is_refused(drugs, reference):
    with pytest.raises(InvalidInput, match="another protocol"):
        evaluate(drugs.molecules.take([0]), protocol="edm", reference=reference)


def test_store_gives_back_what_it_took(reference, tmp_path):
    store = Store(tmp_path / "results.h5", shipped=False)
    store.put("reference", "drugs", reference, config={})
    back = store.get("reference", "drugs", DataReference)
    assert back.row == reference.row
    np.testing.assert_array_equal(back.reference.hashes, reference.reference.hashes)
    np.testing.assert_array_equal(back.reference.angles.values, reference.reference.angles.values)
