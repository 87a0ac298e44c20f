"""The studies of quality: each cell is drawn once, whatever ends the run, and its rates are those of gaga evaluate."""

import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from gaga.cli.main import main as gaga
from gaga.core.errors import InvalidInput
from gaga.data.features import FeatureSpace
from gaga.models.api import SHIPPED_CHECKPOINT
from gaga.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gaga.models.model import Model
from gaga.models.sampling.config import METHODS, SampleConfig
from gaga.models.sampling.molecules import JudgedMolecule
from gaga.models.sampling.solvers import solver_of
from gaga.models.training.log import History, Metrics
from gaga.noise import make_schedule
from gaga.stats.moments import estimate_moments
from tests.models.conftest import gaussian_moments, small_network, toy_molecules

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import quality
from measuring import cells, pairs, plot, studies, tables
from measuring.lines import Lines

CURVE = ("curve", "--n", "6", "--methods", "ddim", "annealed", "--evaluations", "2", "3", "--batch-size", "2")


@pytest.fixture
def checkpoint(tmp_path, monkeypatch) -> Path:
    """An untrained network over toy molecules, trained on all steps as its file says; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    network, space = small_network(2, dtype=torch.float32), FeatureSpace((1, 6))
    path = tmp_path / "toy.safetensors"
    toy = Checkpoint(
        network=network.config, space=space, schedule=make_schedule(), max_t=1000,
        moments=estimate_moments(toy_molecules(), space), weights=network.state_dict(), dataset="toy",
        provenance={"seed": 3, "steps": 40},
    )  # fmt: skip
    save_checkpoint(toy, path)
    return path


@pytest.fixture
def run(checkpoint, capsys):
    """The script with the toy model: exit code, stdout, and the rows of its file."""

    def main(*words):
        capsys.readouterr()
        named = () if {"--table", "--checkpoint"} & {*words} else ("--checkpoint", str(checkpoint))
        code = quality.main([*map(str, words), *named])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, Lines(Path("quality.jsonl")).rows()

    return main


def forbid_drawing(monkeypatch):
    monkeypatch.setattr(cells, "sample_batches", lambda *args, **kwargs: pytest.fail("drawn again"))


def told(row):
    """A row without what differs from run to run."""
    return {name: value for name, value in row.items() if name != "seconds_per_molecule"}


def test_cells_are_drawn_once(run, monkeypatch):
    out, rows = run(*CURVE)
    assert [row["labels"] for row in rows] == [
        {"method": method, "spacing": placed, "evaluations": steps}
        for method, placed in (("ddim", "power"), ("annealed", "arcsine"))
        for steps in (2, 3)
    ]
    assert {"aromatic", "triple_bond", "rings", "distance"} <= rows[0]["classes"].keys()
    assert "| aromatic | triple bond | smallest rings | total variation |" in out
    forbid_drawing(monkeypatch)
    assert run(*CURVE) == (out, rows)
    assert not [path for path in Path().iterdir() if path.name.startswith(".cell")]


def test_a_cell_of_another_study_is_not_drawn_again(run, monkeypatch):
    _, rows = run("precision", "--n", 3, "--methods", "ddim", "--steps", 3)
    forbid_drawing(monkeypatch)
    out, again = run("curve", "--n", 3, "--methods", "ddim", "--evaluations", 3)
    assert again[2] == rows[0] | {
        "study": "curve", "labels": {"method": "ddim", "spacing": "power", "evaluations": 3}
    }  # fmt: skip
    assert "| ddim | power | 3 |" in out


def test_a_run_that_is_killed_within_a_cell_goes_on(run, checkpoint, monkeypatch, capsys):
    _, whole = run(*CURVE)
    Path("quality.jsonl").unlink()
    draw, drawn = cells.sample_batches, []

    def killed(*args, **kwargs):
        yield from islice(draw(*args, **kwargs), 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "sample_batches", killed)
    assert quality.main([*CURVE, "--checkpoint", str(checkpoint)]) == 130
    assert "the same command goes on" in capsys.readouterr().err

    def counted(*args, **kwargs):
        for batch in draw(*args, **kwargs):
            drawn.append(len(batch))
            yield batch

    monkeypatch.setattr(cells, "sample_batches", counted)
    _, rows = run(*CURVE)
    assert sum(drawn) == 4 * 6 - 4  # of the first cell two batches of two molecules were there
    assert list(map(told, rows)) == list(map(told, whole))


def test_a_torn_last_line_is_dropped_and_its_cell_drawn_again(run):
    _, rows = run(*CURVE)
    content = Path("quality.jsonl").read_bytes()
    Path("quality.jsonl").write_bytes(content[:-100])
    assert Lines(Path("quality.jsonl")).rows() == rows[:3]
    _, again = run(*CURVE)
    assert list(map(told, again)) == list(map(told, rows))
    assert len(Path("quality.jsonl").read_bytes().splitlines()) == 4


def test_a_file_of_something_else_is_refused(run, checkpoint, capsys):
    Path("quality.jsonl").write_text('{"step": 1}\n')
    assert quality.main([*CURVE, "--checkpoint", str(checkpoint)]) == 1
    assert "line 1 of quality.jsonl is no cell of a study" in capsys.readouterr().err


def test_strict_validity_is_added_where_it_is_asked_for(run):
    run("curve", "--n", 2, "--methods", "ddim", "--evaluations", 2)
    out, rows = run("curve", "--n", 2, "--methods", "ddim", "--evaluations", 2, "--strict")
    assert [list(row["rates"]) for row in rows] == [["edm"], ["edm", "strict"]]
    assert out.count("| ddim |") == 1
    assert "valid, strict" in out


def test_rates_are_those_of_gaga_evaluate_and_molecules_those_of_gaga_sample(tmp_path, monkeypatch, capsys):
    """With the shipped model, as of an untrained one nothing is stable: drawn twice, the store's are judged only."""
    monkeypatch.chdir(tmp_path)
    way = ("--method", "annealed", "--steps", "12", "--spacing", "log-snr")
    assert gaga(["sample", "--n", "5", "--out", "m.xyz", "--store", "drawn.h5", "--checkpoint",
                 str(SHIPPED_CHECKPOINT), *way]) == 0  # fmt: skip
    capsys.readouterr()
    assert gaga(["evaluate", "m.xyz", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)["rates"]
    curve = ("curve", "--n", "5", "--evaluations", "12", "--methods", "annealed", "--spacing", "log-snr")
    assert quality.main([*curve, "--out", "drawn.jsonl"]) == 0
    assert quality.main(["stored", "drawn.h5", "--out", "stored.jsonl"]) == 0
    (drawn,), (stored,) = Lines(Path("drawn.jsonl")).rows(), Lines(Path("stored.jsonl")).rows()
    for name, rate in drawn["rates"]["edm"].items():
        assert rate == {key: value for key, value in evaluated[name].items() if key != "value"}
    assert drawn["rates"]["edm"]["atom_stable"]["numerator"] > 0
    assert all(stored[name] == drawn[name] for name in ("id", "key", "rates", "molecules", "evaluations", "dataset"))
    forbid_drawing(monkeypatch)
    assert quality.main(["stored", "drawn.h5", "--out", "stored.jsonl"]) == 0
    assert quality.main([*curve, "--out", "stored.jsonl"]) == 0
    assert [row["study"] for row in Lines(Path("stored.jsonl")).rows()] == ["stored", "curve"]


def test_a_store_without_samples_is_refused(run, checkpoint, capsys):
    assert quality.main(["stored", "none.h5", "--checkpoint", str(checkpoint)]) == 1
    assert "no sample is stored there" in capsys.readouterr().err


def test_a_molecule_that_is_not_finite_fails_everything():
    water = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]], dtype=np.float32)
    oxygen_hydrogens = np.array([8, 1, 1], np.uint8)
    lost = {"stable": False, "n_stable_atoms": 0, "valid": None, "smiles": "", "text": b""}
    drawn = [
        JudgedMolecule(seed=0, index=i, atomic_numbers=oxygen_hydrogens, positions=water, finite=i == 0, **lost)
        for i in range(2)
    ]
    about = {"study": "curve", "labels": {}, "dataset": "toy"}
    key = cells.key_of("", SampleConfig(), 550, "float32", 2, 0)
    row = cells.row_of(key, cells.judged_molecules(drawn), ("edm", "strict"), **about)
    assert row["not_finite"] == 1
    for protocol in ("edm", "strict"):
        for name in ("molecule_stable", "valid", "connected", "valid_and_unique"):
            assert (row["rates"][protocol][name]["numerator"], row["rates"][protocol][name]["denominator"]) == (1, 2)


