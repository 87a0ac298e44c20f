"""gaga data, and what every command says of molecules that it skips."""

import io
import os
from pathlib import Path

import pytest

from gaga.chem.elements import GEOM_VOCABULARY
from gaga.core.molecules import pack
from gaga.data import load_dataset
from gaga.data.dataset import vocabulary_of
from tests.data import geom_fixtures as made

DUMMY = "1\nno element\nXx 0.0 0.0 0.0\n"


@pytest.fixture
def with_skipped(xyz):
    """The small file with a molecule that cannot be used."""
    xyz.write_text(xyz.read_text() + DUMMY)
    return xyz


def test_list_says_where_qm9_comes_from(gaga, tmp_path, monkeypatch):
    ran = gaga("data", "list", "--cache", tmp_path / "cache", "--json")
    assert [(d["name"], d["state"]) for d in ran.json["datasets"]] == [
        ("qm9", "installed, prepared at first use"),
        ("geom", "to be prepared from your copy: gaga data prepare geom --from PATH"),
    ]
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


def test_geom_in_the_cache_is_a_named_data_set(gaga, tmp_path):
    path = made.write_msgpack(tmp_path / "drugs_crude.msgpack", made.with_conformers(made.drugs(12), 4))
    ran = gaga("data", "prepare", "geom", "--from", path, "--conformers", "2", "--cache", "cache")
    assert ran.out.startswith("Prepared 24 conformers of 12 molecules (")
    assert "the conformers of a SMILES are one molecule." in ran.out
    info = gaga("data", "info", "GEOM", "--cache", "cache", "--verify", "--json").json
    assert (info["name"], info["molecules"], info["distinct_molecules"], info["has_smiles"]) == ("geom", 24, 12, True)
    assert "24 conformers of 12" in gaga("data", "info", "geom", "--cache", "cache").out
    named = gaga("variance", "--dataset", "geom", "--cache", "cache", "--json").json
    assert named["stored"]["config"]["vocabulary"] == list(GEOM_VOCABULARY)
    assert gaga("data", "prepare", "geom", "--from", path, "--cache", "cache").code == 1
    again = gaga("data", "prepare", "geom", "--from", path, "--cache", "cache", "--overwrite", "--json").json
    assert (again["molecules"], again["distinct_molecules"]) == (48, 12)
    assert again["rule"].startswith("Grouped as the file has them")
    assert gaga("data", "list", "--cache", "cache", "--json").json["datasets"][1]["state"] == "prepared"


def test_a_split_file_and_a_reading_that_was_interrupted(gaga, tmp_path, monkeypatch):
    path = made.write_npy(tmp_path / "drugs.npy", made.drugs(9))
    (tmp_path / "split.json").write_text('{"train": [0, 1, 2], "valid": [3], "test": [8]}')
    words = ("data", "prepare", "geom", "--from", path, "--out", "x.h5", "--split-file", "split.json")
    monkeypatch.setattr("gaga.data.geom.conformers._CONFORMERS", 4)
    monkeypatch.setattr("gaga.data.geom.conformers.pack", Interrupted(2))
    ran = gaga(*words)
    assert (ran.code, ran.out) == (130, "")
    assert "what was computed is kept, and the same command with --resume continues" in ran.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "--resume" in gaga(*words).err
    ran = gaga(*words, "--resume")
    assert "train 3, valid 1, test 1; in none of them 4." in ran.out
    data = load_dataset(tmp_path / "x.h5")
    assert {name: members.tolist() for name, members in data.splits.items()} == {
        "train": [0, 1, 2], "valid": [3], "test": [8],
    }  # fmt: skip


class Interrupted:
    """`pack`, until SIGINT arrives in its n-th call."""

    def __init__(self, n):
        self.left = n

    def __call__(self, pairs):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return pack(pairs)


