import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from gaga import Store, load_model
from gaga.models.checkpoint import load_checkpoint, save_checkpoint
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.record import SampleRecord
from gaga.models.sampling.solvers import returned_variances
from tests.cli import processes

FAST = ("--checkpoint", "qm9_small", "--method", "ddpm", "--stride", "50", "--threads", "1")
GOLDEN = Path(__file__).parent.parent / "golden"


def records(path):
    from rdkit import Chem

    return list(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False))


def test_the_shipped_model_writes_an_sdf_that_rdkit_reads(gaga, tmp_path):
    ran = gaga("sample", "--n", "5", "--out", "mols.sdf", *FAST, "--json")
    assert ran.json["molecules"] == ran.json["written"] == 5
    molecules = records(tmp_path / "mols.sdf")
    assert len(molecules) == 5
    for i, molecule in enumerate(molecules):
        assert molecule.GetConformer().Is3D()
        assert molecule.GetProp("gaga_seed") == "0"
        assert molecule.GetProp("gaga_index") == str(i)
        for name in ("stable_edm", "stable_atoms_edm", "valid_strict", "bonds", "checkpoint"):
            assert molecule.HasProp(name)
    with h5py.File(tmp_path / "gaga.h5") as file:
        assert "sample/mols" in file


def test_a_molecule_does_not_depend_on_its_batch(gaga, tmp_path):
    assert gaga("sample", "--n", "4", "--out", "a.xyz", *FAST).code == 0
    assert gaga("sample", "--n", "4", "--out", "b.xyz", *FAST, "--batch-size", "1").code == 0
    a, b = ((tmp_path / f"{name}.xyz").read_text().split() for name in "ab")
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        try:
            assert float(x) == pytest.approx(float(y), abs=2e-3)  # four times what docs/RELIABILITY.md, 9, has seen
        except ValueError:
            assert x == y


def test_what_a_sampler_does_to_variances_is_said_stored_and_in_json(gaga, tmp_path):
    how = ("--checkpoint", "qm9_small", "--steps", "4", "--n", "2", "--threads", "1", "--json")
    sharp = gaga("sample", "--method", "annealed", "--out", "a.sdf", *how)
    assert "This way of sampling sharpens: Gaussian data come out with 0.7" in sharp.err
    assert "--method sde keeps the distribution" in sharp.err
    config = SampleConfig(method="annealed", steps=4)
    expected = dict(zip(("molecule", "bonds"), returned_variances(load_model("qm9_small"), config), strict=True))
    assert sharp.json["returned_variance"] == pytest.approx(expected)
    stored = Store(tmp_path / "gaga.h5").get("sample", "a", SampleRecord)
    assert stored.variance_bonds == pytest.approx(expected["bonds"])
    even = gaga("sample", "--method", "sde", "--out", "b.sdf", *how[:2], "--steps", "50", *how[4:])
    assert "This way of sampling" not in even.err
    assert even.json["returned_variance"] == pytest.approx({"molecule": 1.0, "bonds": 1.0}, abs=0.015)


def test_a_range_of_levels_is_two_numbers(gaga):
    """Both behind one option; one alone is wrong usage."""
    how = ("--checkpoint", "qm9_small", "--n", "1", "--method", "annealed", "--steps", "3", "--threads", "1")
    ran = gaga("sample", *how, "--raised-between", "0.1", "0.5", "--out", "a.xyz")
    assert ran.code == 0, ran.err
    assert gaga("store", "show", "a", "--json").json["config"]["raised_between"] == [0.1, 0.5]
    assert gaga("sample", *how, "--out", "b.xyz", "--raised-between", "0").code == 2


def test_unique_molecules_are_written_once(gaga, tmp_path):
    """Of four atoms there are few molecules: some come twice."""
    how = ("--checkpoint", "qm9_small", "--sizes", "4:5", "--steps", "12", "--n", "40", "--threads", "1", "--json")
    ran = gaga("sample", "--keep", "unique", "--out", "u.smi", *how)
    lines = [line.split("\t")[0] for line in (tmp_path / "u.smi").read_text().splitlines()]
    valid = round(ran.json["rates"]["valid_strict"]["value"] * 40)
    assert 1 <= ran.json["written"] == len(lines) == len(set(lines)) < valid


