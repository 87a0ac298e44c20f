"""The user's own molecules: vocabulary, split, properties, and an account of what was skipped."""

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.data import own
from gaga.data.filters import Account, Filters
from gaga.data.geometries import GeometryOptions
from gaga.data.own import DEFAULTS, UserDataOptions, dataset_name, own_records, read_own
from gaga.data.preparation import from_json
from gaga.data.qm9 import PROPERTY_UNITS

GDB17, MOSES = Path("examples/gdb17_xtb_1000.sdf.gz"), Path("examples/mosesaq_xtb_1000.sdf.gz")
WATER = "3\nE=-76.4 tag=w\nO 0 0 0.1\nH 0 0.7 0.6\nH 0 -0.7 0.6\n"


def test_a_file_of_a_thousand_drug_like_molecules():
    data = read_own(GDB17)
    assert len(data) == 1000
    assert not data.skipped
    assert data.vocabulary == (1, 6, 7, 8, 9, 16, 17, 35, 53)
    assert [len(data.splits[s]) for s in ("train", "valid", "test")] == [800, 100, 100]
    assert data.sizes_histogram("train").sum() == 800
    assert data.name == "gdb17_xtb_1000"
    # The first atom and the first molecule's size as the file has them.
    assert data.n_atoms[0] == 41
    assert data.positions[0] == pytest.approx([3.6983, 0.8972, 0.8057], abs=1e-6)


@pytest.fixture(scope="module")
def hundred(tmp_path_factory) -> tuple[Path, Path]:
    """The first hundred molecules of either file."""
    folder = tmp_path_factory.mktemp("hundred")
    return tuple(cut(file, folder / file.name.replace(".gz", "")) for file in (GDB17, MOSES))


def cut(file: Path, to: Path) -> Path:
    records = gzip.decompress(file.read_bytes()).split(b"$$$$\n")[:100]
    to.write_bytes(b"".join(record + b"$$$$\n" for record in records))
    return to


def test_a_folder_is_its_files_in_the_order_of_their_names(hundred, tmp_path):
    for file in hundred:
        shutil.copy(file, tmp_path)
    (tmp_path / "notes.txt").write_text("no molecules")
    data, first = read_own(tmp_path), read_own(hundred[0])
    assert len(data) == 200
    assert np.array_equal(data.positions[: len(first.positions)], first.positions)


def test_the_split_does_not_depend_on_the_file(hundred, tmp_path):
    gdb17, moses = hundred
    both = tmp_path / "both.sdf"
    both.write_bytes(moses.read_bytes() + gdb17.read_bytes())
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(moses, folder / "z.sdf")
    shutil.copy(gdb17, folder / "a.sdf")
    tested = [
        {data.molecules[int(i)][1].tobytes() for i in data.splits["test"]}
        for data in (read_own(both), read_own(folder))
    ]
    assert len(tested[0]) == 20
    assert tested[0] == tested[1]


def test_what_was_skipped_is_counted_by_reason(tmp_path):
    file = tmp_path / "mine.xyz"
    file.write_text(
        WATER + "0\nnothing\n" + WATER.replace("O", "Xx") + WATER.replace("0.1", "nan") + "2\nflat\nC 1 1 1\nC 1 1 1\n"
        "2\nshort\nC 0 0 0\n"
    )
    data = read_own(file)
    assert len(data) == 1
    assert dict(data.skipped) == {
        "no atoms": 1,
        "dummy or ghost atom": 1,
        "non-finite coordinates": 1,
        "no 3D coordinates": 1,
        "unreadable record": 1,
    }


def test_numeric_properties_are_kept(tmp_path):
    file = tmp_path / "mine.xyz"
    file.write_text(WATER + WATER.replace("tag=w", "gap=3"))
    properties = read_own(file).properties
    assert set(properties) == {"E", "gap"}
    assert properties["E"].tolist() == [-76.4, -76.4]
    assert np.isnan(properties["gap"][0])
    assert properties["gap"][1] == 3


def test_a_file_without_a_usable_molecule_is_refused_with_the_reasons(tmp_path):
    file = tmp_path / "mine.xyz"
    file.write_text("0\n\n" * 3)
    with pytest.raises(InvalidInput, match="3 x no atoms"):
        read_own(file)


def test_names():
    assert dataset_name(Path("a/b.c.SDF.gz")) == "b.c"
    assert dataset_name(Path("qm9.sdf")) == "my_qm9"


def test_ten_thousand_atoms_and_properties_without_end(tmp_path, monkeypatch):
    rows = "".join(f"C {i % 22}.5 {i // 22 % 22}.25 {i / 484:.4f}\n" for i in range(10_000))
    (tmp_path / "big.xyz").write_text(f"10000\nbig\n{rows}")
    assert read_own(tmp_path / "big.xyz").n_atoms.tolist() == [10_000]
    monkeypatch.setattr(own, "MAX_PROPERTIES", 5)
    frames = "".join(f"2\np{i}=1 text{i}=a same=2\nC 0 0 0\nH 0 0 1\n" for i in range(20))
    (tmp_path / "many.xyz").write_text(frames)
    data = read_own(tmp_path / "many.xyz")
    assert len(data) == 20
    assert len(data.properties) <= 5
    assert data.properties["same"].tolist() == [2.0] * 20


