import argparse
import os
import pickle
import shutil
from pathlib import Path

import pytest

from gaga import load_model
from gaga.cli.main import main
from gaga.core.errors import InvalidInput, NotFound
from gaga.models.api import model_digest
from gaga.models.edm import ARGUMENTS, WEIGHTS, edm_files, is_edm_folder, read_arguments
from tests.models.hostile import hostile_pickles

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN / "gaga_tiny", tmp_path / "edm"))


class Touch:
    """Unpickled carelessly, this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: argparse.Namespace(lr=x), lambda x: argparse.Namespace(a=[{"b": x}])]
)
def test_a_hostile_pickle_is_not_executed(folder, tmp_path, wrap):
    trap = tmp_path / "trap"
    (folder / ARGUMENTS).write_bytes(pickle.dumps(wrap(Touch(trap))))
    with pytest.raises(InvalidInput, match="not executed"):
        load_model(folder)
    assert not trap.exists()


@pytest.mark.parametrize(
    "change",
    [{"nf": 10**9}, {"n_layers": 10**9}, {"nf": "many"}, {"nf": None}, {"normalize_factors": [1, 4]}, {"nf": 10**30},
     {"normalize_factors": ["x", 4, 10]}, {"aggregation_method": 3}, {"norm_constant": float("nan")}],
)  # fmt: skip
def test_arguments_that_lie_are_refused_before_a_network_is_made(folder, change):
    arguments = read_arguments(folder / ARGUMENTS) | change
    (folder / ARGUMENTS).write_bytes(pickle.dumps(argparse.Namespace(**arguments)))
    with pytest.raises(InvalidInput):
        load_model(folder)


@pytest.mark.parametrize("command", ["import-edm", "sample"])
def test_no_entry_point_executes_a_pickle(folder, tmp_path, command, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    honest = {name: (folder / name).read_bytes() for name in (ARGUMENTS, WEIGHTS)}
    words = [command, str(folder)] if command == "import-edm" else [command, "--checkpoint", str(folder)]
    for name, program in hostile_pickles(tmp_path / "trap"):
        for file in (ARGUMENTS, WEIGHTS):
            (folder / file).write_bytes(program)
            assert main(words) == 1, name
            said = capsys.readouterr().err
            assert "bug" not in said, name
            assert said.count("\n") == 1, name
            (folder / file).write_bytes(honest[file])
        assert not (tmp_path / "trap").exists(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edm"]


def test_hostile_weights_are_not_executed(folder, tmp_path):
    trap = tmp_path / "trap"
    (folder / WEIGHTS).write_bytes(pickle.dumps({"a": Touch(trap)}))
    with pytest.raises(InvalidInput, match="not a torch state dict"):
        load_model(folder)
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"hello", b"\x80\x04K\x01."])
def test_broken_arguments(folder, content):
    (folder / ARGUMENTS).write_bytes(content)
    with pytest.raises(InvalidInput, match=ARGUMENTS):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sin_embedding": True}, "sin_embedding"),
        ({"context_node_nf": 1}, "context_node_nf"),
        ({"dataset": "moon"}, "unknown data set"),
        ({"nf": 64}, "do not fit"),
        ({"latent_nf": 2}, "GeoLDM"),
    ],
)
def test_models_that_are_not_edms_egnn(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(InvalidInput, match=message):
        load_model(folder)


def rewrite(folder, change):
    """Change arguments of a folder; what becomes `...` is left out."""
    arguments = read_arguments(folder / ARGUMENTS) | change
    kept = {name: value for name, value in arguments.items() if value is not ...}
    (folder / ARGUMENTS).write_bytes(pickle.dumps(argparse.Namespace(**kept)))


@pytest.mark.parametrize(
    ("golden", "change", "centred", "max_t", "said"),
    [
        ("edm_geom_tiny", {}, False, 1000, "EDM's training, as args.pickle has no max_t and no charges"),
        ("edm_geom_tiny", {"max_t": 650}, True, 650, "GAGA's training, as args.pickle has max_t 650 and no charges"),
        ("gaga_tiny", {}, True, 550, "T* = 550 of 1000"),
        ("gaga_tiny", {"max_t": ...}, False, 1000, "no max_t"),
        ("gaga_tiny", {"max_t": None}, True, 1000, "max_t None"),  # an option that was not given
        ("gaga_tiny", {"max_t": 1000}, True, 1000, "max_t 1000"),
        ("gaga_tiny", {"max_t": "550"}, True, 550, "max_t 550"),
        ("gaga_tiny", {"max_t": 550.0}, True, 550, "max_t 550.0"),
        ("edm_tiny", {}, False, 1000, "no max_t and charges"),
        ("edm_tiny", {"max_t": 400}, False, 400, "max_t 400 and charges"),
    ],
)  # fmt: skip
def test_max_t_tells_gagas_models_from_edms(tmp_path, golden, change, centred, max_t, said):
    folder = Path(shutil.copytree(GOLDEN / golden, tmp_path / "edm"))
    rewrite(folder, change)
    model = load_model(folder)
    assert (model.space.centred_features, model.max_t) == (centred, max_t)
    assert said in model.decided


@pytest.mark.parametrize("max_t", [0, -1, 1001, "many", "", 0.5, True, [550], float("nan")])
def test_a_max_t_that_is_no_step_is_named_and_overruled(folder, max_t):
    rewrite(folder, {"max_t": max_t})
    with pytest.raises(InvalidInput, match=r"max_t in .*args\.pickle is no step .* 1 to 1000.*--max-t"):
        load_model(folder)
    model = load_model(folder, max_t=300)
    assert (model.max_t, model.space.centred_features) == (300, True)


def test_what_the_arguments_tell_can_be_overruled(folder):
    model = load_model(folder, centred_features=False, max_t=1000)
    assert (model.max_t, model.space.centred_features) == (1000, False)
    assert "types not centred in each molecule (as asked), T* = 1000 of 1000 (as asked)" in model.decided
    for step in (0, 1001):
        with pytest.raises(InvalidInput, match="1 to 1000"):
            load_model(folder, max_t=step)
    for asked in ({"max_t": 500}, {"centred_features": True}):
        with pytest.raises(InvalidInput, match="a gaga checkpoint holds its own"):
            load_model("qm9_small", **asked)


NEWEST = [
    (["args.pickle", "generative_model.npy"], 0, 1),
    (["args_0.pickle", "generative_model_ema_0.npy"], 0, 1),
    (["args_0.pickle", "generative_model_0.npy", "generative_model_ema_0.npy"], 0, 2),
    (["args_9.pickle", "args_10.pickle", "generative_model_ema_9.npy", "generative_model_ema_10.npy"], 1, 3),
    (["args_9.pickle", "args_10.pickle", "generative_model_ema_9.npy"], 0, 2),
    (["args.pickle", "args_3.pickle", "generative_model_ema_3.npy", "generative_model_ema.npy"], 0, 3),
    (["args.pickle", "generative_model_ema_7.npy", "generative_model_12.npy"], 0, 2),
    (["args_2.pickle", "args_11.pickle", "generative_model_ema.npy"], 1, 2),
    (["args_0.pickle", "generative_model_ema_0.npy", "optim_9.npy", "generative_model_ema_9.npy.bak"], 0, 1),
]


@pytest.mark.parametrize(("names", "arguments", "weights"), NEWEST)
def test_the_newest_epoch_is_opened_and_its_average_first(folder, tmp_path, names, arguments, weights):
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for name in names:
        chosen = name in (names[arguments], names[weights])
        content = (folder / (ARGUMENTS if "args" in name else WEIGHTS)).read_bytes()
        (renamed / name).write_bytes(content if chosen else b"of another epoch")
    assert is_edm_folder(renamed)
    assert edm_files(renamed) == (renamed / names[arguments], renamed / names[weights])
    model = load_model(renamed)
    assert model.max_t == 550
    assert names[weights] in model.decided
    assert names[arguments] in model.decided


def test_a_start_of_training_is_imported_first(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.xyz").write_text("2\n\nC 0 0 0\nO 0 0 1.13\n" * 20)
    assert main(["train", "--dataset", "two.xyz", "--init-from", str(folder), "--max-t", "60"]) == 1
    assert "gaga import-edm DIR" in capsys.readouterr().err


def test_a_folder_is_known_by_its_arguments_too(folder):
    """Another T* gives other molecules: results of the one are not found for the other."""
    before = model_digest(folder)
    rewrite(folder, {"max_t": 450})
    assert model_digest(folder) != before
    assert model_digest(folder / "none") == ""


def test_a_folder_without_its_files(tmp_path):
    assert not is_edm_folder(tmp_path)
    with pytest.raises(NotFound):
        load_model(tmp_path)


def test_all_types_are_decoded_without_charges():
    """Fluorine is the last type of QM9: a decoder that cuts a column off never makes it."""
    model = load_model(GOLDEN / "gaga_tiny")
    assert model.space.vocabulary[-1] == 9
    assert model.space.blocks["types"] == slice(3, 8)
