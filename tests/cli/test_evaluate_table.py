"""One row for each molecule, and what a file says of its molecules: charges, names, skipped records."""

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from gaga.evaluation import Evaluation, evaluate
from gaga.runs.molecule_table import COLUMNS, cell
from gaga.storage.serialise import from_tree, to_tree
from gaga.storage.store import Store

CASES = Path(__file__).parents[1] / "cases"
WATER = "O 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
NITRILE = "H 0 0 0\nC 0 0 1.066\nN 0 0 2.219\n"
SPLIT = "H 0 0 0\nH 0 0 5\n"


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def xyz_of(*frames):
    return "".join(f"{atoms.count(chr(10))}\n{comment}\n{atoms}" for comment, atoms in frames)


def test_a_row_for_each_molecule(gaga, tmp_path):
    sampled = 'Properties=species:S:1:pos:R:3 name="gaga-3-1" gaga_seed=3 gaga_index=1'
    (tmp_path / "m.xyz").write_text(
        xyz_of((sampled, WATER), ("second", WATER), ("apart", SPLIT), ("broken", "H nowhere 0 0\n"), ("known", NITRILE))
    )
    payload = gaga("evaluate", "m.xyz", "--threads", 1, "--csv", "m.csv", "--json").json
    rows = rows_of(tmp_path / "m.csv")
    assert payload["csv"] == {"out": "m.csv", "rows": 5, "columns": list(COLUMNS)}
    assert [row["index"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["name"] for row in rows] == ["gaga-3-1", "second", "apart", "", "known"]
    assert [row["seed"] for row in rows] == ["3", "", "", "", ""]
    assert [row["formula"] for row in rows] == ["H2O", "H2O", "H2", "", "CHN"]
    assert [row["smiles"] for row in rows] == ["[H]O[H]", "[H]O[H]", "[HH]", "", "[H]C#N"]
    assert [row["stable_atoms"] for row in rows] == ["3", "3", "0", "0", "3"]
    for column, values in {
        "stable": "true true false false true",
        "valid": "true true true false true",  # by edm: RDKit fills what is open with hydrogen
        "connected": "true true false false true",
        "unique": "true false true false true",
        "novel": "true true true false false",  # of these, the training split of QM9 has hydrogen cyanide
        "stable_edm": "true true false false true",
        "valid_strict": "true true false false true",
        "triple_bond": "false false - - true",
        "sp_carbon": "false false - - true",
        "aromatic": "false false - - false",
        "rings": "0 0 - - 0",
        "heavy_atoms": "1 1 0 - 2",
        "odd_electrons": "false false false - false",
        "smiles_stereo": "O O - - C#N",
        "torsions": "0 0 - - 0",
    }.items():
        assert [row[column] or "-" for row in rows] == values.split(), column
    assert rows[3]["reason"] == "unreadable record"
    counted = {name: payload["rates"][name]["numerator"] for name in ("unique", "novel", "valid")}
    assert counted == {"unique": 3, "novel": 2, "valid": 4}


def test_the_store_gives_the_same_table(gaga, xyz, tmp_path, xtb, posebusters):
    words = ("--posebusters", "--relax", "--sample-size", 3, "--threads", 1, "--dataset", "none")
    for protocol in ("edm", "strict"):
        name = f"{protocol}.csv"
        ran = gaga("evaluate", xyz, *words, "--csv", name, "--json", "--protocol", protocol).json
        entry = f"evaluation/{ran['stored']['name']}"
        assert gaga("store", "export", entry, "--out", "export.csv", "--overwrite").code == 0
        assert (tmp_path / "export.csv").read_text() == (tmp_path / name).read_text()
        assert gaga("store", "export", entry).out == (tmp_path / name).read_text()
        assert gaga("evaluate", xyz, *words, "--protocol", protocol, "--csv", "-").out == (tmp_path / name).read_text()
    edm, strict = rows_of(tmp_path / "edm.csv"), rows_of(tmp_path / "strict.csv")
    same = ("stable_edm", "valid_strict", "formula", "relaxation_energy_kcal_mol")
    assert [[row[name] for name in same] for row in edm] == [[row[name] for name in same] for row in strict]
    drawn = [row for row in edm if row["posebusters_passes_all"]]
    assert len(drawn) == len([row for row in edm if row["relaxation_energy_kcal_mol"]]) == 3
    assert {row["posebusters_bond_lengths"] for row in drawn} == {"true"}
    assert [row["novel"] for row in edm] == [""] * 60
    kinds = [row["kind"] for row in gaga("store", "list", "--json").json["results"] if not row["shipped"]]
    assert sorted(kinds) == ["evaluation", "evaluation", "posebusters", "relaxation"]


def test_an_evaluation_of_an_earlier_version_still_opens(gaga, xyz, tmp_path, monkeypatch):
    stored = gaga("evaluate", xyz, "--threads", 1, "--json").json["stored"]
    store = Store(tmp_path / "gaga.h5")
    tree = to_tree(store.get("evaluation", stored["name"], Evaluation))
    del tree["records"], tree["classes"], tree["support"], tree["real_data"]["classes"]
    del tree["verdicts"]["unique"], tree["verdicts"]["novel"], tree["verdicts"]["classes"], tree["verdicts"]["stereo"]
    old = from_tree(tree, Evaluation)
    assert old.records is None
    assert old.verdicts.novel is None
    with monkeypatch.context() as patch:
        patch.setattr("gaga.storage.serialise.to_tree", lambda record: tree)
        config = {"file": "tiny.xyz", "protocol": "edm", "reference": "qm9"}
        store.put("evaluation", "old", old, config=config, inputs={"tiny.xyz": "0" * 64}, seed=0)
    assert "records" not in {v["name"].partition(".")[0] for v in gaga("store", "show", "old", "--json").json["values"]}
    assert gaga("store", "export", "old", "--out", "old.csv").code == 0
    rows = rows_of(tmp_path / "old.csv")
    assert [row["unique"] for row in rows].count("true") == 2
    unknown = ("name", "charge", "novel", "valid_strict", "aromatic", "rings", "heavy_atoms")
    assert {row[name] for row in rows for name in unknown} == {""}


def test_a_spreadsheet_takes_no_name_for_a_formula(gaga, tmp_path):
    names = ["=1+1", "+49", "-acetate", "@SUM(A1)", 'a "quoted", name', "Glyoxylsäure", "tab\there", "\x1b[31m"]
    (tmp_path / "m.xyz").write_text(xyz_of(*((name, WATER) for name in names)), encoding="utf-8")
    assert gaga("evaluate", "m.xyz", "--dataset", "none", "--threads", 1, "--csv", "m.csv").code == 0
    assert (tmp_path / "m.csv").read_bytes().startswith(b"\xef\xbb\xbfindex,")
    assert [row["name"] for row in rows_of(tmp_path / "m.csv")] == [
        "'=1+1", "'+49", "'-acetate", "'@SUM(A1)", 'a "quoted", name', "Glyoxylsäure", "tab here", "\\x1b[31m",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (float("nan"), ""), (True, "true"), (-1, "-1"), (0.1, "0.1"), ("＝A1", "'＝A1")]
)
def test_cells(value, text):
    assert cell(value) == text


