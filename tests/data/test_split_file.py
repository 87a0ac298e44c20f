"""A split that the user brings, in JSON or CSV, by number or by SMILES."""

import json

import numpy as np
import pytest

from gaga.core.errors import InvalidInput, NotFound
from gaga.data.geom.split_file import read_split

SMILES = ["C", "CC", "O", "C", "N"]


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.json", {"train": [1, 4], "val": [2], "test": [0, 3]}),
        ("s.json", {"train": ["CC", "N"], "validation": ["O"], "test": ["C"]}),
        ("s.json", {"train": ["CC", 4], "valid": ["O", "unknown"], "test": ["C"]}),
        ("s.csv", "molecule,split\n1,train\n4,train\n2,VALID\n0,test\n3,test\n"),
        ("s.csv", "CC,train\nN,train\nO,valid\nC,test\n"),
        ("s.csv", "\ufeffCC,train\nN,train\nO,valid\nC,test\n"),
    ],
)
def test_numbers_and_smiles(name, content, tmp_path):
    members = read_split(written(tmp_path / name, content)).members(SMILES, 5)
    assert {split: some.tolist() for split, some in members.items()} == {"train": [1, 4], "valid": [2], "test": [0, 3]}
    assert all(some.dtype == np.int64 for some in members.values())


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("s.json", "{", "no split file"), ("s.json", "[1]", "no split file"),
        ("s.json", {"trian": []}, "no split 'trian'"),
        ("s.json", {"train": [1.5]}, "a number or a SMILES"),
        ("s.json", {"train": [True]}, "a number or a SMILES"),
        ("s.json", {"train": 3}, "no split file"),
        ("s.json", "[" * 100_000, "no split file"),
        ("s.csv", "C\n", "two columns"), ("s.csv", "C,train,x\n", "two columns"),
        ("s.csv", "C,who\n", "no split 'who'"),
    ],
)  # fmt: skip
def test_what_is_no_split_file_is_refused_in_a_line(name, content, match, tmp_path):
    with pytest.raises(InvalidInput, match=match) as error:
        read_split(written(tmp_path / name, content))
    assert "\n" not in error.value.line


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"train": [5]}, "not there"), ({"train": [-1]}, "not there"), ({"train": [1], "test": [1]}, "twice"),
        ({"train": ["C"], "test": [3]}, "twice"), ({"train": ["unknown"]}, "no molecule"), ({}, "no molecule"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_molecules_is_refused(content, match, tmp_path):
    with pytest.raises(InvalidInput, match=match):
        read_split(written(tmp_path / "s.json", content)).members(SMILES, 5)


def test_numbers_need_no_smiles_and_others_do(tmp_path):
    assert read_split(written(tmp_path / "s.json", {"train": [0]})).members(None, 1)["train"].tolist() == [0]
    with pytest.raises(InvalidInput, match="no molecule"):
        read_split(written(tmp_path / "s.json", {"train": ["C"]})).members(None, 1)
    with pytest.raises(NotFound):
        read_split(tmp_path / "none.json")