@pytest.mark.parametrize("steps", [None, 2, 3, 9, 50])
@pytest.mark.parametrize("method", METHODS)
def test_evaluations_are_counted_as_the_solver_does(method, steps):
    schedule, space = make_schedule(), FeatureSpace((1, 6, 7, 8, 9))
    model = Model(small_network(), schedule, space, max_t=550, moments=gaussian_moments())
    config = SampleConfig(method=method, steps=steps, t_start=500)
    assert cells.evaluations_of(config, 550) == len(solver_of(model, config))


def asked(checkpoint, way=None, **changes):
    way = way or SampleConfig(steps=50)
    return studies.Asked(sources=(cells.Source.of(checkpoint),), way=way, n=4, seed=0, **changes)


def test_truncation_is_held_against_the_whole_way_from_the_prior(checkpoint):
    every_step = SampleConfig(method="ddpm")
    found = studies.cells_of("truncation", asked(checkpoint, way=every_step, t_stars=(250, 1000, 1500)))
    assert [cell.labels["T*"] for cell in found] == [1000] + [250] * 5 + [1000] * 5
    assert found[0].labels["start"] == "prior"
    assert {cell.against for cell in found[1:]} == {found[0].id}
    assert len({cell.id for cell in found}) == 11
    assert found[1].evaluations == 251
    with pytest.raises(InvalidInput, match="steps 0 to 1000"):
        studies.cells_of("truncation", asked(checkpoint, t_stars=(1500,)))


