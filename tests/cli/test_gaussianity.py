"""gaga gaussianity on a small file; the numbers themselves are tested with gaga.stats."""

import re

import numpy as np
import pytest

from gaga.cli import commands
from gaga.stats.config import GaussianityConfig

QUICK = ("--timesteps", "200:1000:400", "--n-null", 20, "--n-resamples", 10, "--threads", 1, "--device", "cpu")


def test_records_and_tables(gaga, xyz):
    payload = gaga("gaussianity", "--dataset", xyz, *QUICK, "--json").json
    assert payload["stored"]["name"] == "identity_to_gaussian_tiny"
    assert payload["timesteps"] == [200, 600, 1000]
    assert len(payload["distances"]) == 3 * 2 * len(payload["references"])
    assert len(payload["reference_test"]["pass_rates"]) == 3 * 2 * 4
    for row in payload["distances"] + payload["dependence"] + payload["null_distances"]:
        assert row["low"] <= row["estimate"] <= row["high"]
    assert payload["device"] == "cpu"
    assert len(payload["effects"]["pooled"]) == 3 * 6
    assert [row["t"] for row in payload["price"]["steps"]] == [200, 600, 1000]
    assert payload["effects"]["by_size"] == []  # thirty molecules of a size are too few for a row
    found = gaga("gaussianity", "--dataset", xyz, *QUICK)
    assert "Computed on" not in found.out
    tables = found.out
    assert "D_t of positions" in tables
    assert "Statistics that see molecules: effects over all sizes, 60 molecules" in tables
    assert "The published test and D_t do not see this" in " ".join(tables.split())
    assert "Found gaussianity/identity_to_gaussian_tiny" in tables
    assert "Next: gaga tstar identity_to_gaussian_tiny" in tables


def test_a_result_of_an_earlier_version_is_shown_and_measured_anew_with_replace(xyz):
    from dataclasses import replace

    from gaga.cli.curves import payload, tables
    from gaga.runs.gaussianity import gaussianity
    from gaga.storage.store import Store

    store = Store(xyz.parent / "gaga.h5")
    options = {"timesteps": (500,), "n_null": 20, "n_resamples": 10, "threads": 1, "device": "cpu", "store": store}
    found = gaussianity(xyz, **options)
    assert (found.effects.n_molecules, found.price.n_molecules) == (60, 60)
    earlier = replace(found, effects=None, price=None)
    assert (payload(earlier)["effects"], payload(earlier)["price"]) == (None, None)
    assert len(list(tables(earlier))) == len(list(tables(found))) - 3
    entry = store.require("gaussianity", "identity_to_gaussian_tiny")
    kept = {"config": entry.config, "inputs": entry.inputs, "seed": entry.seed}
    store.put("gaussianity", entry.name, earlier, **kept, replace=True, renew=True)
    assert gaussianity(xyz, **options).price is None
    np.testing.assert_array_equal(gaussianity(xyz, **options, replace=True).price.price.nats, found.price.price.nats)


def test_random_shapes_are_another_table(gaga, xyz):
    words = ("gaussianity", "--dataset", xyz, *QUICK)
    assert "against" not in gaga(*words, "--json").json["stored"]["config"]
    ran = gaga(*words, "--against", "shape", "--name", "shapes")
    assert ran.code == 0, ran.err
    assert "The same against random shapes: 30 molecules, 30 shapes of others" in ran.out
    payload = gaga(*words, "--against", "shape", "--name", "shapes", "--json").json
    assert payload["stored"]["found"] is True
    assert payload["stored"]["config"]["against"] == "shape"
    assert len(payload["effects"]["shapes"]["pooled"]) == 3 * 6


def test_options_reach_the_configuration(gaga, xyz):
    words = (
        *("--alpha", 0.1, "--mi-threshold", 0.2, "--k-positions", 1, "--k-types", 2, "--level", 0.9),
        *("--test-variances", "2.0,0.01", "--references", "block, Prior", "--schedule", "cosine"),
    )
    ran = gaga("gaussianity", "--dataset", xyz, *QUICK, *words, "--split", "train", "--fraction", 0.5, "--json")
    config = ran.json["stored"]["config"]
    expected = {
        "timesteps": [200, 600, 1000],
        "alpha": 0.1,
        "mi_threshold": 0.2,
        "k_positions": 1,
        "k_types": 2,
        "level": 0.9,
        "test_variances": [2.0, 0.01],
        "references": ["block", "prior"],
        "n_null": 20,
        "n_resamples": 10,
        "schedule": "cosine",
        "T": 1000,
        "dataset": "tiny",
        "split": "train",
        "fraction": 0.5,
    }
    assert {name: config[name] for name in expected} == expected
    assert ran.json["reference_test"]["variances"] == [2.0, 0.01]
    assert ran.json["molecules"] == 24


