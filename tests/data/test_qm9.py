"""QM9: the published counts of EDM's split, and every way to the molecules."""

import gc
import hashlib
import http.server
import io
import tarfile
import threading
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.data import load_dataset, qm9
from gaga.data.dataset import Dataset

# dsgdb9nsd_000001.xyz as the publisher has it, but for one coordinate in Mathematica's notation.
METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t\
-40.476062\t-40.475117\t-40.498597\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765748*^-4\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("qm9")


def archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:bz2") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_the_split_has_the_counts_that_edm_publishes(data):
    histogram = data.sizes_histogram("train")
    assert {n: int(histogram[n]) for n in (22, 17, 23, 29, 3)} == {
        22: 3393,
        17: 13025,
        23: 4848,
        29: 25,
        3: 1,
    }
    train = data.molecules.take(data.splits["train"])
    elements = np.bincount(train.atomic_numbers)
    assert elements[[1, 6, 7, 8, 9]].tolist() == [923537, 635559, 101476, 140202, 2323]
    assert [len(data.splits[s]) for s in ("train", "valid", "test")] == [100_000, 17_748, 13_083]


def test_the_whole_of_qm9_bit_for_bit(data):
    assert len(data) == 130_831
    assert data.fingerprint == "122d82cc87b33ee9296dd977c815e74e876381532f7f6d39705063e7960e77f4"
    assert np.array_equal(data.ids, qm9.characterised_ids())
    assert data.vocabulary == (1, 6, 7, 8, 9)


def test_smiles_and_properties_belong_to_their_molecules(data):
    assert data.smiles[-1] == "C1N2C3C4C5OC13C2C45"
    assert list(data.properties) == list(qm9.PROPERTY_UNITS)
    methane = {name: float(values[0]) for name, values in data.properties.items()}
    assert methane["A"] == 157.7118
    assert methane["U0"] == -40.47893
    assert methane["Cv"] == 6.469
    gap = data.properties["lumo"] - data.properties["homo"]
    assert np.allclose(gap, data.properties["gap"], atol=1.01e-4)
    n_carbon = np.add.reduceat(data.atomic_numbers == 6, data.offsets[:-1])
    assert np.array_equal(n_carbon, [s.upper().count("C") for s in data.smiles.tolist()])


def test_3054_molecules_are_left_out():
    ids = qm9.characterised_ids()
    assert len(ids) == qm9.N_CHARACTERISED
    assert not np.isin([58, 61, 80], ids).any()
    assert ids[0] == 1
    assert ids[-1] == qm9.N_PUBLISHED


def test_the_publishers_file_gives_what_the_package_gives(data, tmp_path):
    source = archive(tmp_path / qm9.ARCHIVE_NAME, {"./dsgdb9nsd_000001.xyz": METHANE})
    (entry,) = qm9.read_archive(source)
    _, positions = data.molecules[0]
    assert (entry.id, entry.smiles, entry.symbols) == (1, "C", "CHHHH")
    assert np.array_equal(entry.positions, positions)
    assert entry.properties == [float(values[0]) for values in data.properties.values()]


def test_the_folder_that_the_archive_unpacks_to(tmp_path):
    folder = tmp_path / "dsgdb9nsd"
    folder.mkdir()
    (folder / "dsgdb9nsd_000001.xyz").write_text(METHANE)
    (folder / "dsgdb9nsd_000058.xyz").write_text(METHANE.replace("gdb 1\t", "gdb 58\t"))
    (folder / "._dsgdb9nsd_000001.xyz").write_bytes(b"\0\5\x16\7")
    (entry,) = qm9.read_folder(folder)
    (same,) = qm9.read_archive(archive(tmp_path / "x.tar.bz2", {"a.xyz": METHANE, "./._a.xyz": "\0"}))
    assert entry[:3] == same[:3] == (1, "C", "CHHHH")
    assert np.array_equal(entry.positions, same.positions)
    assert entry.properties == same.properties
    with pytest.raises(InvalidInput, match=r"130830 of 130831 missing.*as your own molecules"):
        qm9.read_qm9(folder, tmp_path)


def test_uncharacterised_molecules_are_passed_over(tmp_path):
    files = {"a.xyz": METHANE, "b.xyz": METHANE.replace("gdb 1\t", "gdb 58\t"), "readme.txt": "no molecule"}
    assert [entry.id for entry in qm9.read_archive(archive(tmp_path / "x.tar.bz2", files))] == [1]


def test_an_incomplete_archive_is_refused(tmp_path):
    source = archive(tmp_path / qm9.ARCHIVE_NAME, {"a.xyz": METHANE})
    with pytest.raises(InvalidInput, match="130830 of 130831 missing"):
        load_dataset("qm9", source=source, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache" / "qm9.h5").exists()


def test_a_damaged_archive_is_refused(tmp_path):
    whole = archive(tmp_path / "whole.tar.bz2", {f"{i}.xyz": METHANE for i in range(2000)}).read_bytes()
    cut = tmp_path / "cut.tar.bz2"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match=r"cut\.tar\.bz2"):
        qm9.read_qm9(cut, tmp_path)