def test_charges_of_a_file(gaga, tmp_path):
    smiles = ["CC(=O)[O-]", "O=C([O-])[O-]", "NC(N)=[NH2+]", "O=[N+]([O-])c1ccccc1", "C[N+](C)(C)C", "CCO[N+](=O)[O-]"]
    words = ("--protocol", "strict", "--dataset", "none", "--threads", 1)
    ran = gaga("evaluate", CASES / "charged.sdf", *words, "--csv", "m.csv")
    assert ran.code == 0, ran.err
    assert "Total charge: as the file gives it." in ran.out
    rows = rows_of(tmp_path / "m.csv")
    assert [int(row["charge"]) for row in rows] == [-1, -2, 1, 0, 1, 0]
    assert [row["smiles"] for row in rows] == smiles
    assert {row["stable"] for row in rows} == {"true"}
    lines = [line for line in (CASES / "charged.sdf").read_text().splitlines() if not line.startswith("M  CHG")]
    (tmp_path / "property.sdf").write_text("\n".join(lines) + "\n")
    assert gaga("evaluate", "property.sdf", *words, "--json").json["rates"]["valid"]["value"] == 1.0
    untold = [line for line in lines if line not in {">  <charge>", "-1", "-2", "0", "1"}]
    (tmp_path / "untold.sdf").write_text("\n".join(untold) + "\n")
    payload = gaga("evaluate", "untold.sdf", *words, "--json").json
    assert payload["rates"]["valid"]["numerator"] == 2  # those that are neutral
    assert payload["without_charge"] == 0  # an SDF with bonds and no charges says that it is neutral


AMMONIUM = "N 0 0 0\n" + "".join(
    f"H {x:.3f} {y:.3f} {z:.3f}\n" for x, y, z in 0.595 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
)


def test_charges_of_an_xyz_file_and_of_the_users_own_data_set(gaga, tmp_path):
    frames = [(f'charge={"+1" if i else 1} name="{i}"', AMMONIUM) for i in range(20)] + [("", WATER)] * 12
    (tmp_path / "m.xyz").write_text(xyz_of(*frames))
    words = ("evaluate", "m.xyz", "--protocol", "strict", "--threads", 1, "--dataset")
    ran = gaga(*words, "none")
    assert "Total charge: as the file gives it; 0 for 12 of 32 molecules without one." in ran.out
    payload = gaga(*words, "m.xyz", "--json").json
    assert payload["rates"]["valid"]["value"] == payload["real_data"]["rates"]["valid"]["value"] == 1.0
    assert gaga("data", "prepare", "m.xyz", "--out", "m.h5").code == 0
    assert gaga(*words, "m.h5", "--json", "--name", "b").json["real_data"]["rates"]["valid"]["value"] == 1.0