def test_molecules_on_standard_output(gaga, tmp_path):
    piped = gaga("sample", "--n", "3", "--out", "-", "--format", "sdf", *FAST)
    assert gaga("sample", "--n", "3", "--out", "mols.sdf", *FAST).code == 0
    assert (piped.code, piped.out) == (0, (tmp_path / "mols.sdf").read_text())
    assert "3 molecules drawn" in piped.err
    assert "Wrote 3 of 3 molecules to standard output." in piped.err
    assert not list(tmp_path.glob("*stdout*"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-"], "needs --format; choose from sdf, sdf.gz, xyz"),
        (["-", "--format", "pdb"], "choose from sdf"),
        (["-", "--format", "xyz", "--json"], "--json cannot go with --out -"),
        (["-", "--format", "xyz", "--resume"], "--resume cannot go with --out -"),
        (["m.sdf", "--format", "xyz"], "--format is for standard output"),
    ],
)
def test_what_standard_output_does_not_go_with(gaga, words, why):
    ran = gaga("sample", "--n", "1", "--out", *words)
    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    command = ["sample", "--n", "24", "--method", "ddpm", "--stride", "10",
               "--checkpoint", "qm9_small", "--batch-size", "4", "--store", "s.h5"]  # fmt: skip

    def run(*words):
        return processes.run(tmp_path, *command, *words)

    assert run("--out", "a.sdf").returncode == 0
    spool = tmp_path / ".b.sdf.unfinished"

    def begun():
        return spool.exists() and spool.stat().st_size >= 1500

    assert processes.interrupted(tmp_path, signal.SIGKILL, begun, *command, "--out", "b.sdf").returncode == -9
    refused = run("--out", "b.sdf")
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    resumed = run("--out", "b.sdf", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming after" in resumed.stderr
    assert (tmp_path / "a.sdf").read_bytes() == (tmp_path / "b.sdf").read_bytes()
    for words in ((), ("--resume",)):
        again = run("--out", "b.sdf", *words)
        assert again.returncode == 0
        assert "Found sample/b" in again.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"a.sdf", "b.sdf", "s.h5"}