def test_the_device_is_said_and_is_no_part_of_what_was_computed(gaga, xyz, monkeypatch):
    """On a machine with a CUDA device, which torch's CPU stands for here."""
    asked = []

    def on_cuda(name):
        asked.append(name)
        return "cpu", "cuda (Card)"

    monkeypatch.setattr("gaga.runs.gaussianity.statistics_device", on_cuda)
    monkeypatch.setattr("gaga.stats.reference._score_chunk", lambda *a: pytest.fail("numpy"))
    monkeypatch.setattr("gaga.stats.curves._distances_at", lambda *a: pytest.fail("numpy"))
    words = ("gaussianity", "--dataset", xyz, *QUICK[:-2])
    ran = gaga(*words)
    assert "gaga.h5. Computed on cuda (Card).\n" in ran.out
    assert set(asked) == {"auto"}
    again = gaga(*words, "--device", "cpu", "--json").json
    assert again["stored"]["found"]
    assert again["device"] is None
    assert "device" not in again["stored"]["config"]


@pytest.mark.gpu
def test_on_a_cuda_device(gaga, xyz):
    ran = gaga("gaussianity", "--dataset", xyz, *QUICK[:-1], "cuda", "--json").json
    assert ran["device"].startswith("cuda (")
    numpys = gaga("gaussianity", "--dataset", xyz, *QUICK, "--replace", "--store", "other.h5", "--json").json
    assert ran["reference_test"] == numpys["reference_test"]
    for ours, theirs in zip(ran["distances"], numpys["distances"], strict=True):
        assert ours["estimate"] == pytest.approx(theirs["estimate"], abs=1e-9)


def test_another_configuration_is_refused_before_the_work(gaga, xyz, monkeypatch):
    assert gaga("gaussianity", "--dataset", xyz, *QUICK).code == 0
    monkeypatch.setattr("gaga.runs.gaussianity.gaussianity", lambda *a, **k: pytest.fail("computed"))
    refused = gaga("gaussianity", "--dataset", xyz, *QUICK, "--alpha", 0.1)
    assert refused.code == 1
    assert "alpha 0.05 (asked for 0.1)" in refused.err


def test_a_checkpoint_gives_schedule_and_features(gaga, pytestconfig):
    folder = pytestconfig.rootpath / "tests" / "golden" / "edm_tiny"
    words = ("--dataset", "qm9", "--split", "test", "--fraction", 0.002, "--checkpoint", folder)
    payload = gaga("gaussianity", *words, *QUICK, "--json").json
    assert payload["blocks"] == ["positions", "types", "charges"]
    assert payload["schedule"] == "polynomial_2"
    assert "edm_tiny" in payload["stored"]["inputs"]
    assert payload["stored"]["config"]["centred_features"] is False


UNTIL = ("--timesteps", "200:1000:400", "--n-resamples", 10, "--threads", 1, "--device", "cpu")


def test_until_says_how_many_molecules_it_took_and_how_well_curves_are_known(gaga, xyz):
    payload = gaga("gaussianity", "--dataset", xyz, *UNTIL, "--until", 0.2, "--json").json
    config, confidence = payload["stored"]["config"], payload["confidence"]
    assert config["until"] == 0.2
    assert "n_null" not in config
    assert (confidence["until"], confidence["reached"], confidence["available"]) == (0.2, True, 60)
    assert confidence["rounds"] == [60] == [payload["molecules"]]
    widths = confidence["half_widths"]
    assert len(widths) == 2 * (len(payload["references"]) + 2)
    assert all(0 <= row["half_width"] <= 0.2 and row["t"] in (200, 600, 1000) for row in widths)
    assert {row["molecules"] for row in widths} == {60}
    assert payload["reference_test"]["molecules"] == payload["reference_test"]["null_molecules"] == 60
    shown = gaga("gaussianity", "--dataset", xyz, *UNTIL, "--until", 0.2).out
    assert "Every curve is known to ± 0.2 at every step (95 %) from 60 of 60 molecules, in 1 round." in shown
    read = gaga("tstar", "identity_to_gaussian_tiny", "--plot", "t.png", "--json").json
    assert read["stored"]["inputs"]["gaussianity/identity_to_gaussian_tiny"] == payload["stored"]["digest"]


