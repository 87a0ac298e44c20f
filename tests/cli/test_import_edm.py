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


@pytest.mark.parametrize(
    ("folder", "words", "centred", "max_t"),
    [
        ("gaga_tiny", (), True, 550),
        ("edm_geom_tiny", (), False, 1000),
        ("edm_geom_tiny", ("--centred-features", "--max-t", 650), True, 650),
        ("gaga_tiny", ("--uncentred-features", "--max-t", 1000), False, 1000),
    ],
)
def test_it_says_whose_model_it_is_and_is_overruled(gaga, golden, tmp_path, folder, words, centred, max_t):
    ran = gaga("import-edm", golden / folder, "--out", "m.safetensors", *words)
    assert f"T* = {max_t} of 1000" in ran.out
    model = load_model(tmp_path / "m.safetensors")
    assert (model.space.centred_features, model.max_t) == (centred, max_t)
    payload = gaga("import-edm", golden / folder, "--out", "m.safetensors", "--overwrite", *words, "--json").json
    assert (payload["centred_features"], payload["max_t"]) == (centred, max_t)
    assert payload["taken_for"] in ran.out.replace("\n", " ")


def test_a_t_star_beyond_the_schedule_writes_nothing(gaga, golden, tmp_path):
    ran = gaga("import-edm", golden / "gaga_tiny", "--out", "m.safetensors", "--max-t", 1001)
    assert (ran.code, ran.out) == (1, "")
    assert "1 to 1000" in ran.err
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("sample", "--n", 1, "--steps", 2, "--out", "m.xyz"),
        ("truncation", "--timesteps", "300,550", "--split", "all", "--max-molecules", 2),
        ("gaussianity", "--timesteps", "300", "--split", "all", "--n-resamples", 10, "--n-null", 20),
    ],
    ids=lambda words: words[0],
)
def test_a_folder_opened_as_it_is_says_the_same(gaga, golden, xyz, words):
    ran = gaga(*words, "--checkpoint", golden / "gaga_tiny", "--dataset", xyz, "--device", "cpu", "--json")
    assert "GAGA's training, as args.pickle has max_t 550" in ran.err
    config = ran.json["stored"]["config"]
    assert config.get("t_start", 550) == 550
    assert ran.json.get("max_t", 550) == 550
    assert config.get("centred_features", True) is True


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