@pytest.mark.slow
def test_a_run_that_is_killed_ten_times_has_every_molecule_in_the_order_of_its_seed(pytestconfig):
    """By SIGKILL, SIGTERM and SIGINT in turn; benchmarks/kill_sampling.py holds the output against an untouched run."""
    root = pytestconfig.rootpath
    script = [sys.executable, root / "benchmarks" / "kill_sampling.py", "200", "--signals", "all", "--stride", "275"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ran = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "200 molecules, 10 kills, 0 failures" in ran.stdout


def test_molecules_judged_in_other_processes_are_the_same(gaga, tmp_path, monkeypatch):
    from gaga.models.sampling import judge
    from gaga.runs import sample as runs

    assert gaga("sample", "--n", "20", "--out", "a.sdf", *FAST).code == 0
    monkeypatch.setattr(runs, "judging_processes", lambda device: 2)
    monkeypatch.setattr(judge, "_WORTH_PROCESSES", 2)
    assert gaga("sample", "--n", "20", "--out", "b.sdf", *FAST).code == 0
    assert (tmp_path / "a.sdf").read_bytes() == (tmp_path / "b.sdf").read_bytes()


def test_files_that_are_there_are_kept(gaga, tmp_path):
    assert gaga("sample", "--n", "1", "--out", "a.sdf", "--trajectory", "1", "--frames", "2", *FAST).code == 0
    frames = (tmp_path / "a_trajectory_0.xyz").read_bytes()
    for words in (
        ("--out", "a.xyz", "--trajectory", "1", "--seed", "2", "--name", "a2"),
        ("--out", "a.sdf", "--keep", "valid"),
    ):
        ran = gaga("sample", "--n", "1", "--frames", "2", *words, *FAST)
        assert ran.code == 1
        assert "--overwrite" in ran.err
    assert (tmp_path / "a_trajectory_0.xyz").read_bytes() == frames
    (tmp_path / "junk.xyz").write_text("junk")
    ran = gaga("sample", "--n", "1", "--out", "junk.xyz", "--resume", *FAST)
    assert (ran.code, (tmp_path / "junk.xyz").read_text()) == (1, "junk")


def test_molecules_as_large_as_the_largest_drugs_are_drawn_beside_small_ones(gaga, tmp_path):
    ran = gaga("sample", "--n", "2", "--seed", "5", "--out", "drugs.xyz", "--sizes", "2,181", "--steps", "2",
               "--checkpoint", "qm9_small")  # fmt: skip
    assert ran.code == 0, ran.err
    lines = (tmp_path / "drugs.xyz").read_text().splitlines()
    sizes, at = [], 0
    while at < len(lines):
        sizes.append(int(lines[at]))
        at += sizes[-1] + 2
    assert len(sizes) == 2
    assert set(sizes) == {2, 181}


def test_smiles_files_hold_those_that_have_one_and_large_sizes_are_warned_of(gaga, tmp_path):
    ran = gaga("sample", "--n", "2", "--out", "M.SMI", "--sizes", "31", "--start", "size", *FAST)
    assert ran.code == 0, ran.err
    assert "No molecules of 31 atoms were in the data: few of them will be valid." in ran.err
    assert (tmp_path / "M.SMI").exists()


def test_repeats_keep_and_trajectories(gaga, tmp_path):
    ran = gaga("sample", "--n", "3", "--repeats", "2", "--seed", "5", "--out", "m.sdf", "--keep", "valid",
               "--trajectory", "2", "--frames", "4", *FAST, "--json").json  # fmt: skip
    assert ran["molecules"] == 6
    assert [row["seed"] for row in ran["by_seed"]] == [5, 6]
    first, second = (row["atom_stable_edm"] for row in ran["by_seed"])
    assert ran["over_seeds"]["atom_stable_edm"] == pytest.approx(
        {"mean": (first + second) / 2, "deviation": abs(first - second) / 2**0.5}
    )
    assert (
        ran["written"]
        == (tmp_path / "m.sdf").read_text().count("$$$$")
        == round(6 * ran["rates"]["valid_strict"]["value"])
    )
    for i in range(2):
        frames = (tmp_path / f"m_trajectory_{i}.xyz").read_text().splitlines()
        n_atoms = int(frames[0])
        assert len(frames) == 5 * (n_atoms + 2)


def test_sizes_and_start(gaga, tmp_path):
    ran = gaga(
        "sample", "--n", "6", "--sizes", "7,9", "--out", "m.xyz", "--start", "published", "--t-start", "300", *FAST
    )
    assert ran.code == 0
    lines = (tmp_path / "m.xyz").read_text().splitlines()
    assert {int(lines[0])} <= {7, 9}


def test_a_composition_is_counted_among_the_molecules_that_were_drawn(gaga):
    words = ("--composition-start", "C7H10O2", "--shape", "1.1,3,9", *FAST)
    ran = gaga("sample", "--n", "3", "--out", "a.sdf", *words)
    assert "of 3 molecules (" in ran.out
    assert ") are C7H10O2." in ran.out
    again = gaga("sample", "--n", "3", "--out", "a.sdf", *words, "--json")
    assert again.json["composition"]["asked"] == "C7H10O2"
    assert f"{again.json['composition']['molecules']} of 3" in ran.out
    exact = gaga("sample", "--n", "3", "--out", "b.sdf", "--composition", "C7H10O2", *FAST)
    assert "3 of 3 molecules (100.0 %) are C7H10O2." in exact.out
    other = gaga("sample", "--n", "3", "--out", "a.sdf", "--composition", "C7H10O2", *FAST)
    assert other.code == 1
    assert "a.sdf is already there" in other.err


def test_what_was_asked_for_is_in_the_records(gaga, tmp_path):
    """Around a molecule: how like it each is. A fragment: in its place, with how far off it was."""
    (tmp_path / "water.xyz").write_text("3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n")
    ran = gaga("sample", "--n", "3", "--out", "a.sdf", "--around", "water.xyz", "--strength", "0", *FAST)
    assert ran.code == 0, ran.err
    text = (tmp_path / "a.sdf").read_text()
    assert text.count(">  <similarity_to_input>\n1.000") == 3
    assert text.count(">  <rmsd_to_input>\n0\n") == 3
    words = ("--scaffold", "water.xyz", "--attach", "1", "--atoms", "5", "--resample", "2", *FAST)
    ran = gaga("sample", "--n", "2", "--out", "b.sdf", *words)
    assert "The fragment's atoms were" in ran.err
    assert "nothing can bind" not in ran.err
    text = (tmp_path / "b.sdf").read_text()
    assert text.count(">  <fragment_rmsd>") == 2
    assert text.count("    0.0000    0.0000    0.1190 O") == 2
    (tmp_path / "water.xyz").write_text("3\nwater\nO 0 0 0.2\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n")
    assert "already there" in gaga("sample", "--n", "2", "--out", "b.sdf", *words).err  # another fragment, another run
    closed = gaga("sample", "--n", "1", "--out", "c.sdf", *words[:2], "--atoms", "5", *words[6:])
    assert "a whole molecule by itself, O: nothing can bind to it" in closed.err
    assert "with --attach" in closed.err


def test_shapes_that_an_older_checkpoint_lacks_are_read_from_its_data(gaga, xyz, tmp_path):
    folder, old = GOLDEN / "gaga_tiny", tmp_path / "old.safetensors"
    assert gaga("import-edm", folder, "--dataset", xyz, "--out", "new.safetensors").code == 0
    new = load_checkpoint(tmp_path / "new.safetensors")
    save_checkpoint(replace(new, shapes=None, provenance={}), old)
    words = ("sample", "--n", "2", "--start", "shape", "--method", "ddpm", "--stride", "200", "--threads", "1")
    failed = gaga(*words, "--checkpoint", old, "--out", "a.xyz")
    assert failed.code == 1
    assert "Name the data that it was trained on with --dataset" in failed.err
    assert gaga(*words, "--checkpoint", old, "--dataset", xyz, "--out", "a.xyz").code == 0
    assert gaga(*words, "--checkpoint", "new.safetensors", "--out", "b.xyz").code == 0
    a, b = (Store(tmp_path / "gaga.h5").get("sample", name, SampleRecord).positions for name in "ab")
    np.testing.assert_array_equal(a, b)


def test_an_edm_folder_asks_for_its_data_once(gaga, xyz, tmp_path):
    folder = shutil.copytree(GOLDEN / "gaga_tiny", tmp_path / "edm")
    ran = gaga("sample", "--n", "1", "--checkpoint", folder, "--out", "m.xyz")
    assert ran.code == 1
    assert "gaga import-edm" in ran.err
    assert gaga("import-edm", folder, "--dataset", xyz, "--out", "m.safetensors").code == 0
    assert (
        gaga(
            "sample",
            "--n",
            "1",
            "--checkpoint",
            "m.safetensors",
            "--out",
            "m.xyz",
            "--method",
            "ddpm",
            "--stride",
            "200",
        ).code
        == 0
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--n", "0"), 2, "--n"),
        (("--out", "m.pdb"), 1, ".sdf"),
        (("--out", "no/m.sdf"), 1, "folder does not exist"),
        (("--checkpoint", "none.safetensors"), 1, "no checkpoint there"),
        (("--checkpoint", "tiny.xyz"), 1, "not a readable checkpoint"),
        (("--device", "cuda:9"), 1, "no such CUDA device"),
        (("--t-start", "900"), 1, "trained on steps 0 to 550"),
        (("--start", "best"), 2, "best is not one of"),
        (("--method", "euler"), 2, "euler is not one of"),
        (("--keep", "some"), 2, "--keep"),
        (("--sizes", "x"), 2, "--sizes"),
        (("--shape", "1,2"), 2, "three numbers"),
        (("--shape", "1,2,0"), 2, "three numbers"),
        (("--composition", "C2Xx"), 1, "unknown chemical element"),
        (("--composition", "C2Cl2"), 1, "does not know Cl"),
        (("--composition", "C20H42"), 1, "largest molecule"),
        (("--around", "none.sdf"), 1, "none.sdf"),
        (("--around", "tiny.xyz", "--strength", "9"), 1, "strongest noise"),
        (("--strength", "0.3"), 1, "--strength goes with --around"),
        (("--scaffold", "tiny.xyz", "--atoms", "2", "--fix", "1-9"), 1, "larger than the molecules asked for"),
        (("--scaffold", "tiny.xyz", "--fix", "x"), 2, "--fix"),
        (("--heavy-atoms", "x"), 2, "--heavy-atoms"),
        (("--overwrite", "--resume"), 2, "one of them"),
        (("--store", "tiny.xyz"), 1, "tiny.xyz"),
    ],
)
def test_wrong_words_get_one_line_and_leave_nothing(gaga, xyz, tmp_path, words, code, message):
    ran = gaga("sample", "--n", "1", *words)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.xyz"]