def test_until_says_how_many_molecules_each_curve_is_of(gaga, xyz, monkeypatch):
    monkeypatch.setattr("gaga.stats.until._FIRST", 20)
    payload = gaga("gaussianity", "--dataset", xyz, *UNTIL, "--until", 0.025, "--json").json
    of = {(row["curve"], row["block"], row["of"]): row["molecules"] for row in payload["confidence"]["half_widths"]}
    assert payload["confidence"]["rounds"] == [20, 60]
    assert (of["D_t", "types", "block"], of["Dep_t", "positions", "features"]) == (60, 60)
    assert of["Dep_t", "types", "features"] == 20
    assert payload["reference_test"]["molecules"] == payload["reference_test"]["null_molecules"] == 20
    shown = gaga("gaussianity", "--dataset", xyz, *UNTIL, "--until", 0.025).out
    assert "above the null, 20 to 60 molecules" in shown
    assert "Published test: % of 20 molecules that pass" in shown
    gaga("tstar", "identity_to_gaussian_tiny", "--plot", "t.svg")
    with open("t.svg") as figure:
        drawn = figure.read()
    assert "true Gaussians (60 molecules)" in drawn
    assert "true Gaussians (20 to 60 molecules)" in drawn


def test_until_that_is_not_reached_says_so(gaga, xyz):
    ran = gaga("gaussianity", "--dataset", xyz, *UNTIL, "--until", 0.001, "--fraction", 0.5)
    assert "Not every curve is known to ± 0.001 (95 %): all 30 molecules were used." in ran.out


def test_without_until_nothing_is_said_of_it(gaga, xyz):
    payload = gaga("gaussianity", "--dataset", xyz, *QUICK, "--json").json
    assert payload["confidence"] is None
    assert "until" not in payload["stored"]["config"]


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--until", "0"), 2, "'--until': 0 is not above 0 and below 1"),
        (("--until", "1"), 2, "'--until': 1 is not above 0 and below 1"),
        (("--until", "nan"), 2, "'--until': nan is not above 0 and below 1"),
        (("--until", "0.01", "--n-null", "100"), 2, "--n-null goes without --until"),
        (("--timesteps", "0:100:50"), 2, "0 is not in 1 to 1000; write steps such as 50:1000:50"),
        (("--timesteps", "500,1200"), 2, "1200 is not in 1 to 1000"),
        (("--timesteps", "a:b"), 2, "write steps such as 50:1000:50"),
        (("--alpha", "1"), 2, "'--alpha': 1 is not above 0 and below 1"),
        (("--mi-threshold", "0"), 2, "'--mi-threshold': 0 is not above 0"),
        (("--k-types", "0"), 2, "'--k-types'"),
        (("--test-variances", "x"), 2, "--test-variances"),
        (("--references", "best"), 1, "unknown references"),
        (("--device", "gpu"), 2, "invalid value for --device: 'gpu'"),
        (("--device", "mps"), 1, "the statistics need float64, which MPS does not have"),
        (("--device", "cuda:999"), 1, "no such CUDA device here (received cuda:999)"),
        (("--schedule", "linear"), 1, "unknown noise schedule (received linear)"),
        (("--checkpoint", "none.safetensors"), 1, "none.safetensors"),
        (("--checkpoint", "tiny.xyz"), 1, "tiny.xyz"),
    ],
)
def test_what_cannot_be_is_a_line(gaga, xyz, words, code, line):
    ran = gaga("gaussianity", "--dataset", xyz, *words)
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err
    assert len(ran.err.splitlines()) == code


def test_help_names_the_defaults_of_the_library():
    shown = defaults("gaussianity")
    config = GaussianityConfig()
    for field in ("alpha", "mi_threshold", "k_positions", "k_types", "n_null", "n_resamples", "level"):
        assert shown[field] == str(getattr(config, field)), field
    first, last, stride = (int(part) for part in shown["timesteps"].split(":"))
    assert config.timesteps == tuple(range(first, last + 1, stride))


def defaults(name):
    """The default that the help of each option names."""
    found = {p.name: re.search(r"\[default: (.*)\]", p.help or "") for p in commands.load(name).params}
    return {option: match[1] for option, match in found.items() if match}
