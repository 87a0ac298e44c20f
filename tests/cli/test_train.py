import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.cli import processes

SMALL = ("--preset", "tiny", "--hidden", "8", "--layers", "1", "--batch-size", "8", "--stability-samples", "2",
         "--validate-every", "5", "--threads", "1")  # fmt: skip


@pytest.fixture
def train(gaga, xyz):
    return lambda *words: gaga("train", "--dataset", xyz, "--max-t", "60", *SMALL, "--steps", "12", *words)


def test_a_run_is_stored_found_again_and_sampled_from(train, gaga, tmp_path):
    first = train("--json").json
    assert first["finished"]
    assert (first["max_t"], first["steps"]) == (60, 12)
    assert first["metrics"]["step"] == [5, 10, 12]
    assert all(0 <= share < 1 for share in first["metrics"]["data_wait"])
    again = train("--json").json
    assert again["stored"]["found"]
    assert again["checkpoint_sha256"] == first["checkpoint_sha256"]
    sampled = gaga("sample", "--n", "3", "--out", "m.xyz")
    assert sampled.code == 0
    assert "the newest finished run, train/tiny_tiny_t60" in sampled.err
    assert "3 molecules, 50 evaluations each, in about" in sampled.err


def test_another_run_under_the_same_name_is_refused_or_replaced(train):
    assert train().code == 0
    other = train("--lr", "0.003")
    assert other.code == 1
    assert "learning_rate" in other.err
    assert "--replace" in other.err
    assert train("--lr", "0.003", "--replace").code == 0
    assert train("--lr", "0.002", "--name", "b").code == 0


def test_molecules_of_one_element_are_named(gaga, xyz):
    """By training, by sampling from it, and by an evaluation of a file."""
    pair = "2\n\n{0} 0 0 0\n{0} 0 0 {1}\n"
    between = "3\n\nO 0 0 0\nH 0 0 0.96\nH 0.93 0 -0.24\n"  # in a row they would be conformers, which are in one split
    frames = [pair.format("O", 1.2) + between] * 30 + [pair.format("H", 0.74) + between] * 10
    xyz.write_text(xyz.read_text() + "".join(frames))
    words = ("train", "--dataset", xyz, "--max-t", "60", *SMALL, "--steps", "2")
    said = gaga(*words).err
    assert "40 training molecules (O2 30, H2 10)" in said
    assert "are of one element only: a model with centred types cannot tell which" in said
    drawn = gaga("sample", "--n", "4", "--sizes", "1", "--out", "m.xyz", "--steps", "2")
    assert "4 molecules are of one element only, and centred types do not tell which" in drawn.err
    assert Path("m.xyz").read_text().count("\nO ") == 4
    assert "4 molecules (O 4) are of one element only" in gaga("evaluate", "m.xyz", "--reference", "none").err
    assert "one element" not in gaga(*words, "--uncentred-features", "--name", "uncentred").err


def test_other_type_columns_are_another_run(gaga, xyz):
    """The molecules, and so the data set's fingerprint, are the same."""
    for vocabulary in ("data", "geom"):
        out = f"{vocabulary}.h5"
        assert gaga("data", "prepare", xyz, "--vocabulary", vocabulary, "--out", out).code == 0
    words = ("train", "--max-t", "60", *SMALL, "--steps", "4", "--dataset")
    assert gaga(*words, "data.h5").code == 0
    for more, line in (((), "with vocabulary"), (("--resume",), "another vocabulary")):
        other = gaga(*words, "geom.h5", *more)
        assert (other.code, other.out) == (1, "")
        assert line in other.err
    quick = ("--timesteps", "100:1000:300", "--n-null", "30", "--n-resamples", "5")
    assert gaga("gaussianity", "--dataset", "data.h5", *quick).code == 0
    refused = gaga("train", "--dataset", "geom.h5", "--max-t", "auto", *SMALL, "--dry-run")
    assert (refused.code, "another vocabulary" in refused.err) == (1, True)


def test_runs_from_before_batches_were_filled_by_edges_are_found_again(train, gaga):
    assert "batch_edges" not in train("--json").json["stored"]["config"]
    filled = ("--preset", "large-geom", "--batch-edges", "100", "--name", "filled", "--json")
    small = ("--hidden", "8", "--layers", "1", "--stability-samples", "2")
    ran = gaga("train", "--dataset", "tiny.xyz", "--max-t", "60", "--steps", "2", *small, *filled).json
    assert ran["stored"]["config"]["batch_edges"] == 100


