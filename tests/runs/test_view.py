"""`gaga.view`: pages and pictures of files, trajectories, data sets, stored results and molecules in memory."""

import json
import re

import numpy as np
import pytest

import gaga
from gaga.chem.records import Record
from gaga.chem.writers import open_writer
from gaga.core.errors import Conflict, InvalidInput, NotFound
from gaga.core.molecules import pack
from gaga.runs.view_input import as_numbers, kept_fragment

HOSTILE = "</script><script>alert(1)</script>"
WATER = (np.array([8, 1, 1], np.uint8), np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]]))
FLUORINES = (np.full(5, 9, np.uint8), np.random.default_rng(1).normal(size=(5, 3)))


def data_of(path):
    """What a page holds."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def columns(path):
    return {column["key"]: column["values"] for column in data_of(path)["columns"]}


def written(path, *records):
    with open_writer(path) as writer:
        for record in records:
            writer.write(record)
    return path


@pytest.fixture
def file(tmp_path):
    """A water with hostile tags, one that is no molecule, and one that is not valid."""
    path = written(
        tmp_path / "mols.sdf",
        Record(*WATER, HOSTILE, {"energy": 1.5, "note": HOSTILE}),
        Record(*FLUORINES, "fluorines", {"energy": -2.0}),
    )
    path.write_text(path.read_text() + "nothing\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n")
    return path


def test_a_page_has_every_record_with_verdicts_and_tags(file):
    found = gaga.view(file)
    assert found.path == file.with_suffix(".html")
    assert (found.molecules, found.drawn, found.more, found.n_bytes) == (3, 2, False, found.path.stat().st_size)
    held = columns(found.path)
    assert held["name"] == [HOSTILE, "fluorines", ""]
    assert (held["smiles"][0], held["formula"]) == ("O", ["H2O", "F5", ""])
    assert (held["valid"], held["atoms"]) == ([True, False, False], [3, 5, 0])
    assert held["novel"][0] is not None
    assert held["novel"][2] is None
    assert held["energy"] == [1.5, -2, None]
    assert held["note"] == [HOSTILE, None, None]
    assert "record 3" in held["reason"][2]
    assert HOSTILE not in found.path.read_text()
    assert len(data_of(found.path)["rates"]["rows"][0]) == 5
    with pytest.raises(Conflict, match="already there"):
        gaga.view(file)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_has_an_empty_cell_for_what_cannot_be_drawn(file, suffix):
    found = gaga.view(file, out=file.with_suffix(suffix), columns=2, dataset="none", protocol="strict")
    assert (found.molecules, found.drawn) == (3, 2)
    assert found.n_bytes > 2000
    assert b"<script" not in found.path.read_bytes()


def test_the_first_ones_and_atoms_to_colour(file, tmp_path):
    found = gaga.view(file, out=tmp_path / "one.html", first=1, highlight=(1, 3), dataset="none")
    assert (found.molecules, found.more) == (1, True)
    held = data_of(found.path)
    assert (held["kept"], held["kept_rows"]) == ([0, 2], None)
    assert held["histograms"][0]["data"] is None
    assert all(column["key"] != "novel" for column in held["columns"])


def test_a_trajectory_is_one_molecule_with_frames(tmp_path):
    numbers, positions = WATER
    frames = [Record(numbers, positions * (3 - k), f"frame {k}") for k in range(3)]
    path = written(tmp_path / "mols_trajectory_1.xyz", *frames)
    found = gaga.view(path, dataset="none")
    assert (found.molecules, found.trajectories) == (1, 1)
    assert list(data_of(found.path)["frames"]) == ["0"]
    # Next to the molecules of its run it belongs to the one of its number, if that is the same molecule.
    tagged = [Record(*WATER, "", {"gaga_index": "1"}), Record(*FLUORINES, "", {"gaga_index": "0"})]
    held = data_of(gaga.view(written(tmp_path / "mols.sdf", *tagged), dataset="none").path)
    assert list(held["frames"]) == ["0"]
    other = [Record(*FLUORINES, "", {"gaga_index": "1"})]
    again = gaga.view(written(tmp_path / "mols.sdf.gz", *other), out=tmp_path / "x.html", dataset="none")
    assert again.trajectories == 0


def test_the_fragment_that_all_have_is_kept():
    drawn = {"fragment_rmsd": "0.02"}
    longer = (np.array([8, 1, 6], np.uint8), WATER[1] + [[0, 0, 0], [0, 0, 0], [0.5, 0, 0]])
    kept, rows = kept_fragment({0: Record(*WATER, "", drawn), 2: Record(*longer, "", drawn), 3: Record(*WATER)})
    assert (kept, rows) == ((0, 1), frozenset({0, 2}))
    assert kept_fragment({0: Record(*WATER, "", drawn)}) == ((), None)


def test_molecules_in_memory_and_of_a_stored_result(tmp_path):
    molecules = pack([WATER, WATER])
    found = gaga.view(molecules, out=tmp_path / "memory.html", dataset="none")
    assert columns(found.path)["unique"] == [True, False]
    with pytest.raises(InvalidInput, match="no name"):
        gaga.view(molecules)
    record = {
        "positions": molecules.positions, "atomic_numbers": molecules.atomic_numbers, "offsets": molecules.offsets,
    }  # fmt: skip
    store = gaga.Store(tmp_path / "gaga.h5")
    from gaga.models.sampling.record import SampleRecord

    store.put("sample", "mols", SampleRecord(
        **record, seeds=np.array([4, 4]), indices=np.array([0, 1]), finite=np.ones(2, bool), stable=np.ones(2, bool),
        n_stable_atoms=np.full(2, 3), valid=np.ones(2, bool), smiles=("O", "O"), written=2, output_sha256="",
    ), config={}, inputs={})  # fmt: skip
    found = gaga.view("sample/mols", out=tmp_path / "stored.html", store=store, dataset="none")
    assert columns(found.path)["name"] == ["gaga-4-0", "gaga-4-1"]
    with pytest.raises(NotFound):
        gaga.view("sample/other", out=tmp_path / "other.html", store=store)


def test_bad_requests_are_refused_before_the_work(file, tmp_path):
    with pytest.raises(InvalidInput, match=r"\.html, \.png or \.svg"):
        gaga.view(file, out=tmp_path / "mols.gif")
    with pytest.raises(InvalidInput, match="at most 500"):
        gaga.view(file, out=tmp_path / "mols.png", first=501)
    with pytest.raises(InvalidInput, match="no such option"):
        gaga.view(file, colour="red")
    with pytest.raises(NotFound):
        gaga.view(tmp_path / "missing.sdf")
    empty = tmp_path / "none.sdf"
    empty.write_text("nothing\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n")
    with pytest.raises(InvalidInput, match="no usable molecule"):
        gaga.view(empty)


def test_texts_that_are_numbers():
    assert as_numbers(["1", None, "2.5", ""]) == [1, None, 2.5, None]
    assert as_numbers(["1", "x"]) == ["1", "x"]
    assert as_numbers(["inf"]) == ["inf"]
