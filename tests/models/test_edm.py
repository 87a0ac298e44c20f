import argparse
import os
import pickle
import shutil
from pathlib import Path

import pytest

from gaga import load_model
from gaga.base.errors import InvalidInput, NotFound
from gaga.models.edm import ARGUMENTS, WEIGHTS, is_edm_folder, read_arguments

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