def test_smiles_of_a_file_are_kept(tmp_path):
    file = tmp_path / "mine.xyz"
    file.write_text(WATER.replace("tag=w", "SMILES=O") + WATER)
    assert read_own(file).smiles.tolist() == ["O", ""]
    file.write_text(WATER)
    assert read_own(file).smiles is None
    file.write_text(WATER.replace("tag=w", "SMILES=O") + WATER.replace("tag=w", f"SMILES={'C' * 1001}"))
    assert read_own(file).smiles.tolist() == ["O", ""]  # part of a SMILES is that of another molecule


def test_the_report_says_what_was_asked_and_what_became_of_it(tmp_path):
    (tmp_path / "mine.smi").write_text("C methane\nCC\nxx\nCCO\n")
    wanted = UserDataOptions(
        filters=Filters(max_atoms=8, elements=(1, 6)), making=GeometryOptions(embed=True, seed=5), workers=1
    )
    data = read_own(tmp_path / "mine.smi", wanted=wanted)
    assert (data.name, data.smiles.tolist(), data.n_atoms.tolist()) == ("mine", ["C", "CC"], [5, 8])
    assert dict(data.skipped) == {"cannot parse SMILES": 1, "elements other than H, C": 1}
    report = data.preparation
    assert (report.read, report.kept, report.force_fields) == (4, 2, {"MMFF94": 2})
    assert report.asked == {"elements": "H,C", "max_atoms": "8", "embed": "yes", "seed": "5", "time_limit": "60.0"}
    assert list(report.programs) == ["rdkit"]
    assert data.subset("train").preparation == report
    assert from_json(report.to_json()) == report


def test_nothing_asked_is_nothing_said():
    assert DEFAULTS.non_defaults() == {}


def test_a_stream_of_records():
    account = Account()
    stream = own_records(GDB17, account, wanted=UserDataOptions(filters=Filters(max_atoms=30)))
    assert len(next(stream).atomic_numbers) <= 30
    assert account.read < 100
    assert sum(1 for _ in stream) + 1 + account.left_out["more than 30 atoms"] == account.read == 1000


def test_copies_and_conformers_are_duplicates(hundred, tmp_path):
    twice = tmp_path / "twice.sdf"
    twice.write_bytes(hundred[1].read_bytes() * 2)
    data = read_own(twice, wanted=UserDataOptions(filters=Filters(no_duplicates=True), workers=1))
    assert len(data) == 100
    assert data.skipped == {"duplicate": 100}
    assert data.fingerprint == read_own(hundred[1]).fingerprint


def test_numbers_that_are_text_are_no_properties():
    data = read_own(Path("tests/cases/odd_properties.sdf"))
    assert len(data) == 15
    assert set(data.properties) == {"E", "n/a name with / slash", "_private", "ЭНЕРГИЯ Å", "energy", "Energy"}
    assert data.properties["E"][:3].tolist() == pytest.approx([np.inf, np.nan, -np.inf], nan_ok=True)
    assert data.properties["_private"].tolist() == list(range(0, 30, 2))


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (["1_2", "3"], None), (["١٢", "3"], None), (["0x10", "3"], None), (["1,5", "3"], None),
        (["1d5", "1e5"], [1e5, 1e5]), (["", "3"], [np.nan, 3]), (["nan", "3"], [np.nan, 3]),
        (["1.5*^-2", "3"], [0.015, 3]),
    ],
)  # fmt: skip
def test_numbers_of_tables_and_comments(values, column, tmp_path):
    frames = "".join(f'2\nx="{value}"\nC 0 0 0\nO 0 0 {1 + k}\n' for k, value in enumerate(values))
    (tmp_path / "m.xyz").write_text(frames)
    (tmp_path / "m.csv").write_text("smiles,x\n" + "".join(f'C{"C" * k},"{v}"\n' for k, v in enumerate(values)))
    embedded = UserDataOptions(making=GeometryOptions(embed=True), workers=1)
    for properties in (
        read_own(tmp_path / "m.xyz").properties, read_own(tmp_path / "m.csv", wanted=embedded).properties
    ):  # fmt: skip
        if column is None:
            assert "x" not in properties
        else:
            assert properties["x"].tolist() == pytest.approx(column, nan_ok=True)


@pytest.mark.parametrize("form", ["file", "folder", "tar.bz2"])
def test_qm9_as_its_publisher_ships_it(form, tmp_path):
    source = Path("tests/cases/qm9_publisher")
    if form == "file":
        path = tmp_path / "all.xyz"
        path.write_bytes(b"".join(file.read_bytes() for file in sorted(source.iterdir())))
    else:
        path = source if form == "folder" else Path(shutil.make_archive(str(tmp_path / "qm9"), "bztar", source))
    data = read_own(path)
    assert data.n_atoms.tolist() == [9, 12, 6]
    assert data.skipped == {}
    assert data.smiles.tolist() == ["CCO", "c1ccccc1", "CC#N"]
    assert {name: values.tolist() for name, values in data.properties.items()} == {
        name: [k] * 3 for k, name in enumerate(PROPERTY_UNITS, start=1)
    }
    assert data.annotations.units == PROPERTY_UNITS


def test_what_a_file_lacks_is_said_and_kept(tmp_path):
    data = read_own(Path("tests/cases/lost_one_end.sdf"))
    assert len(data) == 15
    assert data.preparation.notes == ("SDF records without a $$$$ line at their end: 1.",)
    assert from_json(data.preparation.to_json()) == data.preparation


def test_a_name_that_is_not_utf8_is_taken_for_latin_1(tmp_path):
    path = tmp_path / os.fsdecode("säure.xyz".encode("latin-1"))
    path.write_text(WATER)
    data = read_own(path)
    assert (data.name, data.origin) == ("säure", "säure.xyz")