def test_spacings_are_each_drawn_once(checkpoint):
    found = studies.cells_of("spacing", asked(checkpoint))
    assert len(found) == len({cell.id for cell in found}) == 6 * 6 + 7 - 1
    raised = [cell.labels["raised"] for cell in found if cell.labels["spacing"] == "arcsine, bend 2"]
    assert raised == ["–", "–", "–", "–", "–", 1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0]
    assert studies.parse_spacings(["log-snr", "ddpm=steps"]) == ("log-snr", {"ddpm": "steps"})
    with pytest.raises(InvalidInput, match="unknown sampling method"):
        studies.parse_spacings(["euler=steps"])


def test_precision_is_compared_molecule_by_molecule(run):
    out, rows = run("precision", "--n", 3, "--methods", "ddim", "--steps", 2)
    exact, rounded = rows
    assert [row["key"]["precision"] for row in rows] == ["float32", "bfloat16"]
    assert rounded["against"] == exact["id"]
    assert exact["molecules"]["n_atoms"] == rounded["molecules"]["n_atoms"]
    assert "Δ molecules stable" in out


def a_row(**molecules):
    verdicts = {"n_atoms": [4] * 8, "stable_atoms": [4] * 8, "stable": "1" * 8, "valid_and_unique": "1" * 8}
    return {"id": "", "key": {"seed": 0}, "molecules": verdicts | molecules}


def test_paired_differences():
    one, other = a_row(stable="11110000", stable_atoms=[4, 4, 4, 4, 2, 2, 2, 2]), a_row(stable="11000000")
    found = pairs.difference(one, other, "molecule_stable")
    assert found.value == pytest.approx(2 / 8)
    assert 0 == found.low < found.value < found.high <= 1
    assert pairs.difference(one, other, "atom_stable").value == pytest.approx(-8 / 32)
    assert pairs.difference(one, one, "molecule_stable") == pairs.Difference(0, 0, 0)
    with pytest.raises(InvalidInput, match="sizes are the same"):
        pairs.difference(one, a_row(n_atoms=[5] * 8), "molecule_stable")


