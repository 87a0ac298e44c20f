"""`gaga train-property`: stored, found, interrupted, resumed; and what it refuses in one line."""

import signal
from pathlib import Path

import pytest

from gaga.models.predictor.trainer import PredictorTrainer

SMALL = (
    "--hidden",
    "8",
    "--layers",
    "1",
    "--batch-size",
    "8",
    "--steps",
    "6",
    "--validate-every",
    "3",
    "--threads",
    "1",
)


@pytest.fixture
def stretched(xyz: Path) -> Path:
    """The molecules with how much each is stretched, in per mille."""
    lines = xyz.read_text().replace("molecule ", "stretch=").splitlines()
    xyz.write_text("\n".join(lines) + "\n")
    return xyz


@pytest.fixture
def train(gaga, stretched):
    return lambda *words: gaga("train-property", "stretch", "--dataset", stretched, *SMALL, *words)


def test_a_run_is_stored_and_found_again(train):
    first = train("--json").json
    assert first["finished"]
    assert (first["property"], first["half"], first["steps"]) == ("stretch", "none", 6)
    assert [row["row"] for row in first["rows"]] == ["random", "#atoms", "valid", "test"]
    assert all(row["low"] <= row["mae"] <= row["high"] for row in first["rows"])
    assert first["metrics"]["step"] == [3, 6]
    again = train()
    assert (again.code, again.err.count("step")) == (0, 0)
    assert "stretch: mean absolute errors" in again.out
    assert f"gaga evaluate mols.sdf --property stretch --predictor {first['checkpoint']}" in again.out


def test_it_stops_at_a_signal_and_resumes(train, monkeypatch):
    step = PredictorTrainer._step

    def stopped(self, members):
        step(self, members)
        if self.counters.step == 4:
            signal.raise_signal(signal.SIGTERM)

    whole = train("--json", "--name", "whole").json
    with monkeypatch.context() as patched:
        patched.setattr(PredictorTrainer, "_step", stopped)
        cut = train()
    assert cut.code == 143
    assert "gaga: terminated; saved step 4 in runs/stretch_tiny_small; the same command with --resume continues" in (
        cut.err.replace(str(Path.cwd()) + "/", "")
    )
    refused = train()
    assert refused.code == 1
    assert "--resume" in refused.err
    resumed = train("--resume", "--json")
    assert "at step 4" in resumed.err
    assert resumed.json["rows"] == whole["rows"]


def test_a_dry_run_prints_the_errors_to_beat(train):
    found = train("--dry-run", "--json").json
    assert found["dry_run"]
    assert [row["row"] for row in found["rows"]] == ["random", "#atoms"]
    shown = train("--dry-run").out
    assert "What would be trained" in shown
    assert "stretch: errors to beat" in shown


def test_bad_input_is_one_line(gaga, stretched, train):
    said = gaga("train-property", "alpha", "--dataset", stretched)
    assert said.code == 1
    assert "tiny has no such property (received alpha). It has stretch." in said.err
    said = train("--half", "second")
    assert said.code == 1
    assert "Use one of first, none as --half." in said.err
    assert gaga("train-property", "stretch", "--dataset", stretched, "--budget", "soon").code == 2
    assert "preset" in gaga("train-property", "stretch", "--dataset", stretched, "--preset", "huge").err
