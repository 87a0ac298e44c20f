"""Names and paths: the cache is used, mended and done without; errors are one line."""

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import Conflict, InvalidInput, NotFound
from gaga.data import default_cache_dir, load_dataset, prepare, prepared_path
from gaga.data import loading as loading_module


@pytest.fixture(scope="module")
def fingerprint() -> str:
    return load_dataset("qm9").fingerprint


@pytest.fixture
def own(tmp_path) -> Path:
    file = tmp_path / "own.xyz"
    # No two alike in a row: those would be conformers of one molecule.
    frames = (f"3\n\n{'OS'[i % 2]} 0 0 0.{i}\nH 0 0.7 0.6\nH 0 -0.7 0.6\n" for i in range(10, 40))
    file.write_text("".join(frames))
    return file


def test_names_ignore_case_and_prepared_data_open_in_under_a_second(fingerprint):
    start = time.perf_counter()
    assert load_dataset("QM9").fingerprint == fingerprint
    assert time.perf_counter() - start < 1.0
    assert prepared_path("Qm9") == default_cache_dir() / "qm9.h5"


def test_a_corrupt_cache_is_prepared_again_with_the_reason_logged(tmp_path, fingerprint, monkeypatch, caplog):
    cached, whole, told = tmp_path / "qm9.h5", load_dataset("qm9"), []
    cached.write_bytes(b"no HDF5")

    def read(source, folder, progress):
        progress(len(whole), len(whole))
        return whole

    monkeypatch.setattr(loading_module, "read_qm9", read)
    with caplog.at_level(logging.WARNING, logger="gaga.data"):
        data = load_dataset("qm9", cache_dir=tmp_path, progress=lambda done, total, note="": told.append((done, total)))
    assert data.fingerprint == fingerprint
    assert "cannot be read as a prepared data set" in caplog.text
    assert told[-1] == (130_831, 130_831)
    assert loading_module.read_prepared(cached).fingerprint == fingerprint


def test_an_unwritable_cache_is_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    data = load_dataset("qm9")
    monkeypatch.setattr(loading_module, "read_qm9", lambda *_: data)
    with caplog.at_level(logging.WARNING, logger="gaga.data"):
        assert load_dataset("qm9", cache_dir=tmp_path / "file" / "cache") is data
    assert "not kept" in caplog.text


def test_another_split_seed_splits_anew():
    first, second = load_dataset("qm9", split_seed=0), load_dataset("qm9", split_seed=1)
    assert np.array_equal(first.splits["test"], load_dataset("qm9").splits["test"])
    assert len(second.splits["test"]) == 13_083
    assert not np.array_equal(first.splits["test"], second.splits["test"])


def test_own_molecules_prepared_keep_their_split(own, tmp_path):
    path = prepare(own, out=tmp_path / "own.h5", split_seed=3)
    data, prepared = load_dataset(own, split_seed=3), load_dataset(path)
    assert prepared.fingerprint == data.fingerprint
    assert load_dataset(path, split_seed=0).fingerprint != data.fingerprint


def test_prepare_refuses_to_overwrite_and_other_suffixes(own, tmp_path):
    out = tmp_path / "own.h5"
    prepare(own, out=out)
    with pytest.raises(Conflict):
        prepare(own, out=out)
    assert prepare(own, out=out, overwrite=True) == out
    with pytest.raises(InvalidInput, match=r"\.h5"):
        prepare("qm9", out=tmp_path / "qm9.npz")
    with pytest.raises(InvalidInput, match="`out=data"):
        prepare(own)
    assert prepare("qm9") == prepared_path("qm9")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("zinc", "unknown data set"), ("none.sdf", "no such file"), ("folder/none", "no such file")],
)
def test_what_is_not_there_is_not_found(wanted, message):
    with pytest.raises(NotFound, match=message) as error:
        load_dataset(wanted)
    assert wanted in error.value.line


def test_only_named_data_sets_have_a_place_in_the_cache():
    with pytest.raises(NotFound, match="unknown data set"):
        prepared_path("zinc")
