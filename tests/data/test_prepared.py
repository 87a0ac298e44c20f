"""Prepared files: what goes in comes out, and what is damaged is refused in one line."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from gaga.core.errors import InvalidInput, NotFound
from gaga.core.molecules import pack
from gaga.data import load_dataset, prepare
from gaga.data.dataset import Annotations, Dataset, already_read
from gaga.data.prepared import read_prepared, write_prepared


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    molecules = pack(([6, 8, 1], rng.normal(size=(3, 3))) for _ in range(12))
    return Dataset(
        name="mine",
        molecules=molecules,
        ids=np.arange(12) * 7,
        splits={"train": np.arange(10)[::-1].copy(), "valid": np.array([10]), "test": np.array([11])},
        vocabulary=(1, 6, 8),
        skipped={"no 3D coordinates": 3},
        origin="mine.sdf",
        read_annotations=already_read(
            Annotations(
                smiles=np.array(["C=O"] * 11 + ["Å"]),
                properties={"z/y": np.linspace(0, 1, 12), "gap": np.full(12, np.nan)},
                units={"gap": "Ha"},
            )
        ),
    )


def test_round_trip(dataset, tmp_path):
    path = tmp_path / "mine.h5"
    write_prepared(dataset, path)
    back = read_prepared(path)
    assert back.fingerprint == dataset.fingerprint
    assert (back.name, back.origin, back.vocabulary) == ("mine", "mine.sdf", (1, 6, 8))
    assert dict(back.skipped) == {"no 3D coordinates": 3}
    assert np.array_equal(back.ids, dataset.ids)
    assert list(back.smiles) == list(dataset.smiles)
    assert list(back.properties) == ["z/y", "gap"]
    assert np.array_equal(back.properties["z/y"], dataset.properties["z/y"])
    assert back.annotations.units["gap"] == "Ha"


def test_lean_keeps_geometry_and_split_alone(dataset, tmp_path):
    path = tmp_path / "lean.h5"
    write_prepared(dataset, path, lean=True)
    back = read_prepared(path)
    assert back.fingerprint == dataset.fingerprint
    assert back.smiles is None
    assert not back.properties


def test_lean_qm9_is_under_30_megabytes_and_opens_without_rdkit(tmp_path):
    path = prepare("qm9", out=tmp_path / "lean.h5", lean=True)
    assert path.stat().st_size < 30e6
    code = (
        "import sys; sys.modules.update(rdkit=None, pooch=None, torch=None, scipy=None);"
        f"from gaga.data import load_dataset; print(load_dataset({str(path)!r}).fingerprint)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == load_dataset("qm9").fingerprint


def test_changed_molecules_are_noticed(dataset, tmp_path):
    path = tmp_path / "mine.h5"
    write_prepared(dataset, path)
    with h5py.File(path, "r+") as file:
        file["positions"][0, 0] += 1.0
    with pytest.raises(InvalidInput, match="fingerprint"):
        read_prepared(path)


def test_a_file_cut_short_is_refused_in_one_line(dataset, tmp_path):
    path = tmp_path / "mine.h5"
    write_prepared(dataset, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidInput) as error:
        read_prepared(path)
    assert "\n" not in error.value.line


@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    path = tmp_path / "bad.h5"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"bad\.h5"):
        read_prepared(path)


def test_another_hdf5_file_is_refused(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["positions"] = np.zeros((2, 3))
    with pytest.raises(InvalidInput, match="no prepared data set"):
        read_prepared(path)


def test_a_newer_version_is_refused(dataset, tmp_path):
    path = tmp_path / "mine.h5"
    write_prepared(dataset, path)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(InvalidInput, match="newer"):
        read_prepared(path)


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        read_prepared(tmp_path / "none.h5")
    with pytest.raises(NotFound):
        write_prepared(load_dataset("qm9"), tmp_path / "no_folder" / "x.h5")


def _nan(file):
    file["positions"][0, 0] = np.nan


def _far(file):
    file["positions"][0, 0] = 1e30


def _double(file):
    values = file["positions"][()].astype(np.float64)
    del file["positions"]
    file["positions"] = values


def _outside(file):
    file["splits/train"][0] = 99


def _twice(file):
    file["splits/train"][0] = file["splits/valid"][0]


def _element(file):
    file["atomic_numbers"][0] = 200


def _empty_molecule(file):
    file["offsets"][1] = 0


LIES = {
    "nan": _nan, "far": _far, "double": _double, "outside": _outside, "twice": _twice, "element": _element,
    "empty molecule": _empty_molecule,
    "skipped": lambda file: file.attrs.update(skipped="[1]"),
    "skipped that is no JSON": lambda file: file.attrs.update(skipped="{"),
    "version": lambda file: file.attrs.update(version="new"),
    "vocabulary": lambda file: file.attrs.update(vocabulary=np.array([1, 6])),
    "vocabulary of text": lambda file: file.attrs.update(vocabulary="H C"),
    "name": lambda file: file.attrs.__delitem__("name"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_forged_file_whose_fingerprint_agrees_is_refused(lie, dataset, tmp_path, monkeypatch):
    path = tmp_path / "mine.h5"
    write_prepared(dataset, path)
    with h5py.File(path, "r+") as file:
        LIES[lie](file)
        file.attrs["fingerprint"] = "agrees"
    monkeypatch.setattr(Dataset, "fingerprint", "agrees")
    with pytest.raises(InvalidInput, match="cannot be read as a prepared"):
        read_prepared(path)


@pytest.mark.parametrize("name", ["smiles", "properties/gap"])
def test_annotations_of_another_length_are_refused(name, dataset, tmp_path):
    path = tmp_path / "mine.h5"
    write_prepared(dataset, path)
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        values = file[name][:3]
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)
    with pytest.raises(InvalidInput, match="each molecule"):
        _ = read_prepared(path).annotations
