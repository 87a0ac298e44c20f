"""gaga evaluate on small files."""

import os

import pytest


def test_rates_beside_the_real_data(gaga, xyz):
    payload = gaga("evaluate", xyz, "--threads", 1, "--json").json
    assert payload["molecules"] == 60
    assert payload["rates"]["molecule_stable"]["denominator"] == 60
    assert payload["rates"]["valid_and_unique"]["numerator"] == 2
    assert payload["real_data"]["rates"]["molecule_stable"]["value"] > 0.9
    shown = gaga("evaluate", xyz, "--threads", 1).out
    assert "qm9 itself" in shown
    assert "2 of 60 molecules" in shown
    assert "bond lengths, Å" in shown
    assert "Found evaluation/tiny_edm_vs_qm9_" in shown


def test_a_file_that_was_written_anew_is_another_result(gaga, xyz):
    first = gaga("evaluate", xyz, "--threads", 1, "--json").json
    xyz.write_text("".join(xyz.read_text().splitlines(keepends=True)[:7]))
    second = gaga("evaluate", xyz, "--threads", 1, "--json").json
    assert second["molecules"] == 1
    assert first["stored"]["name"] != second["stored"]["name"]
    refused = gaga("evaluate", xyz, "--name", first["stored"]["name"])
    assert refused.code == 1
    assert "--replace" in refused.err


@pytest.mark.parametrize("protocol", ["edm", "Strict"])
def test_protocols(gaga, xyz, protocol):
    payload = gaga("evaluate", xyz, "--protocol", protocol, "--threads", 1, "--json").json
    assert payload["protocol"] == protocol.lower()
    assert payload["rates"]["valid"]["value"] == 1.0


def test_without_a_reference_there_is_nothing_beside(gaga, xyz):
    shown = gaga("evaluate", xyz, "--reference", "none", "--threads", 1).out
    assert "real data itself" in shown
    assert "bond lengths" not in shown


def test_unreadable_records_are_counted_as_failures(gaga, xyz):
    xyz.write_text(xyz.read_text() + "1\nbroken\nH nowhere 0 0\n")
    ran = gaga("evaluate", xyz, "--threads", 1)
    assert ran.code == 0, ran.err
    assert "61 molecules" in ran.out
    assert "Not readable, counted as failures: 1 record." in ran.out


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("none.sdf",), 1, "no such file"),
        (("empty.sdf",), 1, "empty"),
        (("folder",), 1, "not a folder"),
        (("notes.txt",), 1, "unknown kind of molecule file"),
        (("tiny.xyz", "--protocol", "loose"), 2, "choose from edm, strict"),
        (("tiny.xyz", "--reference", "geom"), 1, "geom"),
        (("tiny.xyz", "--threads", "0"), 2, "'--threads'"),
        ((), 2, "FILE"),
    ],
)
def test_what_cannot_be_is_a_line(gaga, xyz, words, code, line):
    xyz.with_name("empty.sdf").touch()
    xyz.with_name("folder").mkdir()
    xyz.with_name("notes.txt").write_text("hello")
    ran = gaga("evaluate", *words)
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err


def test_a_pipe_is_not_waited_for(gaga, tmp_path):
    os.mkfifo(tmp_path / "m.sdf")
    for words in (["evaluate", "m.sdf"], ["data", "info", "m.sdf"], ["sample", "--checkpoint", "m.sdf"]):
        assert gaga(*words).code == 1
