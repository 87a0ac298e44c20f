"""Molecule files: whatever the suffix, the line ends or the damage, molecule by molecule."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from gaga.chem.io import Record, Skipped, open_writer, read_molecules
from gaga.core.errors import InvalidInput, NotFound

EXAMPLE = Path("examples/gdb17_xtb_1000.sdf.gz")
WATER = "3\nwater\nO 0 0 0.1\nH 0 0.7 0.6\nH 0 -0.7 0.6\n"


@pytest.fixture(scope="module")
def sdf() -> bytes:
    """Five drug-like molecules."""
    records = gzip.decompress(EXAMPLE.read_bytes()).split(b"$$$$\n")[:5]
    return b"".join(record + b"$$$$\n" for record in records)


def read(path: Path) -> list[Record | Skipped]:
    return list(read_molecules(path))


def test_sdf_agrees_with_rdkit(sdf, tmp_path):
    file = tmp_path / "m.sdf"
    file.write_bytes(sdf)
    found = read(file)
    expected = list(Chem.SDMolSupplier(str(file), removeHs=False))
    assert len(found) == len(expected) == 5
    for record, mol in zip(found, expected, strict=True):
        assert record.atomic_numbers.tolist() == [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        assert np.array_equal(record.positions, mol.GetConformer().GetPositions())
        assert record.name == mol.GetProp("_Name")


@pytest.mark.parametrize("suffix", [".sdf", ".SDF.gz", ".xyz", ".xyz.gz"])
def test_windows_line_ends_and_latin_1_names(suffix, sdf, tmp_path):
    content = sdf if "sdf" in suffix.lower() else WATER.encode() * 5
    name = b"gdb17_0000" if "sdf" in suffix.lower() else b"water"
    content = content.replace(name, "säure".encode("latin-1"), 1).replace(b"\n", b"\r\n")
    file = tmp_path / f"m{suffix}"
    file.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    found = read(file)
    assert all(isinstance(molecule, Record) for molecule in found)
    assert len(found) == 5
    assert found[0].name == "säure"


def test_utf8_names_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "m.xyz"
    file.write_bytes(b"\xef\xbb\xbf" + WATER.replace("water", "水").encode())
    assert read(file)[0].name == "水"


def test_a_damaged_record_is_named_and_the_others_are_read(sdf, tmp_path):
    file = tmp_path / "m.sdf"
    file.write_bytes(sdf.replace(b" 41 41 ", b" xx 41 ", 1))
    first, *others = read(file)
    assert first == Skipped("unreadable record", "m.sdf, record 1 (line 1)", first.detail, "m.sdf", 1)
    assert len(others) == 4
    assert all(isinstance(molecule, Record) for molecule in others)


def test_a_gzip_file_cut_short_is_not_taken_for_the_whole(tmp_path):
    file = tmp_path / "m.sdf.gz"
    file.write_bytes(EXAMPLE.read_bytes()[:20_000])
    with pytest.raises(InvalidInput, match=r"cut short or damaged after \d\d molecules"):
        read(file)


def test_garbage_is_one_unreadable_record(tmp_path):
    file = tmp_path / "m.sdf"
    file.write_bytes(np.random.default_rng(0).bytes(5000))
    assert {molecule.reason for molecule in read(file)} == {"unreadable record"}


def test_a_folder_is_read_with_its_subfolders(sdf, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.xyz").write_text(WATER)
    (tmp_path / "a.sdf").write_bytes(sdf)
    (tmp_path / "readme.md").write_text("nothing")
    told = []
    names = [m.name for m in read_molecules(tmp_path, lambda done, total, note="": told.append((done, total)))]
    assert names[-1] == "water"
    assert len(names) == 6
    size = len(sdf) + len(WATER)
    assert told[-1] == (size, size)


def test_what_cannot_be_opened_is_one_line(tmp_path):
    empty = tmp_path / "empty.sdf"
    empty.touch()
    with pytest.raises(InvalidInput, match="empty"):
        read_molecules(empty)
    with pytest.raises(NotFound):
        read_molecules(tmp_path / "none.sdf")
    with pytest.raises(InvalidInput, match=r"\.sdf, \.sd, \.mol, \.xyz.*\.csv.*\.smi"):
        read_molecules(Path("pyproject.toml"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInput, match="no molecule file"):
        read_molecules(tmp_path / "folder")


@pytest.mark.parametrize("suffix", [".sdf", ".sdf.gz", ".xyz", ".xyz.gz"])
def test_what_is_written_is_read_back(suffix, tmp_path):
    rng = np.random.default_rng(1)
    written = [
        Record(np.array([8, 6, 1], dtype=np.uint8), rng.normal(size=(3, 3)), f"mol {i}", {"seed": i}) for i in range(20)
    ]
    with open_writer(tmp_path / f"m{suffix}") as writer:
        for record in written:
            writer.write(record)
    for record, back in zip(written, read(tmp_path / f"m{suffix}"), strict=True):
        assert np.array_equal(back.atomic_numbers, record.atomic_numbers)
        assert np.allclose(back.positions, record.positions, atol=6e-5)
        assert back.name == record.name
        assert back.properties["seed"] == str(record.properties["seed"])
