import argparse
import os
import pickle
import shutil
from pathlib import Path

import pytest

from gaga import load_model
from gaga.base.errors import InvalidInput, NotFound
from gaga.cli.main import main
from gaga.models.edm import ARGUMENTS, WEIGHTS, is_edm_folder, read_arguments
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
    ],
)
def test_models_that_are_not_edms_egnn(folder, change, message):
    arguments = read_arguments(folder / ARGUMENTS) | change
    (folder / ARGUMENTS).write_bytes(pickle.dumps(argparse.Namespace(**arguments)))
    with pytest.raises(InvalidInput, match=message):
        load_model(folder)


def test_a_folder_without_its_files(tmp_path):
    assert not is_edm_folder(tmp_path)
    with pytest.raises(NotFound):
        load_model(tmp_path)


def test_all_types_are_decoded_without_charges():
    """Fluorine is the last type of QM9: a decoder that cuts a column off never makes it."""
    model = load_model(GOLDEN / "gaga_tiny")
    assert model.space.vocabulary[-1] == 9
    assert model.space.blocks["types"] == slice(3, 8)