def test_own_molecules_with_the_vocabulary_of_geom(gaga, with_skipped, tmp_path):
    assert gaga("data", "prepare", with_skipped, "--vocabulary", "geom", "--out", "mine.h5").code == 0
    assert load_dataset(tmp_path / "mine.h5").vocabulary == GEOM_VOCABULARY
    (tmp_path / "iron.xyz").write_text("2\n\nFe 0 0 0\nH 0 0 1\n")
    refused = gaga("data", "prepare", "iron.xyz", "--vocabulary", "geom", "--out", "iron.h5")
    assert refused.code == 1
    assert "received Fe" in refused.err
    assert gaga("data", "prepare", "mine.h5", "--out", "same.h5").code == 0
    assert load_dataset(tmp_path / "same.h5").vocabulary == GEOM_VOCABULARY
    assert gaga("data", "prepare", "mine.h5", "--vocabulary", "data", "--out", "fewer.h5").code == 0
    assert load_dataset(tmp_path / "fewer.h5").vocabulary == vocabulary_of(load_dataset(with_skipped).atomic_numbers)


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("prepare", "qm9", "--lean"), 2, "--out"),
        (("prepare", "qm9", "--split-seed", "3"), 2, "--out"),
        (("prepare", "tiny.xyz"), 1, "--out"),
        (("prepare", "tiny.xyz", "--vocabulary", "geom"), 2, "--out"),
        (("prepare", "tiny.xyz", "--out", "x.h5", "--vocabulary", "qm9"), 2, "--vocabulary"),
        (("prepare", "tiny.xyz", "--out", "x.h5", "--conformers", "3"), 2, "--from"),
        (("prepare", "geom", "--resume", "--cache", "c"), 2, "--from"),
        (("prepare", "geom", "--from", "tiny.xyz", "--lean", "--out", "x.h5"), 2, "--lean"),
        (("prepare", "geom", "--cache", "c"), 1, "geom --from PATH"),
        (("prepare", "geom", "--from", "none.npy", "--out", "x.h5"), 1, "no such file"),
        (("prepare", "geom", "--from", "tiny.xyz", "--out", "x.h5"), 1, "drugs_crude.msgpack"),
        (("prepare", "geom", "--from", "tiny.xyz", "--out", "x.h5", "--conformers", "0"), 2, "--conformers"),
        (("prepare", "geom", "--from", "tiny.xyz", "--out", "x.sdf"), 1, ".h5"),
        (("prepare", "geom", "--from", "tiny.xyz", "--max-atoms", "9"), 2, "--max-atoms"),
        (("prepare", "geom", "--from", "tiny.xyz", "--out", "no/x.h5"), 1, "folder"),
        (("info", "geom", "--cache", "c"), 1, "geom --from PATH"),
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


CASES = Path(__file__).parents[1] / "cases"


class Piped(io.TextIOWrapper):
    """Standard input that something is piped into."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BufferedReader(io.BytesIO(content)))


def test_standard_input(gaga, monkeypatch):
    content = (CASES / "ensemble.xyz").read_bytes()
    expected = gaga("data", "info", CASES / "ensemble.xyz", "--json").json
    monkeypatch.setattr("sys.stdin", Piped(content))
    found = gaga("data", "info", "-", "--format", "xyz", "--json").json
    assert (found["fingerprint"], found["origin"]) == (expected["fingerprint"], "stdin.xyz")
    monkeypatch.setattr("sys.stdin", Piped(content))
    assert gaga("data", "prepare", "-", "--format", "xyz", "--out", "piped.h5").code == 0
    assert gaga("data", "info", "piped.h5", "--json").json["fingerprint"] == expected["fingerprint"]


@pytest.mark.parametrize(
    ("words", "content", "code", "why"),
    [
        (["-"], b"x", 2, "needs --format; choose from sdf, sd, mol, xyz"),
        (["-", "--format", "pdb"], b"x", 2, "choose from sdf"),
        (["m.sdf", "--format", "sdf"], b"x", 2, "for standard input"),
        (["-", "--format", "xyz"], b"", 1, "standard input is empty"),
    ],
)
def test_standard_input_that_cannot_be_read(gaga, monkeypatch, words, content, code, why):
    monkeypatch.setattr("sys.stdin", Piped(content))
    ran = gaga("data", "info", *words)
    assert ran.code == code
    assert why in ran.err


def test_what_was_taken_for_what_and_its_overruling(gaga):
    file = CASES / "ensemble.xyz"
    ran = gaga("data", "info", file)
    assert "15 conformers of 3" in ran.out
    assert "15 records are conformers of 3 molecules" in ran.err
    assert "--one-molecule-per-record" in ran.err
    assert "15 records are conformers of 3" in gaga("data", "prepare", file, "--out", "e.h5").out
    ran = gaga("data", "info", file, "--one-molecule-per-record")
    assert "conformers" not in ran.out + ran.err
    payload = gaga("data", "prepare", file, "--out", "own.h5", "--one-molecule-per-record", "--json").json
    assert (payload["distinct_molecules"], payload["preparation"]["notes"]) == (15, [])
    assert gaga("data", "info", "qm9", "--one-molecule-per-record").code == 1


def test_the_lost_end_of_a_record_is_said(gaga):
    ran = gaga("data", "info", CASES / "lost_one_end.sdf")
    assert "SDF records without a $$$$ line at their end: 1." in ran.err


def test_names_of_files_that_are_not_utf8_or_begin_with_a_tilde(gaga):
    for name in ("~backup.xyz", os.fsdecode("s\u00e4ure.xyz".encode("latin-1"))):
        Path(name).write_bytes((CASES / "ensemble.xyz").read_bytes())
        prepare = ["data", "prepare", name, "--out", "p.h5", "--overwrite"]
        for words in (
            ["data", "info", name],
            ["data", "info", name, "--json"],
            prepare,
            ["variance", "--dataset", name],
        ):
            ran = gaga(*words)
            assert (ran.code, "bug" in ran.err) == (0, False), ran.err
    assert gaga("data", "info", "~none.xyz").err.startswith("gaga: no such file")
