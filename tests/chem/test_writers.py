"""Writers: every record whole on disk at once, taken up again after a kill at any byte."""

import gzip
import subprocess
import sys

import numpy as np
import pytest
from rdkit import Chem

from gaga.chem.io import Skipped, read_molecules
from gaga.chem.records import Record
from gaga.chem.writers import WRITTEN_SUFFIXES, open_writer
from gaga.core.errors import Conflict, InvalidInput, NotFound, Unavailable

ALL = pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)


def record(i: int) -> Record:
    positions = np.random.default_rng(i).normal(size=(4, 3))
    return Record(np.array([6, 1, 1, 8], dtype=np.uint8), positions, f"mol{i}", {"SMILES": "C=O", "seed": i})


def write(path, start, stop, **mode) -> int:
    with open_writer(path, **mode) as writer:
        for i in range(start, stop):
            writer.write(record(i))
        return writer.n_existing


@ALL
def test_a_record_is_on_disk_when_it_is_written(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    with open_writer(path) as writer:
        writer.write(record(0))
        content = path.read_bytes()
    assert content == path.read_bytes()
    assert b"C=O" in (gzip.decompress(content) if suffix.endswith("gz") else content)


@ALL
def test_resuming_after_a_kill_at_any_byte_ends_in_the_same_file(suffix, tmp_path):
    whole, killed = tmp_path / f"whole{suffix}", tmp_path / f"killed{suffix}"
    write(whole, 0, 4)
    content = whole.read_bytes()
    for end in [0, 1, *range(2, len(content), 97), len(content) - 1, len(content)]:
        killed.write_bytes(content[:end])
        with open_writer(killed, resume=True) as writer:
            for i in range(writer.n_existing, 4):
                writer.write(record(i))
        assert killed.read_bytes() == content, end


def test_resuming_counts_whole_records_and_starts_where_there_is_no_file(tmp_path):
    path = tmp_path / "m.sdf"
    assert write(path, 0, 3, resume=True) == 0
    assert write(path, 3, 5, resume=True) == 3
    assert [molecule.name for molecule in read_molecules(path)] == [f"mol{i}" for i in range(5)]


def test_resuming_a_gzip_file_of_one_member(tmp_path):
    path = tmp_path / "m.xyz.gz"
    write(tmp_path / "m.xyz", 0, 50)
    path.write_bytes(gzip.compress((tmp_path / "m.xyz").read_bytes())[:-300])
    n_whole = write(path, 90, 91, resume=True)
    found = list(read_molecules(path))
    assert 0 < n_whole < 50
    assert not any(isinstance(molecule, Skipped) for molecule in found)
    assert [molecule.name for molecule in found] == [f"mol{i}" for i in [*range(n_whole), 90]]


def test_files_are_not_overwritten_unasked(tmp_path):
    path = tmp_path / "m.sdf"
    write(path, 0, 2)
    with pytest.raises(Conflict):
        open_writer(path)
    with pytest.raises(InvalidInput):
        open_writer(path, overwrite=True, resume=True)
    write(path, 5, 6, overwrite=True)
    assert [molecule.name for molecule in read_molecules(path)] == ["mol5"]


def test_smiles_lines(tmp_path):
    path = tmp_path / "m.smi"
    write(path, 0, 2)
    assert path.read_text() == "C=O\tmol0\nC=O\tmol1\n"
    with open_writer(path, overwrite=True) as writer, pytest.raises(InvalidInput, match="SMILES"):
        writer.write(Record(np.array([6], dtype=np.uint8), np.zeros((1, 3))))


def test_rdkit_reads_a_gzipped_sdf_of_many_members(tmp_path):
    path = tmp_path / "m.sdf.gz"
    write(path, 0, 30)
    with gzip.open(path) as file:
        names = [mol.GetProp("_Name") for mol in Chem.ForwardSDMolSupplier(file, sanitize=False)]
    assert names == [f"mol{i}" for i in range(30)]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"\.sdf, \.sdf\.gz"):
        open_writer(tmp_path / "m.pdb")
    with pytest.raises(NotFound):
        open_writer(tmp_path / "none" / "m.sdf")
    with open_writer(tmp_path / "m.sdf") as writer, pytest.raises(InvalidInput, match="non-finite"):
        writer.write(Record(np.array([6], dtype=np.uint8), np.full((1, 3), np.nan)))
    (tmp_path / "folder.sdf").mkdir()
    with pytest.raises(Unavailable):
        open_writer(tmp_path / "folder.sdf", overwrite=True)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_one_line(tmp_path):
    full = tmp_path / "m.xyz"
    full.symlink_to("/dev/full")
    writer = open_writer(full, overwrite=True)
    with pytest.raises(Unavailable, match="No space"):
        writer.write(record(0))
    with pytest.raises(Unavailable):
        writer.close()


def test_xyz_is_written_and_read_where_rdkit_is_not_installed(tmp_path):
    code = (
        "import sys; sys.modules['rdkit'] = None; import numpy as np;"
        "from gaga.chem.io import Record, open_writer, read_molecules;"
        f"path = {str(tmp_path / 'm.xyz')!r};"
        "writer = open_writer(path);"
        "writer.write(Record(np.array([6], dtype=np.uint8), np.zeros((1, 3)))); writer.close();"
        "print(len(list(read_molecules(path))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