def test_a_result_that_another_run_stored_meanwhile_is_kept_and_the_work_too(gaga, tmp_path, monkeypatch):
    """Two runs of one name at once, into two files: the second to end is refused, and goes on under another name."""
    from gaga.runs import sample as runs

    draw_all = runs._drawn_and_written

    def overtaken(*task):
        monkeypatch.setattr(runs, "_drawn_and_written", draw_all)
        assert gaga("sample", "--n", "1", "--out", "m.xyz", *FAST).code == 0
        return draw_all(*task)

    monkeypatch.setattr(runs, "_drawn_and_written", overtaken)
    ran = gaga("sample", "--n", "2", "--out", "m.sdf", *FAST)
    assert ran.code == 1
    assert "what was computed is kept" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.sdf.unfinished", "gaga.h5", "m.xyz"]
    assert gaga("sample", "--n", "2", "--out", "m.sdf", "--name", "other", "--resume", *FAST).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gaga.h5", "m.sdf", "m.xyz"]


@pytest.mark.parametrize(("words", "left"), [((), []), (("--trajectory", "1"), [".m.sdf.unfinished"])])
def test_a_failure_leaves_nothing_but_what_it_says_is_kept(gaga, tmp_path, monkeypatch, words, left):
    from gaga.core.errors import Unavailable
    from gaga.models.sampling.unfinished import UnfinishedSamples

    def full(spool, molecules):
        raise Unavailable("cannot write .m.sdf.unfinished: No space left on device", remedy="free some space")

    command = ("sample", "--n", "1", "--out", "m.sdf", *words, *FAST)
    with monkeypatch.context() as patch:
        patch.setattr(UnfinishedSamples, "add", full)
        ran = gaga(*command)
    assert ran.code == 1
    assert ("--resume" in ran.err) == bool(left)
    assert [path.name for path in sorted(tmp_path.glob("*sdf*"))] == left
    assert gaga(*command, *(["--resume"] if left else [])).code == 0


def test_an_output_that_is_there_is_kept(gaga, tmp_path):
    (tmp_path / "mols.sdf").write_text("mine")
    ran = gaga("sample", "--n", "1", *FAST)
    assert ran.code == 1
    assert "--overwrite" in ran.err
    assert (tmp_path / "mols.sdf").read_text() == "mine"
    assert gaga("sample", "--n", "1", "--overwrite", *FAST).code == 0
