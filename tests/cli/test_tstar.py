"""gaga tstar: from stored, shipped or yet missing Gaussianity results."""

import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from gaga.cli import commands
from gaga.cli.main import main
from gaga.runs import gaussianity
from gaga.runs.tstar import measured_on
from gaga.stats.config import GaussianityConfig, TstarConfig
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.tstar import tstar
from gaga.storage.store import Store

QUICK = ("--timesteps", "200:1000:200", "--n-null", 20, "--n-resamples", 10, "--threads", 1)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A store with a Gaussianity result of waters, computed once."""
    folder = tmp_path_factory.mktemp("results")
    frames = [f"3\n\nO 0 0 {0.1 + i / 1000}\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n" for i in range(60)]
    (folder / "tiny.xyz").write_text("".join(frames))
    words = ("gaussianity", "--dataset", folder / "tiny.xyz", *QUICK, "--store", folder / "gaga.h5", "--json")
    assert main([str(word) for word in words]) == 0
    return folder / "gaga.h5"


@pytest.fixture
def noised(gaga, results, tmp_path):
    """`gaga` beside a copy of that store."""
    for name in ("gaga.h5", "tiny.xyz"):
        shutil.copy(results.parent / name, tmp_path / name)
    return gaga


def test_every_estimator_beside_its_null(noised):
    payload = noised("tstar", "IDENTITY_to_gaussian_tiny", "--json").json
    assert payload["stored"]["name"] == "tstar_tiny"
    assert payload["gaussianity"]["name"] == "identity_to_gaussian_tiny"
    assert set(payload["estimates"]) == {"paper", "t_dependence", "t_distance", "mean", "quantile"}
    assert payload["estimator"] == "price"
    assert payload["tstar"] == np.ceil(payload["price"]["value"])
    assert payload["price"]["few_molecules"] is True
    assert payload["effects"]["by_statistic"][0]["statistic"] == "gyration share, largest"
    assert payload["plot"] is None
    out = noised("tstar", "identity_to_gaussian_tiny", "--by-size").out
    assert payload["reason"] in out
    assert "Found tstar/tstar_tiny" in out
    assert "by number of atoms" in out
    assert "60 molecules are too few" in out
    assert "it may be far too small, and T* too early" in out  # waters are all alike: no expansion holds
    assert out.endswith(f"Next: gaga train --dataset FILE --max-t {payload['tstar']}\n")


def test_options_reach_the_configuration(noised):
    words = ("--estimator", "Mean", "--reference", "size", "--consecutive", 1, "--quantile", 0.5)
    ran = noised("tstar", "identity_to_gaussian_tiny", *words, "--eps-dep", 0.3, "--eps-ds", 0.4, "--json")
    config = ran.json["stored"]["config"]
    expected = {
        "estimator": "mean",
        "reference": "size",
        "consecutive": 1,
        "quantile": 0.5,
        "eps_dependence": 0.3,
        "eps_distance": 0.4,
    }
    assert {name: config[name] for name in expected} == expected
    assert ran.json["tstar"] == pytest.approx(ran.json["estimates"]["mean"]["data"]["value"], abs=1)
    assert ran.json["stored"]["name"].startswith("tstar_tiny_")
    assert noised("tstar", "identity_to_gaussian_tiny", "--json").json["stored"]["name"] == "tstar_tiny"


def test_a_step_that_is_never_reached_is_said_and_null(noised):
    words = ("tstar", "identity_to_gaussian_tiny", "--estimator", "paper", "--eps-ds", 1e-6)
    ran = noised(*words, "--json")
    assert ran.json["tstar"] is None
    assert ran.json["estimates"]["paper"]["data"] == {"value": None, "low": None, "high": None, "never": 1.0}
    assert "No step passes, by paper" in noised(*words).out


def test_a_step_that_is_reached_is_said_with_its_resolution(noised):
    ran = noised("tstar", "identity_to_gaussian_tiny", "--estimator", "paper", "--eps-dep", 9, "--eps-ds", 0.9)
    assert "T* = 200 of 1000, to 200 steps, by paper: " in ran.out


def test_what_an_earlier_version_stored_opens_and_is_found(noised, tmp_path):
    """Without a price T* is the paper's, under the key and the name that it had."""
    store = Store(tmp_path / "gaga.h5")
    entry = store.require("gaussianity", "identity_to_gaussian_tiny")
    curves = store.get("gaussianity", entry.name, GaussianityResult)
    old = replace(curves, effects=None, price=None)
    kept = {"config": entry.config, "inputs": entry.inputs, "seed": entry.seed}
    source = store.put("gaussianity", "old", old, **kept)
    config = {k: v for k, v in asdict(TstarConfig(estimator="paper")).items() if k not in ("tolerance", "max_effect")}
    given = {"config": config, "inputs": {"gaussianity/old": source.digest}, "seed": 0}
    store.put("tstar", "tstar_old", tstar(old, TstarConfig()), **given)
    ran = noised("tstar", "old", "--json")
    assert (ran.json["estimator"], ran.json["price"], ran.json["effects"]) == ("paper", None, None)
    assert ran.json["stored"]["found"] is True
    assert ran.err.startswith("gaussianity/old holds no price, so T* is by the paper's rule. If an earlier")
    assert noised("tstar", "old", "--estimator", "effects").code == 1
    assert "does not hold" in noised("tstar", "old", "--by-size").out
    # What was read from results without a price keeps its name when they have one.
    store.put("gaussianity", "old", curves, **kept, replace=True, renew=True)
    assert noised("tstar", "old", "--json").json["stored"]["name"] == "tstar_old_price"


