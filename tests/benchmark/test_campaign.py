"""The campaign's script is well-formed, and its table reads what `gaga benchmark --json` writes."""

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gaga.models.api import SMALL_CHECKPOINT
from gaga.models.checkpoint import load_checkpoint
from gaga.storage.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def campaign_table():
    spec = importlib.util.spec_from_file_location("campaign_table", ROOT / "benchmarks" / "campaign_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def campaign_choice():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    return importlib.import_module("campaign_choice")


def a_row(**changes):
    about = {
        "case": "qm9-train", "batch": 1024, "molecules": 1024, "kernel": "triton", "precision": "bfloat16",
        "state": "measured", "note": "", "seconds": 0.016, "molecules_per_second": 64_000.0, "floor": 0.215,
        "memory": 6e9, "times_naive": 50.0, "times_padded": None, "extrapolated": False, "run_seconds": None,
        "run_steps": None,
    }  # fmt: skip
    return {**about, **changes}


def benchmark_of(*rows, device="cuda:0", profiles=(), parity=()):
    machine = {"device": device, "device_name": "H100", "python": "3.12.3", "packages": ["torch 2.11.0"],
               "cuda": "13.0", "commit": ""}  # fmt: skip
    floors = [{"flops": 800e12, "how": "a product"}]
    return {"machine": machine, "floors": floors, "rows": rows, "profiles": profiles, "parity": parity}


def shown(campaign_table, *found):
    return {what: (value, floor, verdict) for what, value, floor, _, verdict in campaign_table.target_rows(found)}


def test_without_a_run_every_figure_says_so(campaign_table):
    assert {value for value, _, _ in shown(campaign_table).values()} == {"not yet run on a device"}
    assert shown(campaign_table, benchmark_of(a_row(), device="cpu")) == shown(campaign_table)


def test_figures_beside_what_must_be_reached(campaign_table):
    rows = shown(campaign_table, benchmark_of(a_row(), a_row(batch=256, molecules_per_second=40e3, floor=0.13)))
    assert rows["QM9 train, batch 1024, triton"] == ("64,000 mol/s", "21.5 %", "reached")
    assert rows["QM9 train, batch 256, triton"] == ("40,000 mol/s", "13.0 %", "short of it")
    assert rows["QM9 train, batch 2048, triton"][0] == "not yet run on a device"
    assert rows["QM9 train, batch 1024, compile"][0] == "not yet run on a device"


def test_the_latest_figure_counts(campaign_table):
    rows = shown(campaign_table, benchmark_of(a_row()), benchmark_of(a_row(molecules_per_second=70e3)))
    assert rows["QM9 train, batch 1024, triton"][0] == "70,000 mol/s"


def test_sampling_edges_and_errors(campaign_table):
    run = a_row(case="qm9-sampling", molecules=10_000, seconds=0.03, run_seconds=16.5, run_steps=550, floor=0.37)
    profile = {"case": "qm9-forward", "kernel": "triton", "molecules": 2048, "edge_rate": 300e12}
    agreement = {"shape": "qm9", "kernel": "triton", "precision": "bfloat16", "output": 4e-3, "equivariance": 5e-3}
    rows = shown(campaign_table, benchmark_of(run, profiles=[profile], parity=[agreement]))
    assert rows["10,000 QM9 molecules, 550 steps, run in full"] == ("16.5 s", "37.0 %", "reached")
    assert rows["the same over 1,000 steps, in proportion"] == ("30 s", "37.0 %", "reached")
    assert rows["one sampler step, 1,000 QM9 molecules"] == ("3 ms", "37.0 %", "reached")
    assert rows["fused edge kernels forward, batch 2048"] == ("300 TFLOP/s", "37.5 %", "reached")
    assert rows["check in bfloat16, outputs against float64"][2] == "reached"
    assert rows["check in bfloat16, rotated molecules"][2] == "short of it"


def test_objects_behind_each_other_are_read(campaign_table, tmp_path):
    objects = [benchmark_of(a_row()), benchmark_of(a_row(kernel="naive", seconds=None, state="unavailable"))]
    (tmp_path / "figures.json").write_text("\n".join(json.dumps(one, indent=2) for one in objects) + "\n")
    found = campaign_table.read([tmp_path, tmp_path / "missing"])
    assert found == [json.loads(json.dumps(one)) for one in objects]
    rows = campaign_table.kernel_rows(found)
    assert [(row[2], row[4]) for row in rows] == [("triton", "64,000"), ("naive", "unavailable")]
    assert "torch 2.11.0" in campaign_table.origin(found, "abc")
    assert "commit abc" in campaign_table.origin(found, "abc")


def test_tables_are_aligned_or_markdown(campaign_table):
    rows = [("a", "1"), ("long", "2")]
    assert campaign_table.table(("x", "y"), rows, markdown=False).splitlines() == ["x     y", "a     1", "long  2"]
    assert campaign_table.table(("x", "y"), rows, markdown=True).splitlines()[1] == "| --- | --- |"


def test_the_smallest_batch_near_the_best_rate_is_chosen(campaign_choice):
    rates = {(256, "float32"): 30e3, (256, "bfloat16"): 50e3, (512, "bfloat16"): 58e3, (1024, "bfloat16"): 60e3}
    rows = [a_row(batch=batch, precision=name, molecules_per_second=rate) for (batch, name), rate in rates.items()]
    assert campaign_choice.choice([benchmark_of(row) for row in rows]) == (512, "bfloat16")
    assert campaign_choice.choice([benchmark_of(rows[0])]) == (256, "float32")
    assert campaign_choice.choice([benchmark_of(a_row(seconds=None), a_row(case="geom-train"))]) is None


def test_a_choice_becomes_options_and_none_is_a_failure(campaign_choice, tmp_path, monkeypatch, capsys):
    file = tmp_path / "probe.json"
    monkeypatch.setattr(sys, "argv", ["campaign_choice.py", str(file)])
    assert campaign_choice.main() == 1
    file.write_text("\n".join(json.dumps(benchmark_of(a_row(batch=n))) for n in (1024, 2048)))
    assert campaign_choice.main() == 0
    assert capsys.readouterr().out == "--batch-size 1024 --precision bfloat16\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("script", ["gpu_campaign.sh", "ablation.sh"])
def test_a_script_is_well_formed_and_refuses_words_that_it_does_not_know(script):
    path = str(ROOT / "benchmarks" / script)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    done = subprocess.run(["bash", path, "everything"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown" in done.stderr
    assert "everything" in done.stderr


@pytest.fixture
def ended(tmp_path):
    """The environment of a campaign whose training has ended."""
    campaign = tmp_path / "runs" / "campaign"
    campaign.mkdir(parents=True)
    (campaign / "model.safetensors").write_bytes(SMALL_CHECKPOINT.read_bytes())
    (campaign / "metrics.jsonl").write_text("{}\n")
    (tmp_path / "runs" / "train.log").write_text("done\n")
    (tmp_path / "runs" / "pid").write_text("0999999999\n")
    return os.environ | {
        "OUT": str(tmp_path / "out"), "RUNS": str(tmp_path / "runs"), "PYTHON": sys.executable, "N": "2",
        "SHARD": "1M", "DEVICE": "cpu", "DRAWS": "--method annealed --steps 2; --method ddpm --stride 300",
    }  # fmt: skip


def campaign_of(environment, part):
    words = ["bash", str(ROOT / "benchmarks" / "gpu_campaign.sh"), part]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(Path(environment["OUT"]).glob("model.safetensors.*"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_weights_are_brought_in_shards_and_whole(ended, tmp_path):
    """The pieces together are the file; those of an earlier, larger one do not stay."""
    weights = SMALL_CHECKPOINT.read_bytes()
    shards = campaign_of(ended, "train-collect")
    assert len(shards) == -(-len(weights) // 2**20) > 1
    assert b"".join(path.read_bytes() for path in shards) == weights
    (tmp_path / "runs" / "campaign" / "model.safetensors").write_bytes(weights[:1000])
    assert [path.name for path in campaign_of(ended, "train-collect")] == ["model.safetensors.00"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_molecules_are_drawn_in_each_way_into_one_store(ended, tmp_path):
    campaign_of(ended, "draw")
    entries = Store(tmp_path / "out" / "drawn.h5", shipped=False).entries("sample")
    assert [entry.name for entry in entries] == ["drawn_1", "drawn_2"]
    assert len(list((tmp_path / "out").iterdir())) <= 8


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_run_that_blows_up_goes_on_from_its_best_weights(tmp_path):
    """The log says that the last losses were 17.9; the run is ended, kept, and begun anew at a fifth of the rate."""
    runs, campaign = tmp_path / "runs", tmp_path / "runs" / "campaign"
    tiny = "--preset tiny --hidden 8 --layers 1 --batch-size 4 --steps 2 --stability-samples 2 --threads 1"
    words = ["bash", str(ROOT / "benchmarks" / "gpu_campaign.sh")]
    environment = os.environ | {
        "OUT": str(tmp_path / "out"), "RUNS": str(runs), "PYTHON": sys.executable, "DEVICE": "cpu", "CHOICE": "",
        "QM9": str(ROOT / "examples" / "gdb17_xtb_1000.sdf.gz"), "TRAIN_S": "", "TRAIN_OPTIONS": f"{tiny} --lr 1e-3",
        "GAGA_CACHE": str(tmp_path / "cache"), "TRITON_INTERPRET": "1",
    }  # fmt: skip
    first = subprocess.run(
        [*words, "train-start", "train-collect"], env=environment, capture_output=True, text=True, check=False
    )
    assert first.returncode == 0, first.stdout
    assert not (runs / "blown_up").exists()
    with (campaign / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"step": 4000, "valid_loss": 17.9}) + "\n")
    (campaign / "best.safetensors").write_bytes((campaign / "model.safetensors").read_bytes())
    orphan = subprocess.run(["bash", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True)
    (runs / "pid").write_bytes(orphan.stdout)
    forgotten = {name: value for name, value in environment.items() if name not in ("QM9", "TRAIN_OPTIONS")}
    done = subprocess.run([*words, "train-collect"], env=forgotten, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "it blew up" in done.stdout
    assert json.loads((runs / "blown_up" / "metrics.jsonl").read_text().splitlines()[-1])["valid_loss"] == 17.9
    recipe = load_checkpoint(campaign / "model.safetensors").recipe
    assert (recipe["learning_rate"], recipe["hidden"]) == (2e-4, 8)
