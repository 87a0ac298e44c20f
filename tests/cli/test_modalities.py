"""gaga modalities, from what ships and with arrays and molecules of the user's own."""

from importlib import resources

import numpy as np
import pytest

from gaga.cli.modalities import CLOSE, MOST, WHAT_HOLDS
from gaga.data import images
from gaga.runs.modalities import SHIPPED, as_json, shipped


def test_what_ships_at_once_with_its_figure(gaga, tmp_path):
    ran = gaga("modalities", "--plot", "m.png")
    assert ran.code == 0, ran.err
    assert (tmp_path / "m.png").stat().st_size > 50_000
    assert WHAT_HOLDS in ran.out
    for name in ("qm9 positions", "qm9 types", "mnist", "digits", "faces", "photos"):
        assert ran.out.count(f"\n{name} ") == 4
    assert not (tmp_path / "gaga.h5").exists()
    again = gaga("modalities", "--plot", "m.png")
    assert (again.code, "already" in again.err) == (1, True)


def test_what_is_said_holds():
    found = shipped()
    k = {name: found.names.index(name) for name in found.names}
    molecules, sets = ("qm9 positions", "qm9 types"), ("mnist", "digits", "faces", "photos")
    of = {
        "D_t": found.first_step(found.distances[..., 0] <= CLOSE),
        "equal": found.first_step(found.passes[..., 1] >= MOST),
        "all": found.first_step(found.passes[..., 0] >= MOST),
    }
    assert max(of["D_t"][k[n]] for n in ("faces", "photos")) < of["D_t"][k["qm9 positions"]]
    assert max(of["equal"][k[n]] for n in molecules) < min(of["equal"][k[n]] for n in sets)
    assert all(of["all"][k[n]] > of["equal"][k[n]] for n in ("mnist", "faces", "photos"))
    snr = {n: float(found.snr[k[n], found.timesteps.tolist().index(of["D_t"][k[n]])]) for n in k}
    assert snr["qm9 positions"] > max(snr[n] for n in sets)
    assert snr["qm9 types"] < min(snr["faces"], snr["photos"])
    positions, types = (found.norms[k[n]] for n in molecules)
    assert np.all(positions <= types)
    assert np.all(types < np.array([found.norms[k[n]] for n in sets]))


def test_what_ships_is_small_and_comes_back_from_json():
    text = resources.files("gaga.shipped").joinpath(SHIPPED).read_text("utf-8")
    assert len(text) <= 100_000
    assert as_json(shipped()) == text


def test_own_arrays_beside_it_and_the_same_again(gaga, tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(size=(40, 12, 2)))
    words = ("modalities", "--dataset", "mine.npy", "--centre", "data", "--threads", 1)
    ran = gaga(*words)
    assert ran.code == 0, ran.err
    assert "Stored as modalities/modalities_mine" in ran.out
    assert ran.out.count("\nmine ") == 4
    payload = gaga(*words, "--json").json
    assert payload["stored"]["found"] is True
    mine = payload["modalities"][-1]
    assert (mine["name"], mine["shipped"], mine["centre"], mine["samples"]) == ("mine", False, "data", 40)
    assert [one["shipped"] for one in payload["modalities"]] == [True] * 6 + [False]
    other = gaga(*words, "--n-values", 5)
    assert (other.code, "another modalities is stored" in other.err) == (1, True)


def test_molecules(gaga, xyz):
    ran = gaga("modalities", "--dataset", xyz, "--threads", 1, "--json")
    assert "the 30 molecules of 5 atoms" in ran.err
    positions, types = ran.json["modalities"][-2:]
    assert (positions["name"], types["name"]) == ("tiny positions", "tiny types")
    assert (positions["values"], types["values"]) == (15, 15)
    ran = gaga("modalities", "--dataset", xyz, "--centre", "none")
    assert (ran.code, "--centre sample" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--dataset", "images:cats"), 1, "images:mnist"),
        (("--dataset", "none.npy"), 1, "no such file"),
        (("--centre", "all"), 2, "--centre"),
        (("--n-values", 1), 2, "--n-values"),
        (("--plot", "p.txt"), 1, ".png"),
    ],
)
def test_wrong_words_are_refused(gaga, words, code, says):
    ran = gaga("modalities", *words)
    assert (ran.code, says in ran.err) == (code, True), ran.err


def test_a_missing_package_is_one_line(gaga, monkeypatch):
    monkeypatch.setattr(images, "find_spec", lambda module: None)
    ran = gaga("modalities", "--dataset", "images:mnist")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert 'pip install "gaga-mol[images]"' in ran.err