@pytest.mark.parametrize("text", ["", "5\n", METHANE.replace("13.21", "?"), METHANE.replace("H\t 0.002150416", "H")])
def test_a_damaged_molecule_is_refused(tmp_path, text):
    source = archive(tmp_path / "x.tar.bz2", {"a.xyz": text})
    with pytest.raises(InvalidInput, match="not a whole copy"):
        qm9.read_qm9(source, tmp_path)


def test_what_is_no_copy_is_refused(tmp_path):
    (tmp_path / "text.tar.bz2").write_text("hello")
    for source in (tmp_path / "text.tar.bz2", tmp_path):
        with pytest.raises(InvalidInput, match="copy of QM9"):
            qm9.read_qm9(source, tmp_path)
    with pytest.raises(NotFound):
        load_dataset("qm9", source=tmp_path / "none.tar.bz2")


def test_the_package_is_located_but_not_imported():
    import sys

    assert qm9.installed_qm9pack() is not None
    assert "qm9pack" not in sys.modules


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A publisher on this machine, and no qm9pack."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setattr(qm9, "ARCHIVE_URL", f"http://127.0.0.1:{running.server_port}/{qm9.ARCHIVE_NAME}")
        monkeypatch.setattr(qm9, "installed_qm9pack", lambda: None)
        yield folder
        running.shutdown()
        thread.join()
    with warnings.catch_warnings():
        # The connection of a refused download is closed by the garbage collector alone.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Say nothing."""


def test_download_verifies_the_checksum_and_tells_the_bytes(server, tmp_path, monkeypatch):
    content = archive(server / qm9.ARCHIVE_NAME, {"a.xyz": METHANE}).read_bytes()
    monkeypatch.setattr(qm9, "ARCHIVE_MD5", hashlib.md5(content).hexdigest())
    told = []
    path = qm9.download(tmp_path / "cache", lambda done, total, note="": told.append((done, total)))
    assert path.read_bytes() == content
    assert told[-1] == (len(content), len(content))


def test_a_damaged_download_is_refused_and_not_kept(server, tmp_path):
    archive(server / qm9.ARCHIVE_NAME, {"a.xyz": METHANE})
    with pytest.raises(Unavailable, match="checksum"):
        qm9.download(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.bz2"))


def test_with_no_way_to_qm9_one_error_lists_the_ways(server, tmp_path):
    with pytest.raises(Unavailable) as error:  # the server has no such file
        load_dataset("qm9", cache_dir=tmp_path / "cache")
    for way in ("gaga-mol[qm9]", "`source`", qm9.ARCHIVE_NAME, "network"):
        assert way in error.value.line
    assert "\n" not in error.value.line


def test_an_archive_that_leads_elsewhere_writes_nothing(tmp_path):
    """Members are read as a stream, whatever they are called; nothing is ever unpacked onto the disk."""
    hostile = tmp_path / "a" / "hostile.tar.bz2"
    hostile.parent.mkdir()
    with tarfile.open(hostile, "w:bz2") as tar:
        for name in ("../x.xyz", f"{tmp_path}/y.xyz", "z.xyz"):
            member = tarfile.TarInfo(name)
            member.size = len(METHANE)
            tar.addfile(member, io.BytesIO(METHANE.encode()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("link.xyz")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
    with pytest.raises(InvalidInput, match="not a whole copy"):
        load_dataset("qm9", source=hostile, cache_dir=tmp_path / "cache")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "a", "a/hostile.tar.bz2", "cache"
    ]  # fmt: skip


@pytest.mark.parametrize("bomb", ["member", "pax", "many", "nan"])
def test_archives_that_are_larger_than_qm9_are_refused(bomb, tmp_path, monkeypatch):
    monkeypatch.setattr(qm9, "_MAX_UNPACKED", 20_000_000)
    monkeypatch.setattr(qm9, "N_PUBLISHED", 3)
    path = tmp_path / "qm9.tar.bz2"
    files = {f"{i}.xyz": METHANE for i in range(5)} if bomb == "many" else {}
    with tarfile.open(path, "w:bz2") as tar:
        if bomb == "pax":
            large = tarfile.TarInfo("a.xyz")
            large.pax_headers = {"comment": "x" * 30_000_000}
            tar.addfile(large)
        if bomb == "member":
            large = tarfile.TarInfo("a.xyz")
            large.size = 30_000_000
            tar.addfile(large, io.BytesIO(bytes(large.size)))
    if files:
        archive(path, files)
    if bomb == "nan":
        archive(path, {"a.xyz": METHANE.replace("1.0858041578", "nan")})
    why = {"member": "larger than any", "pax": "unpacks to more", "many": "more than 3", "nan": "not finite"}[bomb]
    with pytest.raises(InvalidInput, match=why):
        qm9.read_qm9(path, tmp_path)


@pytest.mark.parametrize("content", ["", "a,b\n", "a,b\nx\n", '"' + "x" * 200_000, "a\n1,2,3,4,5,6,7,8,9,10,11,12\n"])
def test_damaged_csv_files_are_one_line(content, tmp_path):
    (tmp_path / "qm9_part1.csv").write_text(content)
    with pytest.raises(InvalidInput, match="not a whole copy"):
        qm9.read_qm9(tmp_path, tmp_path)