def test_of_a_price_alone(noised, tmp_path):
    assert noised("price", "--dataset", tmp_path / "tiny.xyz", "--threads", 1).code == 0
    words = ("tstar", "price_tiny", "--tolerance", 0.5)
    ran = noised(*words, "--plot", "p.png", "--json")
    assert ran.json["stored"]["name"].startswith("tstar_price_tiny_")
    assert (ran.json["estimates"], ran.json["table"]) == (None, [])
    assert "costs at most 0.5 nats a molecule" in noised(*words).out
    assert "Name a result of `gaga gaussianity`" in noised(*words, "--estimator", "paper").err


def test_plot_is_drawn_and_not_written_over(noised, tmp_path):
    ran = noised("tstar", "identity_to_gaussian_tiny", "--plot", "t.png", "--json")
    assert ran.json["plot"] == "t.png"
    assert ran.err == "Drew t.png.\n"
    drawn = (tmp_path / "t.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    refused = noised("tstar", "identity_to_gaussian_tiny", "--plot", "t.png")
    assert (refused.code, refused.out) == (1, "")
    assert "--overwrite" in refused.err
    (tmp_path / "t.png").write_bytes(b"")
    assert noised("tstar", "identity_to_gaussian_tiny", "--plot", "t.png", "--overwrite").code == 0
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_shipped_results_are_read_and_said_to_be(noised, tmp_path, monkeypatch):
    (tmp_path / "gaga.h5").rename(tmp_path / "shipped.h5")
    monkeypatch.setattr("gaga.storage.store.SHIPPED_STORE", tmp_path / "shipped.h5")
    ran = noised("tstar", "identity_to_gaussian_tiny", "--json")
    assert "Read gaussianity/identity_to_gaussian_tiny from the results that ship with gaga." in ran.err
    assert ran.json["gaussianity"]["shipped"] is True
    assert ran.json["stored"]["shipped"] is False


def test_what_is_lacking_is_computed_where_the_name_says_of_what(gaga, tmp_path, monkeypatch):
    monkeypatch.setattr("gaga.storage.store.SHIPPED_STORE", tmp_path / "none.h5")
    config = GaussianityConfig(timesteps=(300, 900), n_null=20, n_resamples=10)
    run = gaussianity.run

    def smaller(request, *more):
        assert request.dataset == "qm9"
        return run(replace(request, fraction=0.0005, config=config), *more)

    monkeypatch.setattr(gaussianity, "run", smaller)
    ran = gaga("tstar", "identity_to_gaussian_QM9", "--threads", 1, "--json")
    assert ran.code == 0, ran.err
    assert "No gaussianity result identity_to_gaussian_QM9 yet" in ran.err
    assert ran.json["gaussianity"]["config"]["dataset"] == "qm9"
    assert gaga("tstar", "identity_to_gaussian_qm9").err == ""


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("nothing",), 1, "no gaussianity result 'nothing'"),
        (("identity_to_gaussian_tinny",), 1, "identity_to_gaussian_tiny"),
        (
            ("identity_to_gaussian_tiny", "--estimator", "median"),
            2,
            "median is not one of price, effects, paper, mean, quantile",
        ),
        (("identity_to_gaussian_tiny", "--reference", "best"), 2, "best is not one of"),
        (("identity_to_gaussian_tiny", "--consecutive", "9"), 1, "fewer than must pass in a row"),
        (("identity_to_gaussian_tiny", "--consecutive", "0"), 2, "'--consecutive'"),
        (("identity_to_gaussian_tiny", "--quantile", "1.5"), 2, "1.5 is not above 0 and below 1"),
        (("identity_to_gaussian_tiny", "--eps-ds", "0"), 2, "'--eps-ds': 0 is not above 0"),
        (("identity_to_gaussian_tiny", "--plot", "t.gif"), 1, ".png, .pdf or .svg"),
        (("identity_to_gaussian_tiny", "--plot", "no/t.png"), 1, "folder"),
        ((), 2, "NAME"),
    ],
)
def test_what_cannot_be_is_a_line(noised, words, code, line):
    ran = noised("tstar", *words)
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err


def test_help_names_the_defaults_of_the_library():
    found = {p.name: re.search(r"\[default: (.*)\]", p.help or "") for p in commands.load("tstar").params}
    shown = {option: match[1] for option, match in found.items() if match}
    config = TstarConfig()
    names = {"eps_dep": "eps_dependence", "eps_ds": "eps_distance"}
    values = {option: getattr(config, names.get(option, option)) for option in shown}
    assert shown == {option: f"{v:g}" if isinstance(v, float) else str(v) for option, v in values.items()}
    assert len(shown) == 8


def test_what_a_result_was_measured_on():
    assert measured_on({"fraction": 0.02}) == "2 % of"
    assert measured_on({}) == "100 % of"
    assert measured_on({"fraction": 1.0, "until": 0.002}) == "what it takes to know it to ± 0.002, within 100 % of"
