"""gaga data, and what every command says of molecules that it skips."""

import pytest

from gaga.data import load_dataset

DUMMY = "1\nno element\nXx 0.0 0.0 0.0\n"


@pytest.fixture
def with_skipped(xyz):
    """The small file with a molecule that cannot be used."""
    xyz.write_text(xyz.read_text() + DUMMY)
    return xyz


def test_list_says_where_qm9_comes_from(gaga, tmp_path, monkeypatch):
    ran = gaga("data", "list", "--cache", tmp_path / "cache", "--json")
    assert [(d["name"], d["state"]) for d in ran.json["datasets"]] == [("qm9", "installed, prepared at first use")]
    monkeypatch.setattr("gaga.data.qm9.installed_qm9pack", lambda: None)
    ran = gaga("data", "list", "--cache", tmp_path / "cache", "--json")
    assert ran.json["datasets"][0] == {"name": "qm9", "state": "downloaded at first use", "path": None, "size": None}
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "qm9.h5").write_bytes(b"12345")
    monkeypatch.setenv("GAGA_CACHE", str(tmp_path / "cache"))
    assert gaga("data", "list", "--json").json["datasets"][0]["size"] == 5
    assert "prepared" in gaga("data", "list").out


def test_info_counts_and_names_what_was_skipped(gaga, with_skipped):
    ran = gaga("data", "info", with_skipped)
    assert ran.code == 0
    assert "H 180, C 30, O 30" in " ".join(ran.out.split())
    assert ran.err.startswith("Skipped 1 molecule: 1 ")
    payload = gaga("data", "info", with_skipped, "--json").json
    assert (payload["molecules"], payload["skipped"][0]["molecules"]) == (60, 1)
    assert sum(payload["splits"].values()) == 60


def test_prepare_and_use(gaga, with_skipped, tmp_path):
    ran = gaga("data", "prepare", with_skipped, "--out", "mine.h5")
    assert ran.out.startswith("Prepared 60 molecules of tiny in mine.h5")
    assert "Skipped 1 molecule:" in ran.out
    prepared = load_dataset(tmp_path / "mine.h5")
    assert prepared.fingerprint == load_dataset(with_skipped).fingerprint
    assert gaga("variance", "--dataset", "mine.h5").code == 0
    refused = gaga("data", "prepare", with_skipped, "--out", "mine.h5")
    assert (refused.code, refused.out) == (1, "")
    assert "--overwrite" in refused.err
    assert gaga("data", "prepare", with_skipped, "--out", "mine.h5", "--overwrite", "--lean").code == 0


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("prepare", "qm9", "--lean"), 2, "--out"),
        (("prepare", "qm9", "--split-seed", "3"), 2, "--out"),
        (("prepare", "tiny.xyz"), 1, "--out"),
        (("prepare", "tiny.xyz", "--out", "x.zip"), 1, ".h5"),
        (("prepare", "tiny.xyz", "--out", "no/x.h5"), 1, "folder"),
        (("info", "none.sdf"), 1, "no such file"),
        (("info",), 2, "NAME|PATH"),
    ],
)
def test_what_cannot_be_is_a_line(gaga, xyz, words, code, line):
    ran = gaga("data", *words)
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err