@pytest.mark.parametrize(("words", "threads"), [((), os.cpu_count()), (("--threads", "3"), 3)])
def test_moments_are_measured_on_as_many_threads_as_there_are(gaga, xyz, monkeypatch, words, threads):
    from gaga.runs import inputs

    used, original = [], inputs.estimate_moments
    monkeypatch.setattr(
        inputs, "estimate_moments", lambda *args, **how: used.append(how["threads"]) or original(*args, **how)
    )
    small = ("--preset", "tiny", "--hidden", "8", "--layers", "1", "--dry-run")
    assert gaga("train", "--dataset", xyz, "--max-t", "60", *small, *words).code == 0
    assert used == [threads]


def test_a_dry_run_prints_and_leaves_nothing(train, tmp_path):
    ran = train("--dry-run", "--json").json
    assert ran["dry_run"]
    assert ran["steps"] == 12
    assert ran["recipe"]["max_t"] == 60
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "gaga.h5").exists()


def test_batches_filled_by_edges(gaga, xyz):
    """Waters and methanes take 9 and 25 edges."""
    words = ("train", "--dataset", xyz, "--preset", "edm-geom", "--max-t", "650", "--hidden", "8", "--layers", "1")
    ran = gaga(*words, "--batch-edges", "100", "--dry-run", "--json").json
    assert (ran["recipe"]["batch_edges"], ran["recipe"]["max_t"]) == (100, 650)
    assert ran["steps"] == 13 * ran["steps_per_epoch"]
    for more, message in ((("--batch-edges", "24"), "no room for the largest molecule"),
                          (("--batch-edges", "100", "--batch-size", "8"), "batch_size without effect")):  # fmt: skip
        refused = gaga(*words, *more, "--dry-run")
        assert refused.code == 1
        assert message in refused.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_a_killed_run_resumes_to_the_same_weights(xyz, tmp_path, number, code):
    """Stopped or killed in the middle, the resumed run ends bit for bit like one that ran through."""
    command = ["train", "--dataset", xyz, "--max-t", "60", *SMALL,
               "--steps", "150", "--validate-every", "1000", "--save-every-s", "0"]  # fmt: skip

    def run(*words):
        return processes.run(tmp_path, *command, *words)

    assert run("--name", "whole").returncode == 0
    state = tmp_path / "runs" / "parts" / "state.safetensors"
    ran = processes.interrupted(tmp_path, number, state.exists, *command, "--name", "parts")
    assert ran.returncode == code, ran.stderr
    assert ("--resume" in ran.stderr) == (number != signal.SIGKILL)
    assert "--resume" in run("--name", "parts").stderr
    resumed = run("--name", "parts", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming" in resumed.stderr
    a, b = (load_file(tmp_path / "runs" / run / "state.safetensors") for run in ("whole", "parts"))
    assert all((a[name] == b[name]).all() for name in a)
    log = [
        json.loads(line)["step"] for line in (tmp_path / "runs" / "parts" / "metrics.jsonl").read_text().splitlines()
    ]
    assert log == [1, 2, 5, 10, 20, 50, 100, 150]


def test_a_run_that_starts_over_keeps_no_old_log_and_one_without_its_checkpoint_is_trained_again(train, tmp_path):
    train()
    assert train("--lr", "0.003", "--replace", "--json").json["metrics"]["step"] == [5, 10, 12]
    shutil.rmtree(tmp_path / "runs")
    again = train("--lr", "0.003", "--json").json
    assert not again["stored"]["found"]
    assert Path(again["checkpoint"]).is_file()


def test_a_stored_run_is_not_replaced_from_another_folder(train):
    train()
    other = train("--lr", "0.003", "--runs", "elsewhere")
    assert other.code == 1
    assert "learning_rate" in other.err


def test_a_run_holds_its_folder_and_one_that_is_replaced_keeps_its_files_until_then(train, tmp_path):
    from gaga.storage.locks import locked

    train()
    files = {path.name: path.read_bytes() for path in (tmp_path / "runs" / "tiny_tiny_t60").iterdir()}
    with locked(tmp_path / "runs" / "tiny_tiny_t60" / "run"):
        refused = train("--seed", "7", "--replace")
    assert refused.code == 1
    assert "another gaga process has held" in refused.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs" / "tiny_tiny_t60").iterdir()} == files


def test_the_store_is_checked_before_training(train, tmp_path):
    ran = train("--store", tmp_path / "no" / "gaga.h5")
    assert ran.code == 1
    assert not (tmp_path / "runs").exists()


def test_max_t_auto_takes_tstar_of_these_molecules_and_no_others(train, gaga, xyz):
    quick = ("--timesteps", "100:1000:100", "--n-null", "60", "--n-resamples", "20")
    assert gaga("gaussianity", "--dataset", xyz, *quick).code == 0
    loose = ("--eps-dep", "1", "--eps-ds", "0.3", "--name", "tstar_tiny")
    found = gaga("tstar", "identity_to_gaussian_tiny", *loose, "--json").json
    ran = gaga("train", "--dataset", xyz, "--max-t", "auto", *SMALL, "--dry-run", "--json", "--seed", "3")
    assert ran.json["recipe"]["max_t"] == found["tstar"]
    assert "identity_to_gaussian_tiny" in ran.err
    xyz.write_text(xyz.read_text().replace("molecule", "other").replace("0.629", "0.64"))
    refused = gaga("train", "--dataset", xyz, "--max-t", "auto", *SMALL, "--dry-run")
    assert refused.code == 1
    assert "other molecules" in refused.err


def test_tstar_comes_from_a_stored_result_and_its_schedule_must_fit(train, gaga, xyz):
    ran = gaga("gaussianity", "--dataset", xyz, "--timesteps", "100:1000:100", "--n-null", "60", "--n-resamples", "20")
    assert ran.code == 0, ran.err
    # The published Gaussian of sixty rigid molecules is far off until late: thresholds that pass somewhere.
    found = gaga("tstar", "identity_to_gaussian_tiny", "--eps-dep", "1", "--eps-ds", "0.3", "--json").json
    assert found["tstar"]
    name = found["stored"]["name"]
    ran = gaga("train", "--dataset", xyz, "--tstar", name, *SMALL, "--dry-run", "--json")
    assert ran.json["recipe"]["max_t"] == found["tstar"]
    refused = gaga("train", "--dataset", xyz, "--tstar", name, *SMALL, "--schedule", "cosine", "--dry-run")
    assert refused.code == 1
    assert "belongs to another schedule, polynomial_2" in refused.err


def test_a_toml_file_is_changed_by_options(train, gaga, xyz, tmp_path):
    (tmp_path / "r.toml").write_text('preset = "tiny"\nhidden = 12\nlearning_rate = 0.002\nmax_t = 30\n')
    recipe = gaga("train", "--dataset", xyz, "--config", "r.toml", "--lr", "0.001", "--dry-run", "--json").json[
        "recipe"
    ]
    assert (recipe["hidden"], recipe["learning_rate"], recipe["max_t"], recipe["n_layers"]) == (12, 0.001, 30, 3)


def two_processes(folder, xyz, *words):
    """`gaga train` as two processes, on their way."""
    return processes.ranks(folder, 2, "train", "--dataset", xyz, "--max-t", "60", *SMALL, *words)


def wait_for(path):
    """Until the file is there and holds something."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)


def assert_same_weights(one, other, tolerance):
    """But for the last bias: centring takes it out, so that its gradient is rounding alone, which Adam scales up."""
    a, b = (load_file(run / "state.safetensors") for run in (one, other))
    assert {k: (v.dtype, v.shape) for k, v in a.items()} == {k: (v.dtype, v.shape) for k, v in b.items()}
    for name in a:
        if name.startswith(("network.", "ema.")) and not name.endswith("embedding_out.bias"):
            torch.testing.assert_close(a[name], b[name], rtol=tolerance, atol=tolerance, msg=name)


def logged(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "data_wait") and v is not None} for row in rows]


def test_two_processes_train_as_one_does(train, gaga, xyz, tmp_path):
    """Sums in another order are all that differs: 1e-7 of each gradient, of twelve steps of 1e-3 at most."""
    assert train("--name", "one").code == 0
    started = two_processes(tmp_path, xyz, "--steps", "12", "--name", "two", "--json")
    first, second = (process.ended() for process in started)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    payload = json.loads(first.stdout)
    assert payload["finished"]
    assert payload["metrics"]["step"] == [5, 10, 12]
    one, two = tmp_path / "runs" / "one", tmp_path / "runs" / "two"
    assert_same_weights(one, two, 1e-5)
    for mine, theirs in zip(logged(one), logged(two), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    headers = [json.loads(safetensors_header(run / "state.safetensors")["gaga"]) for run in (one, two)]
    assert headers[0]["identity"] == headers[1]["identity"]
    assert gaga("store", "show", "train/two").code == 0


def safetensors_header(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_one_alone_goes_on(train, xyz, tmp_path):
    """The state is the last whole step's: nothing had been saved before.

    With AdamW: Muon works in bfloat16, where sums in another order drift apart over so many steps.
    """
    words = ("--optimizer", "adamw", "--validate-every", "1000", "--steps", "200", "--name")
    assert train(*words, "whole").code == 0
    first, second = two_processes(tmp_path, xyz, *words, "parts", "--validate-every", "20")
    run = tmp_path / "runs" / "parts"
    wait_for(run / "state.safetensors")
    (run / "state.safetensors").unlink()
    second.signal(signal.SIGKILL)
    ran = first.ended()
    assert second.ended().returncode == -signal.SIGKILL
    assert ran.returncode == 1
    assert "gaga: rank 0 of 2 lost the others" in ran.stderr
    assert "this is a bug" not in ran.stderr
    resumed = train(*words, "parts", "--validate-every", "20", "--resume")
    assert resumed.code == 0, resumed.err
    assert "Resuming" in resumed.err
    assert_same_weights(tmp_path / "runs" / "whole", run, 1e-3)


@pytest.mark.slow
def test_processes_that_are_asked_to_stop_do_so_at_one_step(train, xyz, tmp_path):
    words = ("--steps", "100000", "--save-every-s", "0", "--validate-every", "100000")
    started = two_processes(tmp_path, xyz, *words, "--name", "stopped")
    state = tmp_path / "runs" / "stopped" / "state.safetensors"
    wait_for(state)
    for process in started:
        process.signal(signal.SIGTERM)
    first, second = (process.ended() for process in started)
    assert (first.returncode, second.returncode) == (143, 143)
    step = json.loads(safetensors_header(state)["gaga"])["counters"]["step"]
    assert f"gaga: terminated; saved step {step:,} in " in first.stderr
    assert "lost the others" not in first.stderr + second.stderr


def test_what_rank_0_finds_wrong_ends_all(xyz, tmp_path):
    state = tmp_path / "runs" / "junk" / "state.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"no state")
    ended = [process.ended() for process in two_processes(tmp_path, xyz, "--name", "junk", "--resume")]
    assert [ran.returncode for ran in ended] == [1, 1]
    said = "".join(ran.stderr for ran in ended)
    assert said.count("no training state to resume") == 1
    assert "lost the others" not in said


def test_resuming_what_never_began_begins_and_says_so(train, tmp_path):
    words = ("--steps", "2", "--name")
    assert train(*words, "there").code == 0
    ran = train(*words, "new", "--resume")
    assert ran.code == 0
    assert "No unfinished run of train/new to resume: it begins now." in ran.err
    assert "check --name and --runs" in ran.err
    refused = train("--steps", "3", "--name", "there", "--resume", "--runs", "elsewhere")
    assert (refused.code, "another train is stored as there" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--max-t", "2000"), 1, "max_t must be 1 to 1000"),
        (("--max-t", "soon"), 2, "--max-t"),
        (("--max-t", "60", "--tstar", "x"), 2, "give one of them"),
        (("--tstar", "nothing"), 1, "nothing"),
        (("--preset", "huge"), 1, "unknown preset"),
        (("--budget", "2 weeks"), 2, "--budget"),
        (("--config", "no.toml"), 1, "no such configuration file"),
        (("--device", "cuda:7"), 1, "--device cpu"),
        (("--device", "abacus"), 2, "--device"),
        (("--kernel", "triton"), 1, "kernel"),
        (("--kernel", "fast"), 1, "unknown kernel"),
        (("--init-from", "none.safetensors"), 1, "no checkpoint there"),
        (("--lr", "-1"), 2, "--lr"),
        (("--weight-decay", "nan"), 2, "nan is not at least 0"),
        (("--factors", "1,nan,10"), 1, "factors must be three finite numbers"),
        (("--factors", "a,b"), 2, "--factors"),
        (("--dataset", "nowhere.sdf"), 1, "nowhere.sdf"),
    ],
)
def test_wrong_words_get_one_line(gaga, xyz, words, code, message):
    ran = gaga("train", "--dataset", xyz, *words)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert len(ran.err.strip().splitlines()) <= 2
    assert ran.out == ""


@pytest.mark.parametrize(
    "text", ["preset = [0]", "preset = 3", "hidden = ''", "factors = [1]", "factors = 'x'", f"x = {'[' * 3000}",
             "steps = nan", "learning_rate = inf", "schedule = []", "hidden = 1979-05-27", "\0",
             "[a]\nb = 1", "max_t = 0"]
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_one_line(gaga, xyz, tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    ran = gaga("train", "--dataset", xyz, "--config", "r.toml", "--dry-run")
    assert ran.code == 1
    assert "bug in gaga" not in ran.err
    assert ran.err.count("\n") == 1
