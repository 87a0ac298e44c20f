"""The report on a user's molecules: there and back, and what is none."""

import json

import h5py
import pytest

from gaga.core.errors import InvalidInput
from gaga.data.own import read_own
from gaga.data.preparation import Preparation, from_json
from gaga.data.prepared import read_prepared, write_prepared

REPORT = Preparation(read=9, kept=3, asked={"embed": "yes"}, force_fields={"UFF": 3}, programs={"rdkit": "1"})


def test_there_and_back():
    assert from_json(REPORT.to_json()) == REPORT


@pytest.mark.parametrize(
    "change", [{"read": "x"}, {"kept": None}, {"asked": ["ab1"]}, {"force_fields": {"UFF": "x"}}, {}]
)
def test_what_is_no_report(change):
    text = json.dumps({**json.loads(REPORT.to_json()), **change}) if change else "[]"
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(text)


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"read": 1e999}', "[" * 100_000])
def test_a_prepared_file_with_another_report_is_refused(tmp_path, text):
    (tmp_path / "m.xyz").write_text("2\n\nC 0 0 0\nO 0 0 1.1\n")
    dataset = read_own(tmp_path / "m.xyz")
    write_prepared(dataset, tmp_path / "m.h5")
    assert read_prepared(tmp_path / "m.h5").preparation == dataset.preparation == Preparation(read=1, kept=1)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.create_dataset("long", data=0)
        file.attrs["preparation"] = text[:60_000]
    with pytest.raises(InvalidInput, match="cannot be read as a prepared data set"):
        read_prepared(tmp_path / "m.h5")
