"""gaga price on a small file; the numbers themselves are tested with gaga.stats."""

import numpy as np
import pytest

from gaga.models.truncation import TruncationResult
from gaga.runs.price import network_bound, price
from gaga.stats.price import PriceResult
from gaga.stats.price_config import PriceConfig
from gaga.storage.store import Store

FEW = ("--n-pairs", 500, "--threads", 1)


def test_tables_answer_and_the_same_again(gaga, xyz, tmp_path):
    words = ("price", "--dataset", xyz, *FEW)
    ran = gaga(*words, "--tolerance", 0.5, "--plot", "p.png")
    assert ran.code == 0, ran.err
    assert (tmp_path / "p.png").stat().st_size > 10_000
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[3:12]] == ["250", "350", "450", "550", "650", "700", "800", "850", "900"]
    assert "An estimate, no bound" in ran.out
    assert "2 of 2 numbers of atoms have fewer than 50 molecules" in ran.out
    assert "Stored as price/price_tiny" in ran.out
    payload = gaga(*words, "--json").json
    assert payload["stored"]["found"] is True
    assert [row["tolerance"] for row in payload["tstar"]] == [0.1, 0.3, 1.0]
    steps = [row["t"] for row in payload["tstar"]]
    assert steps == sorted(steps, reverse=True)
    assert f"T* = {int(np.ceil(gaga(*words, '--tolerance', 0.5, '--json').json['tstar'][0]['t']))} of 1000" in ran.out
    assert lines[-1].startswith("Next: gaga train --dataset")
    for row in payload["steps"]:
        assert row["nats"] == pytest.approx(sum(row["terms"].values()))
        assert row["low"] <= row["nats"] <= row["high"]
        assert row["network"] is None


def test_options_reach_the_configuration_and_another_seed_is_another_result(gaga, xyz):
    words = ("price", "--dataset", xyz, "--n-pairs", 300, "--threads", 1, "--schedule", "cosine", "--fraction", 0.9)
    ran = gaga(*words, "--timesteps", "500,600", "--json")
    config = ran.json["stored"]["config"]
    assert config == config | {"n_pairs": 300, "schedule": "cosine", "fraction": 0.9, "n_resamples": 200}
    assert [row["t"] for row in ran.json["steps"]] == [500, 600]
    other = gaga(*words, "--seed", 1)
    assert other.code == 1
    assert "another price is stored as price_tiny" in other.err
    assert gaga(*words, "--seed", 1, "--replace", "--json").json["steps"] != ran.json["steps"]


def test_a_bound_of_a_network_stands_beside_the_estimate(gaga, xyz, tmp_path, pytestconfig):
    folder = pytestconfig.rootpath / "tests" / "golden" / "gaga_tiny"
    assert gaga("import-edm", folder, "--dataset", xyz, "--out", "m.safetensors", "--max-t", 1000).code == 0
    of_model = ("--checkpoint", "m.safetensors", "--split", "all", "--max-molecules", 4, "--device", "cpu")
    assert gaga("truncation", *of_model, "--dataset", xyz, "--threads", 1).code == 0
    store = Store(tmp_path / "gaga.h5")
    bound = network_bound(store, "truncation_tiny")
    result = store.get("truncation", "truncation_tiny", TruncationResult)
    assert bound[550].nats == result.nats[result.timesteps.tolist().index(550), result.references.index("matched")]
    ran = gaga("price", "--dataset", xyz, *FEW, "--bound", "truncation_tiny", "--plot", "b.svg", "--json")
    assert {row["t"]: row["network"] for row in ran.json["steps"]}[550] == pytest.approx(bound[550].nats)
    assert "network, at least" in gaga("price", "--dataset", xyz, *FEW, "--bound", "truncation_tiny").out
    assert (tmp_path / "b.svg").exists()
    missing = gaga("price", "--dataset", xyz, *FEW, "--bound", "none")
    assert (missing.code, "none" in missing.err) == (1, True)


def test_against_shapes_is_another_result_with_a_part_of_the_library(gaga, xyz):
    words = ("price", "--dataset", xyz, *FEW)
    ran = gaga(*words, "--against", "shape")
    assert ran.code == 0, ran.err
    assert "from random shapes" in ran.out
    assert "library" in ran.out.splitlines()[1]
    assert "Before step 448 these show" in ran.out
    assert ran.out.splitlines()[-1].endswith("gaga sample --start shape")
    payload, matched = gaga(*words, "--against", "shape", "--json").json, gaga(*words, "--json").json
    assert payload["stored"]["name"] == "price_shape_tiny"
    assert (payload["against"], matched["against"]) == ("shape", "matched")
    assert payload["stored"]["config"] == matched["stored"]["config"] | {"against": "shape"}
    assert payload["steps"][0]["terms"]["library"] > 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--against", "shape", "--bound", "x"), 2, "goes without --against"),
        (("--against", "block"), 1, "matched, shape"),
        (("--tolerance", 0), 2, "above 0"),
        (("--timesteps", "0"), 2, "not in 1 to 1000"),
        (("--n-pairs", 0), 2, "--n-pairs"),
        (("--plot", "p.txt"), 1, ".png"),
        (("--schedule", "linear"), 1, "schedule"),
    ],
)
def test_wrong_words_are_refused(gaga, xyz, words, code, says):
    ran = gaga("price", "--dataset", xyz, *FEW, *words)
    assert (ran.code, says in ran.err) == (code, True), ran.err


def test_python_computes_the_same(gaga, xyz, tmp_path):
    result = price(xyz, n_pairs=500, n_resamples=20, threads=1, store=tmp_path / "mine.h5")
    assert isinstance(result, PriceResult)
    stored = Store(tmp_path / "mine.h5").get("price", "price_tiny", PriceResult)
    np.testing.assert_array_equal(stored.price.nats, result.price.nats)
    np.testing.assert_array_equal(stored.borrowed, result.borrowed)
    assert PriceConfig().n_pairs == 1_000_000
