import json
from dataclasses import asdict

import numpy as np
import pytest

from gaga.core.errors import NotFound
from gaga.data import load_dataset
from gaga.evaluation import PROTOCOLS, ReferenceRow, shipped_reference
from gaga.evaluation.reference import hash_smiles, save_reference
from gaga.evaluation.verdicts import judge
from gaga.storage.serialise import from_tree


@pytest.fixture(scope="module")
def qm9():
    return load_dataset("qm9")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_hashes_know_training_molecules_and_few_others(qm9, protocol):
    reference = shipped_reference("qm9", protocol).reference
    rng = np.random.default_rng(0)
    known = {}
    for split in ("train", "test"):
        sample = qm9.molecules.take(rng.choice(qm9.splits[split], 300, replace=False))
        smiles = [s for s in judge(sample, protocol, workers=1).verdicts.smiles if s]
        known[split] = reference.contains(smiles).mean()
    assert known["train"] == 1.0
    # QM9 has a few conformers and stereoisomers of one constitution, in both splits.
    assert known["test"] < 0.25


def test_hash_is_the_start_of_sha256():
    # printf '[H]O[H]' | sha256sum
    assert hash_smiles(["[H]O[H]"]).tolist() == [0xC10B3802E51384F9]
    assert hash_smiles([]).tolist() == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_hashes_ascend_and_are_as_many_as_distinct_valid_molecules(protocol):
    hashes = shipped_reference("qm9", protocol).reference.hashes
    assert np.all(hashes[1:] > hashes[:-1])
    assert 80_000 < len(hashes) <= 100_000


def test_sizes_are_those_of_the_training_split(qm9):
    np.testing.assert_array_equal(shipped_reference("qm9", "edm").reference.sizes, qm9.sizes_histogram("train"))


def test_quantiles_are_chemistry():
    reference = shipped_reference("qm9", "edm").reference
    assert np.all(np.diff(reference.lengths.values, axis=1) >= 0)
    assert reference.lengths.values.min() > 0.9
    assert reference.lengths.values.max() < 1.65
    assert 0.95 < reference.lengths.shares.sum() <= 1.0
    assert 0.9 < reference.angles.shares.sum() <= 1.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_row_belongs_to_this_split(qm9, protocol):
    row = shipped_reference("qm9", protocol).row
    assert row.split == qm9.fingerprint
    assert row.n_molecules == row.rates.valid.denominator == len(qm9.splits["test"])


def test_row_of_real_data_is_the_published_one():
    rates = shipped_reference("qm9", "edm").row.rates
    assert 0.990 <= rates.atom_stable.value <= 0.994
    assert 0.948 <= rates.molecule_stable.value <= 0.955
    assert rates.valid.value == pytest.approx(0.976, abs=0.003)


def test_row_survives_json():
    row = shipped_reference("qm9", "strict").row
    assert from_tree(json.loads(json.dumps(asdict(row))), ReferenceRow) == row


def test_reference_survives_its_file(tmp_path):
    reference = shipped_reference("qm9", "edm").reference
    save_reference(str(tmp_path / "reference.npz"), reference)
    with np.load(tmp_path / "reference.npz") as file:
        np.testing.assert_array_equal(np.cumsum(file["hash_steps"], dtype=np.uint64), reference.hashes)


def test_unknown_reference():
    with pytest.raises(NotFound, match="no reference of that name"):
        shipped_reference("zinc", "edm")
