"""gaga import-edm on the golden folders."""

import pickle

import pytest

from gaga import load_model


@pytest.fixture
def golden(pytestconfig):
    return pytestconfig.rootpath / "tests" / "golden"


def test_a_folder_becomes_a_checkpoint_that_knows_its_sizes(gaga, golden, tmp_path):
    ran = gaga("import-edm", golden / "gaga_tiny", "--dataset", "qm9", "--json")
    assert ran.json["has_sizes"] is True
    assert ran.json["charges"] is False
    model = load_model(tmp_path / "gaga_tiny.safetensors")
    assert model.known_moments().counts.sum() == 100_000


def test_without_a_data_set_it_says_what_is_lacking(gaga, golden, tmp_path):
    ran = gaga("import-edm", golden / "edm_tiny", "--out", "m.safetensors")
    assert ran.code == 0
    assert "it cannot sample: --dataset" in ran.out
    assert load_model(tmp_path / "m.safetensors").moments is None
    refused = gaga("import-edm", golden / "edm_tiny", "--out", "m.safetensors")
    assert refused.code == 1
    assert "--overwrite" in refused.err


def test_a_hostile_folder_is_refused_and_not_executed(gaga, golden, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "args.pickle").write_bytes(pickle.dumps(Hostile()))
    (folder / "generative_model_ema.npy").write_bytes((golden / "edm_tiny" / "generative_model_ema.npy").read_bytes())
    ran = gaga("import-edm", folder)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (1, "", 1)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("words", [("none",), (".",)])
def test_what_is_no_such_folder_is_a_line(gaga, words):
    ran = gaga("import-edm", *words)
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "args.pickle" in ran.err


def test_a_link_to_itself_is_one_line(gaga, tmp_path):
    link = tmp_path / "loop"
    link.symlink_to(link)
    for words in (["import-edm", link], ["evaluate", link], ["store", "delete", "a/b", "--store", link]):
        ran = gaga(*words)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert "bug" not in ran.err