def test_pairs_see_what_two_intervals_do_not():
    """Molecules that are stable in both cells are no noise of the difference: its interval is that of the changed."""
    rng = np.random.default_rng(0)
    common = rng.random(2000) < 0.5
    gained = common | (rng.random(2000) < 0.04)
    texts = ["".join("01"[int(flag)] for flag in flags) for flags in (gained, common)]
    many = {"n_atoms": [4] * 2000, "stable_atoms": [4] * 2000}
    found = pairs.difference(*(a_row(stable=text, **many) for text in texts), "molecule_stable")
    expected = np.sqrt(found.value * (1 - found.value) / 2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * expected, rel=0.15)


def test_training_has_mean_and_spread_over_seeds(run, checkpoint):
    for number, stable in enumerate((0.5, 0.95)):
        folder = Path(f"run{number}")
        folder.mkdir()
        network = small_network(2, dtype=torch.float32)
        toy = load_checkpoint(checkpoint)
        weights = {name: value * (1 + 0.1 * number) for name, value in network.state_dict().items()}
        save_checkpoint(replace(toy, weights=weights, max_t=300), folder / "model.safetensors")
        row = Metrics(step=10, epoch=0, seconds=1.0, learning_rate=1e-3, train_loss=1.0, gradient_norm=1.0)
        History([replace(row, atom_stable=stable)]).write(folder / "metrics.jsonl")
    out, rows = run("training", "--checkpoint", "t300=run0", "t300=run1", "--n", 3, "--steps", 2, "--method", "ddim")
    assert [row["key"]["config"]["t_start"] for row in rows] == [300, 300]
    assert [row["labels"]["steps to 90 % stable atoms"] for row in rows] == ["not reached", 10]
    assert "| **t300**, mean ± sd | 300 | – | – | 2 seeds |" in out
    assert len({row["key"]["checkpoint"] for row in rows}) == 2


def test_the_table_and_the_plot_come_from_the_file_alone(run, checkpoint):
    out, _ = run(*CURVE)
    checkpoint.unlink()
    again, _ = run("curve", "--table", "quality.jsonl", "--plot", "curve.png")
    assert again == out
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")
    assert run("spacing", "--table", "quality.jsonl")[0] == "No cell of spacing is there.\n"


def test_lines_of_the_plot_are_methods_and_where_there_are_several_their_spacings(run):
    one = ("curve", "--n", 2, "--evaluations", 2)
    run(*one, "--methods", "ddim", "heun")
    _, rows = run(*one, "--methods", "ddim", "--spacing", "steps")
    lines = plot._lines(rows)
    assert {name: len(members) for name, members in lines.items()} == {"ddim, power": 1, "heun": 1, "ddim, steps": 1}
    assert plot._ticks([9, 10, 15, 549, 550, 551]) == [551, 15, 10]


def test_cells_of_two_seeds_are_two_tables_and_no_plot(run, checkpoint):
    one = ("curve", "--methods", "ddim", "--evaluations", 2, "--n", 2)
    run(*one)
    _, rows = run(*one, "--seed", 1)
    out, _ = run("curve", "--table", "quality.jsonl")
    assert (out.count("seed 0"), out.count("seed 1")) == (1, 1)
    with pytest.raises(InvalidInput, match="2 kinds of cells"):
        plot.plot_curve(rows, Path("curve.png"))


def test_the_datas_own_row_stands_below_cells_of_qm9(run):
    _, rows = run("curve", "--methods", "ddim", "--evaluations", 2, "--n", 2)
    assert "qm9, test split" not in tables.tables(rows, "curve")
    lines = tables.tables([rows[0] | {"dataset": "qm9"}], "curve").splitlines()
    (data,) = [line for line in lines if "qm9, test" in line]
    assert data.startswith("| qm9, test split, 13,083 molecules | – | – | 99.3 | 95.2 | 97.7 | 97.7 |")
