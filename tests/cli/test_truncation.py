"""gaga truncation, with the shipped model and with a tiny one of the whole schedule."""

from pathlib import Path

import numpy as np
import pytest

from gaga.models.checkpoint import load_checkpoint
from gaga.models.truncation import TruncationResult
from gaga.models.truncation_config import STEPS
from gaga.noise import ReferenceGaussian
from gaga.storage.store import Store

GOLDEN = Path(__file__).parent.parent / "golden"
FEW = ("--split", "all", "--max-molecules", 8, "--threads", 1, "--device", "cpu")


@pytest.fixture
def tiny(gaga, xyz):
    """A checkpoint of waters and methanes, untrained, of all steps."""
    assert (
        gaga("import-edm", GOLDEN / "gaga_tiny", "--dataset", xyz, "--out", "m.safetensors", "--max-t", 1000).code == 0
    )
    return gaga


@pytest.mark.slow
def test_the_shipped_model_finds_qm9_far_from_one_variance_for_all(gaga):
    words = ("--max-molecules", 24, "--threads", 1, "--device", "cpu", "--seed", 3)
    ran = gaga("truncation", "--dataset", "qm9", *words, "--json")
    steps = {row["t"]: row["references"] for row in ran.json["steps"]}
    assert list(steps) == [t for t in STEPS if t <= 550]
    assert ran.json["molecules"] == 24
    assert "the model of QM9 that ships with gaga" in ran.err
    assert "by heart" not in ran.err
    for t in (250, 350, 450):
        assert 0 < steps[t]["matched"]["low"] < steps[t]["matched"]["nats"] < steps[t]["matched"]["high"]
        assert steps[t]["block"]["nats"] < steps[t]["published"]["nats"] / 5
    below = [row["matched"]["nats"] for t, row in steps.items() if t < 550]
    assert below == sorted(below, reverse=True)
    for found in steps[550].values():  # the model cannot know it
        assert (found["nats"], found["low"], found["high"]) == (None, None, None)
    assert ran.json["steps"][-1]["alone"] is None
    assert steps[550]["published"]["gaussian"] > 5
    again = gaga("truncation", "--dataset", "qm9", *words, "--plot", "n.svg")
    assert "Found truncation/truncation_qm9" in again.out
    assert "the steps beyond 550, on which the model was not trained" in again.out
    (row,) = [line for line in again.out.splitlines() if line.split()[:1] == ["550"]]
    assert "not known from this model" in row
    assert row.count("+") == 5
    assert f"+ {steps[550]['published']['gaussian']:.4g}" in row
    assert again.out.count("not known from this model") == 2  # in the table and in the sentence


def test_every_step_of_a_model_of_the_whole_schedule(tiny, tmp_path):
    ran = tiny("truncation", "--checkpoint", "m.safetensors", "--dataset", "tiny.xyz", *FEW, "--json")
    assert [row["t"] for row in ran.json["steps"]] == list(STEPS)
    assert "by heart" in ran.err
    result = Store(tmp_path / "gaga.h5").get("truncation", "truncation_tiny", TruncationResult)
    checkpoint = load_checkpoint(tmp_path / "m.safetensors")
    matched = ReferenceGaussian("matched", checkpoint.moments)

    def from_prior(n_atoms: int) -> float:
        """Of columns that are all centred, at t = 250."""
        within, _ = matched.covariances(n_atoms, checkpoint.schedule.alpha2[250])
        return (n_atoms - 1) / 2 * (np.trace(within) - len(within) - np.linalg.slogdet(within)[1])

    found = ran.json["steps"][0]["references"]["prior"]["gaussian"]
    assert found == pytest.approx(np.mean([from_prior(n) for n in result.n_atoms.tolist()]), rel=1e-9)
    out = tiny("truncation", "--checkpoint", "m.safetensors", "--dataset", "tiny.xyz", *FEW).out
    assert "Left out: the noise beyond step 1000" in out
    assert "not known" not in out
    assert all(row["references"]["matched"]["nats"] is not None for row in ran.json["steps"])


def test_a_t_star_alone_is_not_known_and_others_are(gaga, xyz):
    """Steps below the model's own T* alone, and that T* alone, drawn too."""
    words = ("truncation", "--checkpoint", GOLDEN / "gaga_tiny", "--dataset", xyz, *FEW)
    below = gaga(*words, "--timesteps", "400", "--name", "below")
    assert below.out.count("not known from this model") == 1  # what is left out
    assert "adds to it" not in below.out
    alone = gaga(*words, "--timesteps", "550", "--name", "alone", "--plot", "n.png")
    assert alone.code == 0
    assert alone.out.count("not known from this model") == 2
    assert "0 – 0" not in alone.out


def test_options_reach_the_result_and_the_plot(tiny, tmp_path):
    words = ("--checkpoint", "m.safetensors", "--dataset", "tiny.xyz", *FEW, "--timesteps", "400,900")
    ran = tiny("truncation", *words, "--plot", "n.png", "--json")
    assert ran.json["plot"] == "n.png"
    assert [row["t"] for row in ran.json["steps"]] == [400, 900]
    assert ran.json["stored"]["config"]["timesteps"] == [400, 900]
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")
    refused = tiny("truncation", *words, "--plot", "n.png")
    assert (refused.code, refused.out) == (1, "")
    assert "--overwrite" in refused.err
    other = tiny("truncation", *words, "--seed", 1)
    assert other.code == 1
    assert "--name, or add --replace" in other.err
    another = tiny("truncation", *words, "--seed", 1, "--name", "other", "--json").json
    assert another["nodes"][0]["network"] != ran.json["nodes"][0]["network"]


def test_a_folder_of_edms_code_takes_its_moments_from_the_data(gaga, xyz):
    """Charges in, types not centred."""
    words = ("--checkpoint", GOLDEN / "edm_tiny", "--dataset", xyz, "--timesteps", "500", *FEW)
    (row,) = gaga("truncation", *words, "--json").json["steps"]
    for found in row["references"].values():
        assert found["nats"] == pytest.approx(row["references"]["matched"]["nats"] + found["gaussian"])


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--timesteps", "300,600"), 1, "the model was trained on steps 0 to 550 (received step 600)"),
        (("--timesteps", "x"), 2, "--timesteps"),
        (("--max-molecules", "1"), 2, "--max-molecules"),
        (("--split", "half"), 2, "--split"),
        (("--checkpoint", "none.safetensors"), 1, "no checkpoint there"),
        (("--plot", "n.gif"), 1, ".png, .pdf or .svg"),
        (("--device", "tpu"), 2, "--device"),
        (("--dataset", "silicon.xyz", "--split", "all"), 1, "atomic numbers outside the vocabulary"),
        (("--dataset", "two.xyz"), 1, "there are no molecules to denoise"),
    ],
)
def test_what_cannot_be_is_a_line(gaga, xyz, words, code, line):
    xyz.with_name("silicon.xyz").write_text("2\n\nSi 0 0 0\nH 0 0 1.4\n")
    xyz.with_name("two.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.7\n" * 2)
    ran = gaga("truncation", "--dataset", xyz, "--threads", 1, *words)
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err
