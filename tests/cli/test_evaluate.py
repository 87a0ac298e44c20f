"""gaga evaluate on small files."""

import os
from itertools import islice

import pytest

from gaga.chem.elements import symbol_of
from gaga.evaluation import Evaluation
from gaga.storage.serialise import from_tree, to_tree
from gaga.storage.store import Store


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
    assert "more than 9 heavy atoms" in shown
    assert "Mixture of classes" in shown
    assert "draws from all 130,831 molecules of qm9 would be 23.6 % novel" in shown
    assert payload["classes"]["classes"]["aromatic"]["numerator"] == 0
    assert payload["real_data"]["classes"]["classes"]["aromatic"]["value"] == pytest.approx(0.172, abs=0.002)
    assert payload["classes"]["distance"]["floor"] < payload["classes"]["distance"]["value"] <= 1
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
    assert "aromatic" in shown
    assert "more than" not in shown
    assert "torsions" not in shown  # water has none


def test_unreadable_records_are_counted_as_failures(gaga, xyz):
    xyz.write_text(xyz.read_text() + "1\nbroken\nH nowhere 0 0\n")
    ran = gaga("evaluate", xyz, "--threads", 1)
    assert ran.code == 0, ran.err
    assert "61 molecules" in ran.out
    assert "Skipped 1 record, counted as failures: 1 unreadable record." in ran.out


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("none.sdf",), 1, "no such file"),
        (("empty.sdf",), 1, "empty"),
        (("folder",), 1, "holds no molecule file"),
        (("-",), 2, "needs --format"),
        (("-", "--format", "pdf"), 2, "choose from sdf"),
        (("tiny.xyz", "--format", "xyz"), 2, "standard input"),
        (("tiny.xyz", "--csv", "tiny.xyz"), 1, "End its name in .csv"),
        (("tiny.xyz", "--csv", "there.csv"), 1, "--overwrite"),
        (("tiny.xyz", "--csv", "no/where.csv"), 1, "no such folder"),
        (("tiny.xyz", "--csv", "-", "--json"), 2, "give --csv a file"),
        (("notes.txt",), 1, "notes.txt holds no geometries"),
        (("tiny.xyz", "--protocol", "loose"), 2, "one of edm, strict"),
        (("tiny.xyz", "--reference", "geom"), 1, "geom"),
        (("tiny.xyz", "--threads", "0"), 2, "'--threads'"),
        ((), 2, "FILE"),
    ],
)
def test_what_cannot_be_is_a_line(gaga, xyz, words, code, line):
    xyz.with_name("empty.sdf").touch()
    xyz.with_name("folder").mkdir()
    xyz.with_name("notes.txt").write_text("hello")
    xyz.with_name("there.csv").write_text("kept")
    ran = gaga("evaluate", *words)
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err
    assert xyz.with_name("there.csv").read_text() == "kept"


def test_a_pipe_is_not_waited_for(gaga, tmp_path):
    os.mkfifo(tmp_path / "m.sdf")
    for words in (["evaluate", "m.sdf"], ["data", "info", "m.sdf"], ["sample", "--checkpoint", "m.sdf"]):
        ran = gaga(*words)
        assert ran.code == 1
        assert ran.err.count("\n") == 1


@pytest.fixture
def drugs(tmp_path, pytestconfig):
    """Thirty molecules of the examples as a file of the user's."""
    from gaga.chem.io import read_molecules

    lines = []
    for record in islice(read_molecules(pytestconfig.rootpath / "examples" / "mosesaq_xtb_1000.sdf.gz"), 30):
        lines += [str(len(record.atomic_numbers)), ""]
        lines += [
            f"{symbol_of(int(z))} {x:.6f} {y:.6f} {w:.6f}"
            for z, (x, y, w) in zip(record.atomic_numbers, record.positions, strict=True)
        ]
    (tmp_path / "mine.xyz").write_text("\n".join(lines) + "\n")
    return tmp_path / "mine.xyz"


def test_the_users_own_data_set_is_judged_once_and_shown_beside(gaga, xyz, drugs):
    words = ("evaluate", xyz, "--dataset", drugs.name, "--threads", 1)
    payload = gaga(*words, "--json").json
    assert payload["real_data"]["name"] == "mine"
    assert payload["real_data"]["rates"]["valid"]["denominator"] == 3
    assert payload["real_data"]["train"] == payload["real_data"]["train_in_all"] < 30
    assert payload["rates"]["novel"]["value"] == 1.0
    assert payload["stored"]["name"].startswith("tiny_edm_vs_mine_")
    kinds = [row["kind"] for row in gaga("store", "list", "--json").json["results"] if not row["shipped"]]
    assert sorted(kinds) == ["evaluation", "reference"]
    shown = gaga(*words).out
    assert "mine itself: mine, test split, " in shown
    assert "Found evaluation/" in shown
    small = gaga(*words, "--reference-size", 20, "--replace").out
    assert "of the training split, so that novel is an upper bound" in small
    itself = gaga("evaluate", drugs, "--dataset", drugs.name, "--threads", 1, "--json").json
    assert itself["rates"]["novel"]["value"] < 1.0


