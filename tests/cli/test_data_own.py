"""gaga data prepare of the user's own molecules: SMILES, filters, and work that goes on."""

import pytest

from gaga.data import geometries, load_dataset

CSV = "id,smiles,logP\na,CCO,1.5\nb,c1ccccc1,2.0\nc,CC(=O)[O-].[Na+],\nd,xx,1\ne,OCC,3\nf,OB(O)C,1\n"


@pytest.fixture
def table(tmp_path):
    """A small CSV file of SMILES."""
    (tmp_path / "mine.csv").write_text(CSV)
    return tmp_path / "mine.csv"


def test_smiles_without_embedding_say_what_to_type(gaga, table):
    for words in (("data", "info", "mine.csv"), ("data", "prepare", "mine.csv", "--out", "mine.h5"),
                  ("variance", "--dataset", "mine.csv")):  # fmt: skip
        ran = gaga(*words)
        assert (ran.code, ran.out) == (1, "")
        assert "gaga data prepare mine.csv --embed --out mine.h5" in ran.err


def test_smiles_become_a_data_set(gaga, table, tmp_path):
    words = ("data", "prepare", "mine.csv", "--embed", "--largest-fragment", "--neutral", "--no-duplicates")
    ran = gaga(*words, "--out", "mine.h5", "--threads", "1")
    assert ran.code == 0, ran.err
    rows = {" ".join(line.split()) for line in ran.out.splitlines()}
    assert {"read 6", "left out: duplicate 1", "left out: not neutral 1", "left out: cannot parse SMILES 1", "kept 3",
            "embedded with MMFF94 2", "embedded with UFF 1"} <= rows  # fmt: skip
    data = load_dataset(tmp_path / "mine.h5")
    assert data.smiles.tolist() == ["CCO", "c1ccccc1", "OB(O)C"]
    assert data.properties["logP"].tolist() == [1.5, 2, 1]
    told = gaga("data", "info", "mine.h5", "--json").json
    assert told["preparation"]["asked"] == {
        "largest_fragment": "yes", "neutral": "yes", "no_duplicates": "yes", "embed": "yes", "seed": "0",
        "time_limit": "60.0",
    }  # fmt: skip
    assert told["preparation"]["force_fields"] == {"MMFF94": 2, "UFF": 1}
    assert (told["preparation"]["read"], told["preparation"]["kept"]) == (6, 3)
    assert "--no-duplicates" in gaga("data", "info", "mine.h5").out
    assert gaga("variance", "--dataset", "mine.h5").code == 0
    again = gaga(*words, "--out", "again.h5", "--threads", "2", "--json").json
    assert again["fingerprint"] == data.fingerprint
    assert sorted(path.name for path in tmp_path.glob(".*.unfinished*")) == []


def test_filters_of_a_file_with_geometry(gaga, xyz):
    ran = gaga("data", "prepare", "tiny.xyz", "--elements", "H,O", "--max-atoms", "3", "--out", "mine.h5", "--json")
    assert (ran.json["molecules"], ran.json["skipped"]) == (
        30,
        [{"reason": "elements other than H, O", "molecules": 30}],
    )
    ran = gaga("data", "prepare", "tiny.xyz", "--max-atoms", "2", "--out", "none.h5")
    assert ran.code == 1
    assert "60 x more than 2 atoms" in ran.err


def test_an_interrupted_embedding_goes_on(gaga, table, tmp_path, monkeypatch):
    table.write_text("smiles\n" + "".join(f"{'C' * (i % 6 + 1)}O\n" for i in range(40)))
    words = ("data", "prepare", "mine.csv", "--embed", "--threads", "1", "--out", "mine.h5")
    real, calls = geometries.make_all, []

    def interrupted(making, candidates):
        calls.append(len(candidates))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(making, candidates)

    monkeypatch.setattr(geometries, "make_all", interrupted)
    stopped = gaga(*words)
    assert stopped.code == 130
    assert "--resume continues" in stopped.err
    assert not (tmp_path / "mine.h5").exists()
    assert "--resume" in gaga(*words).err  # neither started over nor gone on with unasked
    other = gaga(*words, "--seed", "1", "--resume")
    assert (other.code, "another seed" in other.err) == (1, True)
    calls.extend([0, 0])
    resumed = gaga(*words, "--resume")
    assert resumed.code == 0
    assert "Resuming mine.h5" in resumed.err
    assert calls[-2:] == [16, 8]
    assert not list(tmp_path.glob(".mine*"))
    words = (*words[:-1], "other.h5")
    assert gaga(*words).code == 0
    assert load_dataset(tmp_path / "mine.h5").fingerprint == load_dataset(tmp_path / "other.h5").fingerprint


def test_geometries_outlive_a_vocabulary_that_they_do_not_fit(gaga, table, tmp_path, monkeypatch):
    words = ("data", "prepare", "mine.csv", "--embed", "--threads", "1", "--out", "mine.h5")
    table.write_text("smiles\nCCO\nC[SeH]\n")
    refused = gaga(*words, "--vocabulary", "geom")
    assert (refused.code, "received Se" in refused.err) == (1, True)
    monkeypatch.setattr(geometries, "make_all", lambda making, candidates: pytest.fail("it is made again"))
    assert gaga(*words, "--resume").code == 0
    assert load_dataset(tmp_path / "mine.h5").vocabulary == (1, 6, 8, 34)
    assert not list(tmp_path.glob(".mine*"))


def test_nothing_is_asked_of_a_data_set_in_the_cache(gaga, tmp_path):
    ran = gaga("data", "prepare", "qm9", "--max-atoms", "5")
    assert (ran.code, ran.out) == (1, "")
    assert "nothing can be filtered" in ran.err


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("mine.csv", "--embed", "--smiles-column", "x"), 1, "no column x"),
        (("mine.csv", "--embed", "--elements", "H,Xx"), 2, "--elements"),
        (("mine.csv", "--embed", "--optimise", "orca"), 2, "xtb"),
        (("mine.csv", "--embed", "--min-atoms", "9", "--max-atoms", "3"), 2, "no number of atoms is in this range"),
        (("mine.csv", "--embed", "--time-limit", "0"), 2, "--time-limit"),
        (("mine.csv", "--resume"), 2, "--resume"),
        (("mine.csv", "--embed", "--elements", "U"), 1, "no usable molecule"),
        (("qm9", "--embed"), 1, "prepared as it is"),
        (("qm9", "--max-atoms", "5"), 1, "--max-atoms"),
        (("tiny.xyz", "--embed"), 1, "Leave --embed out"),
        (("tiny.xyz", "--smiles-column", "x"), 1, "--smiles-column"),
        (("mine.smi", "--embed", "--smiles-column", "x"), 1, "--smiles-column"),
        (("mine.csv", "--embed", "--from", "other.csv"), 2, "--from"),
        (("none.csv", "--embed"), 1, "no such file"),
        (("mine.csv", "--embed", "--optimise", "xtb"), 1, "xtb is not installed"),
    ],
)
def test_what_cannot_be_asked_of_own_molecules_is_a_line(gaga, table, monkeypatch, tmp_path, words, code, line):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "tiny.xyz").write_text("2\n\nO 0 0 0\nH 0 0 1\n")
    (tmp_path / "mine.smi").write_text("CCO\n")
    ran = gaga("data", "prepare", *words, "--out", "x.h5", "--threads", "1")
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err
    assert not list(tmp_path.glob(".x*"))
    assert not (tmp_path / "x.h5").exists()
