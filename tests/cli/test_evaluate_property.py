"""`gaga evaluate --property`: errors beside the data's rows, found again, in the table of molecules; one line for bad
input."""

import csv
from pathlib import Path

import pytest

SMALL = ("--hidden", "4", "--layers", "1", "--steps", "3", "--threads", "1")


@pytest.fixture
def stretched(xyz: Path) -> Path:
    """A data set, and next to it a file of some of its molecules with what was asked of them."""
    xyz.write_text(xyz.read_text().replace("molecule ", "stretch="))
    lines = xyz.read_text().splitlines()[:60]  # ten molecules
    xyz.with_name("drawn.xyz").write_text("\n".join(lines).replace("stretch=", "target_stretch=") + "\n")
    return xyz


@pytest.fixture
def judge(gaga, stretched) -> str:
    return gaga("train-property", "stretch", "--dataset", stretched, *SMALL, "--json").json["checkpoint"]


def test_errors_stand_beside_those_of_guesses(gaga, stretched, judge):
    words = ("evaluate", "drawn.xyz", "--dataset", stretched, "--property", "stretch", "--predictor", judge)
    found = gaga(*words, "--threads", 1, "--csv", "m.csv", "--json").json["property"]
    assert [row["row"] for row in found["rows"]] == ["all", "valid", "random", "#atoms", "data"]
    assert found["rows"][0]["molecules"] == 10
    assert all(row["low"] <= row["mae"] <= row["high"] for row in found["rows"])
    rows = list(csv.DictReader(Path("m.csv").read_text().splitlines()))
    assert [float(row["target_stretch"]) for row in rows] == list(range(10))
    errors = [abs(float(row["target_stretch"]) - float(row["predicted_stretch"])) for row in rows]
    assert sum(errors) / 10 == pytest.approx(found["rows"][0]["mae"])
    again = gaga(*words, "--threads", 1)
    assert "Mean absolute errors of stretch, predicted by a network trained on tiny" in again.out
    assert "Found property/drawn_edm_stretch_vs_tiny_by_" in again.out
    assert gaga("store", "export", found["stored"]["name"], "--out", "p.json").code == 0


def test_rows_of_the_data_need_no_predictor(gaga, stretched):
    words = ("evaluate", "drawn.xyz", "--dataset", stretched, "--property", "stretch", "--threads", 1)
    found = gaga(*words, "--csv", "m.csv", "--json").json["property"]
    assert [row["row"] for row in found["rows"]] == ["random", "#atoms"]
    assert "target_stretch" not in Path("m.csv").read_text()


def test_without_a_data_set_of_the_predictor_its_errors_stand_alone(gaga, stretched, judge):
    words = ("evaluate", "drawn.xyz", "--predictor", judge, "--threads", 1, "--json")
    found = gaga(*words, "--dataset", "none").json["property"]
    assert [row["row"] for row in found["rows"]] == ["all", "valid"]
    other = stretched.with_name("other.xyz")
    other.write_text(stretched.read_text().replace("stretch=1\n", "stretch=2\n"))
    other.write_text("\n".join(other.read_text().splitlines()[12:]) + "\n")
    ran = gaga(*words, "--dataset", other)
    assert "other has no rows of stretch: the predictor was trained on tiny." in ran.err
    assert len(ran.json["property"]["rows"]) == 2


def test_bad_input_is_one_line(gaga, stretched, judge):
    def refused(*words: object) -> str:
        ran = gaga("evaluate", "drawn.xyz", "--threads", 1, *words)
        assert (ran.code, ran.out) == (1, "")
        return ran.err

    assert f"{judge} predicts stretch, not alpha" in refused("--property", "alpha", "--predictor", judge)
    assert "no predictor there (received nix)" in refused("--predictor", "nix")
    assert "tiny has no such property (received alpha)" in refused("--dataset", stretched, "--property", "alpha")
    assert "Name a --predictor, or a --dataset" in refused("--dataset", "none", "--property", "stretch")
    Path("drawn.xyz").write_text("1\ntarget_stretch=1\nSi 0 0 0\n")
    assert "does not know an element of these molecules (received Si)" in refused("--predictor", judge)
    Path("drawn.xyz").write_text("1\n\nC 0 0 0\n")
    assert "does not say what stretch was asked of its molecules" in refused("--predictor", judge)


def test_python_gives_the_same(gaga, stretched, judge):
    import gaga as package

    found = package.evaluate("drawn.xyz", reference=str(stretched), property="stretch", predictor=judge, workers=1)
    assert found.property.rows[0].n == 10
    assert [row.name for row in found.property.rows] == ["all", "valid", "random", "#atoms", "data"]