def test_the_data_sets_row_is_judged_anew_by_another_program(gaga, xyz, drugs, monkeypatch):
    words = ("evaluate", xyz, "--dataset", drugs, "--threads", 1)
    assert gaga(*words, "--json").code == 0
    monkeypatch.setattr("gaga.runs.evaluate.engine", lambda: "rdkit 1")
    assert gaga(*words, "--json", "--name", "b").code == 0
    row = next(e for e in gaga("store", "list", "--json").json["results"] if e["kind"] == "reference")
    assert gaga("store", "show", f"reference/{row['name']}", "--json").json["config"]["rdkit"] == "rdkit 1"


def test_failures_are_counted_by_reason(gaga, xyz):
    xyz.write_text(xyz.read_text() + "2\nalone\nC 0 0 0\nH 0 0 1.1\n" * 3)
    payload = gaga("evaluate", xyz, "--protocol", "strict", "--threads", 1, "--json").json
    assert payload["failures"] == [{"reason": "no bond orders fit", "molecules": 3}]
    shown = gaga("evaluate", xyz, "--protocol", "strict", "--threads", 1).out
    assert "no bond orders fit" in shown


def test_what_took_too_long_is_a_failure(gaga, tmp_path):
    chain = "".join(f"S {1.74 * i:.3f} {1.09 * (i % 2):.3f} 0\n" for i in range(4000))
    water = "3\n\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
    (tmp_path / "long.xyz").write_text(f"{water}4000\n\n{chain}")
    words = ("evaluate", "long.xyz", "--protocol", "strict", "--time-limit", 5, "--threads", 1, "--json")
    payload = gaga(*words).json
    assert payload["failures"] == [{"reason": "time", "molecules": 1}]
    assert (payload["rates"]["valid"]["numerator"], payload["rates"]["valid"]["denominator"]) == (1, 2)
    assert payload["stored"]["config"]["time_limit"] == 5.0


def test_what_is_not_installed_is_a_line_before_the_work(gaga, xyz, monkeypatch):
    monkeypatch.setattr("gaga.chem.poses.PACKAGE", "no_such_package")
    monkeypatch.setenv("PATH", "")
    for option, word in (("--posebusters", "posebusters"), ("--relax", "xtb")):
        ran = gaga("evaluate", xyz, option)
        assert (ran.code, ran.out) == (1, "")
        assert f"{word} is not installed" in ran.err
    assert not xyz.with_name("gaga.h5").exists()


def test_posebusters_and_relaxation_of_a_sample_beside_the_datas(gaga, xyz, drugs, xtb, posebusters):
    words = ("evaluate", xyz, "--dataset", drugs.name, "--posebusters", "--relax", "--sample-size", 3, "--threads", 1)
    ran = gaga(*words)
    assert ran.code == 0, ran.err
    assert "PoseBusters 9.9 on 3 of 60 molecules, drawn with seed 0" in ran.out
    assert "3 of 3 molecules drawn" in ran.out
    assert "GFN2-xTB relaxation of 3 of 60 molecules" in ran.out
    payload = gaga(*words, "--json").json
    assert payload["posebusters"]["stored"]["found"]
    assert payload["posebusters"]["drawn"] == 3
    assert payload["relaxation"]["relaxed"]["denominator"] == 3
    of_data = payload["relaxation"]["real_data"]["median_energy"]["estimate"]
    assert of_data == pytest.approx(0.0375 * 627.5, rel=0.2)  # of the stand-in: -5 and -5.037 Hartree for 37 atoms
    kinds = [row["kind"] for row in gaga("store", "list", "--json").json["results"] if not row["shipped"]]
    assert sorted(kinds) == sorted(["evaluation", "reference", *["posebusters", "relaxation"] * 2])


def test_a_picture_is_refused_before_the_work_or_drawn_from_what_is_stored(gaga, xyz, tmp_path):
    (tmp_path / "there.png").write_bytes(b"mine")
    for name, why in {"q.txt": "a plot is a .png", "there.png": "already there", "no/q.png": "folder"}.items():
        refused = gaga("evaluate", xyz, "--plot", name, "--threads", 1)
        assert refused.code == 1
        assert why in refused.err
    assert not (tmp_path / "gaga.h5").exists()
    assert gaga("evaluate", xyz, "--threads", 1, "--json").json["plot"] is None
    drawn = gaga("evaluate", xyz, "--plot", "there.png", "--overwrite", "--threads", 1, "--json").json
    assert drawn["stored"]["found"]
    assert drawn["plot"] == "there.png"
    assert (tmp_path / "there.png").read_bytes().startswith(b"\x89PNG")


def test_a_result_of_an_earlier_version_is_drawn_after_replace(gaga, xyz, tmp_path):
    words = ("evaluate", xyz, "--plot", "q.svg", "--threads", 1, "--dataset", "none")
    name = gaga(*words[:2], *words[4:], "--json").json["stored"]["name"]
    store = Store(tmp_path / "gaga.h5")
    entry, tree = store.find("evaluation", name), to_tree(store.get("evaluation", name, Evaluation))
    del tree["distributions"]
    store.put(
        "evaluation", name, from_tree(tree, Evaluation), config=entry.config, inputs=entry.inputs, seed=entry.seed,
        replace=True,
    )  # fmt: skip
    refused = gaga(*words)
    assert refused.code == 1
    assert "earlier version" in refused.err
    assert "--replace" in refused.err
    assert gaga(*words, "--replace").code == 0
    assert gaga(*words, "--overwrite", "--replace", "--json").json["stored"]["found"]
