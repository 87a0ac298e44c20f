"""gaga store: what is there, what it holds, out and away."""

import csv
import json

import numpy as np
import pytest


@pytest.fixture
def filled(gaga, xyz):
    """A store with one result."""
    assert gaga("variance", "--dataset", xyz, "--name", "Mine").code == 0
    return gaga


def test_an_empty_store_says_how_to_fill_it(gaga, monkeypatch, tmp_path):
    monkeypatch.setattr("gaga.storage.store.SHIPPED_STORE", tmp_path / "none.h5")
    assert "gaga variance --dataset qm9 makes the first" in gaga("store", "list").out
    assert gaga("store", "list", "--json").json["results"] == []


def test_list_and_show(filled):
    assert "Mine" in filled("store", "list", "--kind", "variance").out
    assert "Mine" not in filled("store", "list", "--kind", "tstar").out
    shown = filled("store", "show", "MINE").out
    assert "variance/Mine" in shown
    assert "from tiny" in shown
    assert "variance_subspace.per_molecule" in shown
    values = {v["name"]: v for v in filled("store", "show", "variance/mine", "--json").json["values"]}
    assert values["n_molecules"]["value"] == 60
    assert values["variance_subspace.per_molecule"] == {
        "name": "variance_subspace.per_molecule",
        "shape": [60, 3],
        "value": None,
    }


def test_the_store_is_the_option_else_the_variable_else_here(filled, monkeypatch, tmp_path):
    monkeypatch.setenv("GAGA_STORE", str(tmp_path / "other.h5"))
    assert filled("store", "show", "mine").code == 1
    assert filled("store", "show", "mine", "--store", "gaga.h5").code == 0


def test_export_json(filled, tmp_path):
    assert filled("store", "export", "mine", "--out", "mine.json").code == 0
    content = json.loads((tmp_path / "mine.json").read_text())
    assert np.shape(content["values"]["variance_subspace.per_molecule"]) == (60, 3)
    assert content["config"]["dataset"] == "tiny"
    assert filled("store", "export", "mine", "--json").json == content


def test_export_csv(filled, tmp_path):
    assert filled("store", "export", "mine", "--out", "mine.csv").code == 0
    content = json.loads(filled("store", "export", "mine", "--format", "json").out)["values"]
    with (tmp_path / "mine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_name = {row["value"] for row in rows}
    assert by_name == set(content)
    (one,) = (r for r in rows if r["value"] == "variance_subspace.mean_by_size" and r["index"] == "1 2")
    assert float(one["number"]) == content["variance_subspace.mean_by_size"][1][2]


def test_export_of_one_field_is_a_table(filled):
    rows = list(
        csv.reader(filled("store", "export", "mine", "--field", "variance_biased.mean_by_size").out.splitlines())
    )
    assert rows[0] == ["index", *(f"variance_biased.mean_by_size.{i}" for i in range(3))]
    assert len(rows) == 3


def test_delete(filled):
    assert "Deleted variance/Mine" in filled("store", "delete", "variance/MINE").out
    assert filled("store", "delete", "mine").code == 1
    assert "Mine" not in filled("store", "list").out


def test_shipped_results_are_read_but_not_deleted(filled, monkeypatch, tmp_path):
    (tmp_path / "gaga.h5").rename(tmp_path / "shipped.h5")
    monkeypatch.setattr("gaga.storage.store.SHIPPED_STORE", tmp_path / "shipped.h5")
    assert filled("store", "show", "mine", "--json").json["shipped"] is True
    refused = filled("store", "delete", "mine")
    assert (refused.code, refused.out) == (1, "")
    assert "ships with gaga" in refused.err
    found = filled("variance", "--dataset", "tiny.xyz", "--name", "mine")
    assert "Found variance/Mine in the results that ship with gaga" in found.out
    assert not (tmp_path / "gaga.h5").exists()


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("show", "minee"), 1, "did you mean Mine?"),
        (("show", "tstar/mine"), 1, "no tstar result"),
        (("export", "mine", "--field", "nope"), 1, "no such value"),
        (("export", "mine", "--out", "mine.xlsx"), 1, ".csv or .json"),
        (("export", "mine", "--out", "tiny.xyz", "--format", "csv"), 1, "--overwrite"),
        (("export", "mine", "--json", "--format", "csv"), 2, "--out"),
        (("export", "mine", "--out", "no/x.csv"), 1, "folder"),
    ],
)
def test_what_cannot_be_is_a_line(filled, words, code, line):
    ran = filled("store", *words)
    assert (ran.code, ran.out) == (code, "")
    assert line.lower() in ran.err.lower()


def test_a_file_that_is_no_store_is_a_line(gaga, tmp_path):
    (tmp_path / "gaga.h5").write_text("not HDF5")
    ran = gaga("store", "list")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "not a gaga store" in ran.err