def test_the_program_xtb_is_given_the_charge(gaga, tmp_path, xtb):
    program = tmp_path / "bin" / "xtb"
    program.write_text(program.read_text().replace("n=$(head", f'echo "$@" >> {tmp_path / "calls"}\nn=$(head'))
    (tmp_path / "m.xyz").write_text(xyz_of(("charge=1", AMMONIUM), ("", WATER)))
    payload = gaga("evaluate", "m.xyz", "--relax", "--dataset", "none", "--threads", 1, "--json").json
    assert payload["relaxation"]["relaxed"]["numerator"] == 2
    charges = sorted(line.partition("--chrg ")[2].split()[0] for line in (tmp_path / "calls").read_text().splitlines())
    assert charges == ["0", "1"]


@pytest.mark.parametrize(
    ("charge", "xyz", "sdf"),
    [("9" * 30, 0, 0), ("-32769", 0, -32767), ("1e400", 0, 0), ("nan", 0, 0), ("0.5", 0, 0), ("2", 2, 2)],
)
def test_a_charge_that_cannot_be_is_none(tmp_path, charge, xyz, sdf):
    (tmp_path / "m.xyz").write_text(xyz_of((f"charge={charge}", WATER)))
    acetate = (CASES / "charged.sdf").read_text().partition(">  <charge>")[0] + "$$$$\n"
    (tmp_path / "m.sdf").write_text(acetate.replace("M  CHG  1   4  -1", f"M  CHG  1   4  {charge}"))
    for file, expected in (("m.xyz", xyz), ("m.sdf", sdf)):
        found = evaluate(tmp_path / file, protocol="strict", reference=None)
        assert found.records.charges.tolist() == [expected]
        assert found.verdicts.valid.tolist() == [file == "m.xyz" and expected == 0]


def test_skipped_records_have_the_reasons_of_data_info(gaga, tmp_path):
    file = tmp_path / "odd_elements.xyz"
    unknown = xyz_of(*[("unknown", "Qq 0 0 0\nH 0 0 1\n")] * 4)
    file.write_text((CASES / "odd_elements.xyz").read_text(encoding="utf-8") + unknown, encoding="utf-8")
    payload = gaga("evaluate", file, "--dataset", "none", "--threads", 1, "--json").json
    info = gaga("data", "info", file, "--json").json
    by_reason = {row["reason"]: row["molecules"] for row in info["skipped"]}
    found = [row["reason"] for row in payload["skipped"]]
    assert {reason: found.count(reason) for reason in found} == by_reason
    assert payload["unreadable"] == len(found) == sum(by_reason.values()) > 5
    assert by_reason.items() <= {row["reason"]: row["molecules"] for row in payload["failures"]}.items()
    for row in payload["skipped"]:
        assert row["where"].startswith(f"odd_elements.xyz, record {row['index'] + 1}")
    assert info["skipped_records"] == [
        {name: row[name] for name in ("reason", "where", "detail")} for row in payload["skipped"]
    ]
    assert gaga("data", "info", file).out.count("odd_elements.xyz, record") == 5
    shown = gaga("evaluate", file, "--dataset", "none", "--threads", 1)
    counts = ", ".join(f"{n} {reason}" for reason, n in by_reason.items())
    assert f"Skipped {len(found)} records, counted as failures: {counts}." in shown.out
    assert shown.out.count("odd_elements.xyz, record") == 5
    assert f"{len(found) - 5} more: --json lists all." in shown.out


def test_missing_hydrogens_are_a_warning(gaga, tmp_path):
    (tmp_path / "m.xyz").write_text(xyz_of(("", "C 0 0 0\nO 0 0 1.2\n")))
    words = ("evaluate", "m.xyz", "--dataset", "none", "--threads", 1)
    for _ in range(2):  # computed, then found
        assert "No molecule has a hydrogen" in gaga(*words).err


def test_a_folder_and_standard_input(gaga, tmp_path, xyz, monkeypatch):
    folder = tmp_path / "all"
    folder.mkdir()
    words = ("--dataset", "none", "--threads", 1, "--json")
    alone = gaga("evaluate", xyz, *words).json
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(xyz.read_bytes())))
    piped = gaga("evaluate", "-", "--format", "xyz", *words).json
    assert piped["stored"]["name"].startswith("stdin_edm_")
    assert piped["rates"] == alone["rates"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "standard input is empty" in gaga("evaluate", "-", "--format", "xyz").err
    xyz.rename(folder / "a.xyz")
    (folder / "b.xyz").write_text(xyz_of(("b", WATER)))
    both = gaga("evaluate", folder, *words).json
    assert both["molecules"] == 61
    (folder / "b.xyz").write_text(xyz_of(("b", WATER), ("c", WATER)))
    assert gaga("evaluate", folder, *words).json["molecules"] == 62
