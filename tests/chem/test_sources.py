"""Which files hold molecules, whatever they are called: first bytes, folders, archives, hidden files."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from gaga.chem import archives
from gaga.chem.io import Record, file_of, has_smiles_only, molecule_files, read_molecules, read_smiles
from gaga.core.errors import InvalidInput

CASES = Path("tests/cases")
WATER = "3\nwater\nO 0 0 0.1\nH 0 0.7 0.6\nH 0 -0.7 0.6\n"
SDF = (CASES / "data_blocks.sdf").read_text()
MOL = SDF.partition("M  END\n")[0] + "M  END\n"
# Of EDM's and GeoLDM's save_xyz_file: "%d\n\n", then "%s %.9f %.9f %.9f\n" for each atom.
SAMPLE = "3\n\nO 0.000000000 0.000000000 0.117300000\nH 0.0 0.757200000 -0.469200000\nH 0.0 -0.757200000 -0.469200000\n"


def atoms(path: Path) -> list[int]:
    return [len(record.atomic_numbers) for record in read_molecules(path) if isinstance(record, Record)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("m.sd", SDF, 7), ("m.SD.gz", SDF, 7), ("m.mol", MOL, 1), ("m.mol.gz", MOL, 1), ("m.extxyz", WATER * 2, 2),
        ("molecule_000.txt", SAMPLE, 1), ("molecule_000.txt.gz", SAMPLE, 1), ("m.txt", WATER * 3, 3),
        ("m.txt", "3\r\n\r\n" + SAMPLE.partition("\n\n")[2].replace("\n", "\r\n"), 1),
    ],
)  # fmt: skip
def test_other_suffixes_of_the_same_formats(name, content, expected, tmp_path):
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert len(atoms(tmp_path / name)) == expected
    assert not has_smiles_only(tmp_path / name)


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".csv", ".smi", ".txt"])
def test_a_file_is_read_as_what_it_is(suffix, tmp_path):
    """Gzip that is not called so, text that is called .gz, and UTF-16, as Excel and PowerShell write it."""
    content = {".sdf": SDF, ".xyz": WATER * 2, ".txt": WATER}.get(suffix, "smiles,name\nCCO,ä\nC,b\n")
    if suffix == ".smi":
        content = "CCO ä\nC b\n"
    forms = {
        f"plain{suffix}": content.encode(),
        f"gzip{suffix}": gzip.compress(content.encode()),
        f"text{suffix}.gz": content.encode(),
        f"le{suffix}": b"\xff\xfe" + content.encode("utf-16-le"),
        f"be{suffix}": b"\xfe\xff" + content.encode("utf-16-be"),
        f"unmarked{suffix}": content.encode("utf-16-le"),
        f"packed{suffix}.gz": gzip.compress(content.encode("utf-16")),
    }
    found = []
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        if suffix in (".csv", ".smi"):
            found.append([(row.smiles, row.name) for row in read_smiles(tmp_path / name)])
        else:
            found.append(atoms(tmp_path / name))
    assert found == [found[0]] * len(forms)
    assert found[0]


@pytest.mark.parametrize(
    ("packed", "program"),
    [(bz2.compress(b"x" * 99), "bzip2"), (lzma.compress(b"x" * 99), "xz"), (b"PK\x03\x04..", "zip")],
)
def test_other_packings_are_named(packed, program, tmp_path):
    (tmp_path / "m.sdf").write_bytes(packed)
    with pytest.raises(InvalidInput, match=f"packed with {program}.*Unpack"):
        list(read_molecules(tmp_path / "m.sdf"))


@pytest.mark.parametrize("name", ["in.pdb", "in.mol2", "in.PDB.gz"])
def test_what_is_not_read_says_what_to_convert_it_with(name, tmp_path):
    (tmp_path / name).write_text("ATOM")
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(InvalidInput, match=rf"obabel {name} -O in\.sdf"):
            read_molecules(path)


def test_unknown_suffixes_hear_of_tables_too(tmp_path):
    (tmp_path / "m.xlsx").write_text("x")
    with pytest.raises(InvalidInput, match=r"\.sdf.*\.csv, \.tsv, \.smi"):
        read_molecules(tmp_path / "m.xlsx")


def filled(folder: Path) -> Path:
    """A folder of two molecule files, and of what operating systems and Jupyter leave in one."""
    for name in ("b/two.xyz", "molecule_000.txt", "._a.sdf", ".hidden.xyz", ".ipynb_checkpoints/a.xyz",
                 "__MACOSX/b/._two.xyz", "b/.git/x.xyz", "notes.txt", "table.smi", "in.pdb"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text({"notes.txt": "no molecules", "table.smi": "C\n"}.get(name, WATER))
    return folder


def test_hidden_files_are_no_data(tmp_path):
    folder = filled(tmp_path / ".here" / "folder")
    assert [str(file.relative_to(folder)) for file in molecule_files(folder)] == ["b/two.xyz", "molecule_000.txt"]
    assert atoms(folder) == [3, 3]
    assert atoms(folder / "._a.sdf") == []  # but it is read if it is named
    assert atoms(folder / ".hidden.xyz") == [3]


@pytest.mark.parametrize("kind", ["tar", "gztar", "bztar", "zip"])
def test_archives_are_read_as_folders_are(kind, tmp_path):
    path = Path(shutil.make_archive(str(tmp_path / "all"), kind, filled(tmp_path / "folder")))
    assert atoms(path) == [3, 3]
    where = [part.where for part in read_molecules(tmp_path / "folder" / "._a.sdf")]
    assert where == ["._a.sdf, record 1 (line 1)"]


def test_a_record_names_its_file_below_the_folder_and_its_line(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "m.xyz").write_text(WATER + "\n\n" + WATER.replace("O", "Xq"))
    *_, skipped = read_molecules(tmp_path)
    assert (skipped.where, skipped.file, skipped.line) == ("b/m.xyz, record 2 (line 8)", "b/m.xyz", 8)


def test_damaged_archives_and_bombs_are_one_line(tmp_path, monkeypatch):
    whole = Path(shutil.make_archive(str(tmp_path / "all"), "gztar", filled(tmp_path / "folder"))).read_bytes()
    for name, content in (("cut.tar.gz", whole[:200]), ("no.tar", b"x" * 2000), ("no.zip", b"PK\x03\x04" + bytes(90))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match="no whole archive"):
            list(read_molecules(tmp_path / name))
    monkeypatch.setattr(archives, "FREE", 1 << 16)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.xyz", b"\n" * 10_000_000)
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("m.pickle")
        member.size = 10_000_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    for name in ("bomb.zip", "bomb.tar.gz"):
        with pytest.raises(InvalidInput, match="unpacks to more than"):
            list(read_molecules(tmp_path / name))


def test_names_with_a_tilde_and_names_that_are_not_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~backup.xyz").write_text(WATER)
    Path("~").mkdir()
    latin1 = os.fsdecode("säure.xyz".encode("latin-1"))
    Path(latin1).write_text(WATER.replace("O ", "Xq "))
    assert atoms(Path("~backup.xyz")) == [3]
    assert [part.reason for part in read_molecules(latin1)] == ["unknown element"]
    assert len(list(read_molecules("."))) == 2


def test_a_stream_becomes_a_file_for_a_while():
    with file_of(io.BytesIO(gzip.compress(SDF.encode())), "sdf") as path:
        assert len(atoms(path)) == 7
    assert not path.exists()
    for stream, kind in ((b"", "xyz"), (b"x", "pdb")):
        with pytest.raises(InvalidInput, match=r"empty|unknown format"), file_of(io.BytesIO(stream), kind):
            pass
