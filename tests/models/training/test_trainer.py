import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gaga import load_model
from gaga.core.errors import Conflict, GagaError, InvalidInput, Unavailable
from gaga.core.molecules import pack
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import file_digest, load_checkpoint
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels import products
from gaga.models.network.kernels.products import Measured
from gaga.models.ranks import Ranks
from gaga.models.training.features import StreamedFeatures
from gaga.models.training.recipe import make_recipe
from gaga.models.training.record import TrainingRecord, record_of
from gaga.models.training.state import TrainingState
from gaga.models.training.trainer import Trainer
from gaga.stats.moments import estimate_moments
from gaga.storage.on_disk import spill_to_disk
from gaga.storage.serialise import from_tree, to_tree
from tests.models.conftest import toy_molecules


@pytest.fixture(scope="module")
def dataset():
    molecules = toy_molecules(60)
    splits = {"train": np.arange(40), "valid": np.arange(40, 50), "test": np.arange(50, 60)}
    return Dataset(name="toy", molecules=molecules, ids=np.arange(60), splits=splits, vocabulary=(1, 6))


RECIPE = make_recipe("tiny", hidden=8, n_layers=1, batch_size=8, steps=20, validate_every=6, stability_samples=2,
                     max_t=60, warmup_steps=3, save_every_s=60.0)  # fmt: skip
SAVING = replace(RECIPE, save_every_s=0.0)  # a state after every step


def trainer(dataset, folder, recipe=RECIPE, **options):
    moments = estimate_moments(dataset.molecules.take(dataset.splits["train"]), FeatureSpace((1, 6)))
    return Trainer(dataset, recipe, moments, folder, seed=4, **options)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """A run from its beginning to its end."""
    run = trainer(dataset, tmp_path_factory.mktemp("whole"))
    assert run.run()
    return run


@pytest.fixture
def choose(monkeypatch):
    """What the check of float32 products finds; this process chooses again at the end."""

    def install(speedup: float) -> None:
        monkeypatch.setattr(products, "why_not", lambda: "")
        monkeypatch.setattr(products, "measure", lambda: Measured(error=2e-7, speedup=speedup))
        products.ask_for("auto")

    yield install
    products.ask_for("auto")


@pytest.mark.parametrize(("before", "after"), [(2.0, 1.0), (1.0, 2.0)])
def test_a_resumed_run_uses_the_library_of_products_that_it_began_with(
    dataset, tmp_path, choose, monkeypatch, before, after, caplog
):
    used = []
    right = EGNN.forward

    def forward(self, *arguments):
        used.append(products.current())
        return right(self, *arguments)

    monkeypatch.setattr(EGNN, "forward", forward)
    library = {2.0: "onednn", 1.0: "mkl"}[before]
    choose(before)
    first = trainer(dataset, tmp_path)
    first.run(should_stop=StopAt(first, 3))
    choose(after)
    second = trainer(dataset, tmp_path)
    assert second.products != library
    second.resume()
    second.run()
    assert set(used) == {library}
    assert load_checkpoint(tmp_path / "model.safetensors").provenance["products"] == library
    assert record_of(second, finished=True).products == library
    assert not caplog.records


def test_a_run_whose_library_cannot_be_used_any_more_says_so_and_goes_on(dataset, tmp_path, choose, caplog):
    choose(2.0)
    first = trainer(dataset, tmp_path)
    first.run(should_stop=StopAt(first, 3))
    products.ask_for("mkl")
    second = trainer(dataset, tmp_path)
    second.resume()
    assert second.products == "mkl"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "oneDNN computed this run's float32 products, now MKL does (asked for by name): not bit for bit"


def test_a_state_of_an_earlier_version_goes_on_by_mkl(choose):
    choose(2.0)
    assert products.library_on(torch.device("cpu")) == "onednn"
    assert products.library_on(torch.device("cpu"), "") == "mkl"
    assert products.library_on(torch.device("meta"), "") is None


class StopAt:
    def __init__(self, trainer, step):
        self.trainer, self.step = trainer, step

    def __call__(self):
        return self.trainer.counters.step >= self.step


@pytest.mark.parametrize("stop", [1, 7, 13])
def test_an_interrupted_run_ends_with_the_same_weights_bit_for_bit(dataset, whole, tmp_path, stop):
    first = trainer(dataset, tmp_path / "parts")
    assert not first.run(should_stop=StopAt(first, stop))
    second = trainer(dataset, tmp_path / "parts")
    second.resume()
    assert second.counters.step == stop
    assert second.run()
    a, b = (load_file(folder / "state.safetensors") for folder in (whole.folder, tmp_path / "parts"))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    assert logged(whole.folder) == logged(tmp_path / "parts")


def logged(folder):
    """The rows of metrics.jsonl without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "data_wait")} for row in rows]


def test_losses_are_logged_from_the_first_step_and_neither_lost_nor_double_after_a_kill(dataset, whole, tmp_path):
    """Of a process that wrote a row after its last state."""
    rows = logged(whole.folder)
    assert [(row["step"], row.get("measured", True)) for row in rows] == [
        (1, False), (2, False), (5, False), (6, True), (10, False), (12, True), (18, True), (20, True),
    ]  # fmt: skip
    losses = whole.history.rows[2].train_loss, whole.history.rows[3].train_loss
    assert losses[0] != losses[1]
    first = trainer(dataset, tmp_path / "parts")
    assert not first.run(should_stop=StopAt(first, 10))
    log = tmp_path / "parts" / "metrics.jsonl"
    kept = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*kept, kept[-1].replace('"step": 10', '"step": 11')]))
    second = trainer(dataset, tmp_path / "parts")
    second.resume()
    assert second.run()
    assert logged(tmp_path / "parts") == rows
    assert (
        [row.step for row in second.history.measured]
        == record_of(second, finished=True).metrics.step.tolist()
        == [6, 12, 18, 20]
    )


@pytest.mark.parametrize("edges", [None, 100])
@pytest.mark.parametrize("filed", [True, False])
def test_a_streamed_run_is_the_one_in_memory_bit_for_bit(dataset, whole, tmp_path, filed, edges):
    """Also if it resumes in the middle of an epoch."""
    recipe = replace(RECIPE, batch_edges=edges)
    if edges:
        whole = trainer(dataset, tmp_path / "whole", recipe)
        assert whole.run()
    data = replace(dataset, molecules=spill_to_disk(dataset.molecules)) if filed else dataset
    first = trainer(data, tmp_path / "parts", recipe, held_bytes=0)
    assert not first.run(should_stop=StopAt(first, 7))
    second = trainer(data, tmp_path / "parts", recipe, held_bytes=0)
    assert isinstance(second.train_set, StreamedFeatures)
    second.resume()
    assert second.run()
    for name, value in whole.optimiser.tensors().items():
        assert torch.equal(value, second.optimiser.tensors()[name]), name
    rows = [[(row.step, row.train_loss, row.valid_loss) for row in run.history.measured] for run in (whole, second)]
    assert rows[0] == rows[1]


def test_what_steps_wait_for_data_is_written_down(dataset, tmp_path):
    run, notes = trainer(dataset, tmp_path, replace(RECIPE, steps=12), held_bytes=0), []
    read = run.train_set.fetch
    run.train_set.fetch = lambda members: time.sleep(0.2) or read(members)
    run.run(progress=lambda done, total, note="": notes.append(note))
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    written = [row["data_wait"] for row in log if row.get("measured", True)]
    assert len(written) == 2
    assert 0.01 < written[0] <= 1, "nothing was there for the first step"
    assert "waits for data" in notes[0]
    assert record_of(run, finished=True).metrics.data_wait.tolist() == written


def test_a_record_from_before_waiting_was_measured_can_be_read(dataset, tmp_path):
    run = trainer(dataset, tmp_path)
    assert run.run()
    tree = to_tree(record_of(run, finished=True))
    assert len(tree["metrics"].pop("data_wait")) == len(run.history.measured)
    found = from_tree(tree, TrainingRecord).metrics
    assert found.data_wait.shape == found.step.shape
    assert np.isnan(found.data_wait).all()


def test_an_unfinished_run_can_be_recorded(dataset, tmp_path):
    """Before its first step too, where the folder has the model of a run that this one replaces."""
    trainer(dataset, tmp_path).run(should_stop=lambda: True)
    run = trainer(dataset, tmp_path)
    fresh = from_tree(to_tree(record_of(run, finished=False)), TrainingRecord)
    assert (fresh.finished, fresh.checkpoint_sha256, fresh.steps) == (False, "", 0)
    assert len(fresh.metrics.step) == len(fresh.metrics.valid_loss) == len(fresh.metrics.data_wait) == 0
    run.run(should_stop=StopAt(run, 7))
    again = trainer(dataset, tmp_path)
    again.resume()
    record = record_of(again, finished=False)
    assert (record.steps, record.metrics.step.tolist()) == (7, [6])
    assert record.checkpoint_sha256 == file_digest(tmp_path / "model.safetensors")


def test_molecules_that_fit_no_batch_are_refused(dataset, tmp_path):
    with pytest.raises(InvalidInput, match="no room for the largest molecule, whose 7 atoms"):
        trainer(dataset, tmp_path, replace(RECIPE, batch_edges=48))


def test_an_epoch_filled_by_edges_is_as_long_as_it_says(dataset, tmp_path):
    run = trainer(dataset, tmp_path, replace(RECIPE, batch_edges=100, steps=None, epochs=2))
    train = dataset.n_atoms[:40]
    assert run.steps_per_epoch == -(-int((train**2).sum()) // 100)
    assert run.total_steps == 2 * run.steps_per_epoch
    assert run.run()
    assert run.counters.step == run.total_steps
    assert load_checkpoint(run.model_path).provenance["molecules_seen"] == 80


@pytest.mark.parametrize("damage", ["flipped bit", "cut short", "missing"])
def test_a_damaged_state_falls_back_to_the_one_before_and_says_so(dataset, whole, tmp_path, caplog, damage):
    first = trainer(dataset, tmp_path / "parts", SAVING)
    assert not first.run(should_stop=StopAt(first, 15))
    states = [tmp_path / "parts" / name for name in ("state.safetensors", "state.1.safetensors", "state.2.safetensors")]
    steps = [TrainingState.load(state, torch.device("cpu")).counters.step for state in states]
    assert steps[0] == 15
    assert steps == sorted(steps, reverse=True)
    data = bytearray(states[0].read_bytes())
    data[-9] ^= 4
    if damage == "missing":
        states[0].unlink()
    else:
        states[0].write_bytes(data if damage == "flipped bit" else data[:-1000])
    second = trainer(dataset, tmp_path / "parts", SAVING)
    second.resume()
    assert second.counters.step == steps[1]
    assert f"continuing from state.1.safetensors, step {steps[1]}" in caplog.text
    assert second.run()
    a, b = (load_file(folder / "state.safetensors") for folder in (whole.folder, tmp_path / "parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_without_any_whole_state_is_refused(dataset, tmp_path):
    run = trainer(dataset, tmp_path)
    with pytest.raises(InvalidInput, match=r"no training state to resume at .*state\.safetensors"):
        run.resume()


def test_the_best_weights_are_kept(dataset, tmp_path):
    """By validation loss; a later measurement that is worse leaves them."""
    run = trainer(dataset, tmp_path, replace(RECIPE, steps=18))
    losses = iter([0.5, 0.2, 0.4])
    run.objective = replace(run.objective)
    object.__setattr__(run.objective, "validation_loss", lambda *args, **options: next(losses))
    run.run()
    best = load_checkpoint(tmp_path / "best.safetensors")
    assert (best.provenance["steps"], best.metrics["valid_loss"]) == (12, 0.2)
    assert load_checkpoint(tmp_path / "model.safetensors").provenance["steps"] == 18


def test_a_run_that_starts_over_forgets_states_of_the_one_before(dataset, tmp_path):
    trainer(dataset, tmp_path, SAVING).run()
    assert (tmp_path / "state.2.safetensors").exists()
    again = trainer(dataset, tmp_path, replace(RECIPE, learning_rate=1e-5, validate_every=10**6))
    assert (tmp_path / "state.safetensors").exists()
    again.run(should_stop=StopAt(again, 1))
    (state,) = tmp_path.glob("state*.safetensors")
    assert TrainingState.load(state, torch.device("cpu")).identity["recipe"]["learning_rate"] == 1e-5


def test_how_often_outcomes_are_looked_at_changes_nothing(dataset, whole, tmp_path):
    """On a device every few steps, and when something is due."""
    often, seldom = whole, trainer(dataset, tmp_path / "seldom")
    assert often.look_every == 1
    seldom.look_every = 4
    told = []
    assert seldom.run(progress=lambda done, total, note="": told.append(done))
    assert told == [4, 6, 8, 12, 16, 18, 20]
    for name, value in often.optimiser.tensors().items():
        assert torch.equal(value, seldom.optimiser.tensors()[name]), name
    rows = [[replace(row, seconds=0.0, data_wait=None) for row in run.history.rows] for run in (often, seldom)]
    assert rows[0] == rows[1]


def test_bad_steps_are_noticed_at_the_next_look(dataset, tmp_path):
    run = trainer(dataset, tmp_path / "run")
    run.look_every = 6
    run.train_set.values.fill_(float("nan"))
    with pytest.raises(GagaError, match="not finite in 10 steps"):
        run.run()
    assert run.counters.step == 12
    assert run.counters.bad_steps == 10


@pytest.mark.gpu
def test_an_interrupted_run_on_a_device_ends_with_nearly_the_same_losses(dataset, tmp_path):
    """Sums there may be made in another order from one run to the next."""
    recipe = replace(RECIPE, hidden=64, sample_every=0)
    whole, first = (trainer(dataset, tmp_path / run, recipe, device="cuda") for run in ("whole", "parts"))
    assert whole.run()
    assert not first.run(should_stop=StopAt(first, 7))
    second = trainer(dataset, tmp_path / "parts", recipe, device="cuda")
    second.resume()
    assert second.counters.step == first.counters.step >= 7
    assert torch.equal(second.optimiser.clipping.norms, first.optimiser.clipping.norms)
    assert second.run()
    losses = [[row.valid_loss for row in run.history.measured] for run in (whole, second)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


class SecondOfTwo(Ranks):
    """The second of two processes, with a first one that has other data and a clock at 5 s, and is asked to stop."""

    def from_first(self, compute):
        identity, *rest = compute()
        return identity | {"dataset": "other"}, *rest

    def sum(self, value):
        return value + torch.tensor([5.0, 1.0])


def test_processes_with_other_data_are_refused(dataset, tmp_path):
    with pytest.raises(Conflict, match="rank 1 was started with another dataset than rank 0"):
        trainer(dataset, tmp_path, ranks=SecondOfTwo(rank=1, size=2)).run()
    assert not any(tmp_path.iterdir())


def test_any_process_may_ask_to_stop_and_the_clock_is_that_of_rank_0(dataset, tmp_path):
    run = trainer(dataset, tmp_path, ranks=SecondOfTwo(rank=1, size=2))
    run.counters.seconds = 77.0
    assert run._asked_to_stop(lambda: False)
    assert run.counters.seconds == 5.0


def test_a_run_leaves_a_model_that_samples(dataset, tmp_path):
    seen = []
    assert trainer(dataset, tmp_path / "run").run(on_metrics=seen.append)
    model = load_model(tmp_path / "run")
    assert model.max_t == 60
    assert [row.step for row in seen] == [6, 12, 18, 20]
    assert seen[-1].atom_stable is not None
    assert seen[0].atom_stable is None


def test_training_learns_a_shape(tmp_path):
    """Molecules of one rigid shape: the loss must fall well below that of a network that predicts nothing."""
    triangle = np.array([[0.0, 0, 0], [1.5, 0, 0], [0.0, 2.0, 0]])
    molecules = pack([(np.array([6, 6, 1]), triangle)] * 200)
    data = Dataset(name="t", molecules=molecules, ids=np.arange(200), vocabulary=(1, 6),
                   splits={"train": np.arange(150), "valid": np.arange(150, 200), "test": np.arange(0)})  # fmt: skip
    recipe = replace(
        RECIPE,
        hidden=32,
        n_layers=2,
        steps=300,
        learning_rate=4e-3,
        batch_size=32,
        max_t=300,
        validate_every=300,
    )
    rows = []
    trainer(data, tmp_path, recipe).run(on_metrics=rows.append)
    # Nothing predicted: 1/2 * 10 dimensions / 15 entries = 0.33. Noise along the three rotations cannot be told
    # from the data's own orientation: 1/2 * 3 / 15 = 0.1 is the best there is.
    assert 0.09 < rows[-1].valid_loss < 0.2


def test_resume_refuses_another_recipe_and_a_missing_state(dataset, tmp_path):
    trainer(dataset, tmp_path / "run", replace(RECIPE, steps=1)).run()
    with pytest.raises(Conflict, match="learning_rate"):
        trainer(dataset, tmp_path / "run", replace(RECIPE, steps=1, learning_rate=0.5)).resume()
    with pytest.raises(InvalidInput, match="no training state"):
        trainer(dataset, tmp_path / "elsewhere").resume()


def test_a_step_that_is_not_finite_is_skipped_and_ten_stop_the_run(dataset, tmp_path):
    run = trainer(dataset, tmp_path / "run")
    run.train_set.values.fill_(float("nan"))
    before = {k: v.clone() for k, v in run.optimiser.tensors().items()}
    with pytest.raises(GagaError, match="not finite in 10 steps"):
        run.run()
    for name, value in run.optimiser.tensors().items():
        assert torch.equal(before[name], value), name
    facts = json.loads((tmp_path / "run" / "skipped_step.json").read_text())
    assert facts["step"] == 9
    assert len(facts["molecules"]) == 8


def test_a_budget_ends_a_full_schedule_in_time(dataset, tmp_path):
    recipe = replace(RECIPE, lr_schedule="cosine", validate_every=10**6)
    run = trainer(dataset, tmp_path / "run", recipe, budget_s=0.5)
    rates = []
    run.run(progress=lambda done, total, note="": rates.append(run._learning_rate()))
    assert 0.5 <= run.counters.seconds < 2.0
    assert rates[-1] < 0.1 * max(rates)


@pytest.mark.parametrize("only", [{"tuned_for_atoms": 2.0}, {"batch_edges": 100}])
def test_resume_refuses_a_run_without_what_the_state_was_made_with(dataset, tmp_path, only):
    plain = replace(RECIPE, tuned_for_atoms=0.0, batch_edges=None, steps=1)
    trainer(dataset, tmp_path, replace(plain, **only)).run()
    with pytest.raises(Conflict, match=next(iter(only))):
        trainer(dataset, tmp_path, plain).resume()


def test_init_from_starts_at_the_weights_and_refuses_others(dataset, tmp_path):
    trainer(dataset, tmp_path / "a").run()
    start = tmp_path / "a" / "model.safetensors"
    again = trainer(dataset, tmp_path / "b", init_from=start)
    expected = load_model(start).network.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in again.network.state_dict().items())
    with pytest.raises(InvalidInput, match="another network"):
        trainer(dataset, tmp_path / "c", replace(RECIPE, hidden=16), init_from=start)
    with pytest.raises(InvalidInput, match="predicts x0, and this recipe eps"):
        trainer(dataset, tmp_path / "d", replace(RECIPE, prediction="eps"), init_from=start)


def test_weights_keep_the_scales_that_they_were_trained_under(dataset, tmp_path):
    """On data twice as wide the network still expects what it knows."""
    trainer(dataset, tmp_path / "a").run()
    start = tmp_path / "a" / "model.safetensors"
    wide = replace(dataset, molecules=replace(dataset.molecules, positions=2 * dataset.molecules.positions))
    assert trainer(wide, tmp_path / "b", init_from=start).setup.precondition == load_checkpoint(start).precondition
    assert trainer(wide, tmp_path / "c").setup.precondition != load_checkpoint(start).precondition


def test_a_single_element_is_no_reason_to_refuse(tmp_path):
    molecules = pack(
        [(np.full(6, 18, dtype=np.uint8), np.random.default_rng(k).normal(size=(6, 3))) for k in range(20)]
    )
    splits = {"train": np.arange(16), "valid": np.arange(16, 18), "test": np.arange(18, 20)}
    argon = Dataset(name="argon", molecules=molecules, ids=np.arange(20), splits=splits, vocabulary=(18,))
    moments = estimate_moments(molecules, FeatureSpace((18,)))
    run = Trainer(argon, replace(RECIPE, steps=3), moments, tmp_path, seed=0)
    assert run.run()
    assert all(torch.isfinite(value).all() for value in run.optimiser.ema.values())


def test_noise_levels_that_nothing_has_are_refused_before_anything_is_touched(dataset, tmp_path):
    trainer(dataset, tmp_path).run()
    there = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InvalidInput, match="no noise level"):
        trainer(dataset, tmp_path, replace(RECIPE, noise_mean=300.0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == there


def test_a_state_that_cannot_be_published_leaves_those_before(dataset, tmp_path, monkeypatch):
    run = trainer(dataset, tmp_path, SAVING)
    run.run(should_stop=StopAt(run, 5))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*state*")}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for _ in range(2):
        with pytest.raises(Unavailable, match="No space left"):
            TrainingState(run.counters, {}, run.optimiser.tensors()).save(tmp_path / "state.safetensors")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*state*")} == before


def test_states_without_a_checksum_and_without_later_hyperparameters_go_on(dataset, tmp_path):
    """As the first versions wrote them."""
    recipe = replace(RECIPE, prediction="eps", noise_levels="uniform", optimizer="adamw", amsgrad=True, ema_width=None)
    run = trainer(dataset, tmp_path, recipe)
    run.run(should_stop=StopAt(run, 5))
    path = tmp_path / "state.safetensors"
    with safe_open(path, framework="pt") as file:
        header, tensors = json.loads(file.metadata()["gaga"]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    for name in ("prediction", "noise_levels", "optimizer", "amsgrad", "ema_width", "matrix_rate", "noise_mean"):
        del header["identity"]["recipe"][name]
    save_file(tensors, path, {"gaga": json.dumps(header)})
    again = trainer(dataset, tmp_path, recipe)
    again.resume()
    assert again.counters.step == 5


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_other_predictions_train_and_are_kept(dataset, tmp_path, prediction):
    recipe = replace(RECIPE, prediction=prediction, noise_levels="lognormal", steps=100, learning_rate=5e-3,
                     validate_every=1000)  # fmt: skip
    run = trainer(dataset, tmp_path, recipe)
    before = run.objective.validation_loss(run.model(), run.valid_set)
    rows = []
    run.run(on_metrics=rows.append)
    assert rows[-1].valid_loss < 0.95 * before
    assert load_model(tmp_path).precondition == run.setup.precondition
    assert load_model(tmp_path).precondition.prediction == prediction


def test_mixed_precision_trains(dataset, tmp_path):
    rows = []
    trainer(dataset, tmp_path, replace(RECIPE, precision="bfloat16", steps=3)).run(on_metrics=rows.append)
    exact = []
    trainer(dataset, tmp_path / "exact", replace(RECIPE, steps=3)).run(on_metrics=exact.append)
    assert rows[-1].valid_loss == pytest.approx(exact[-1].valid_loss, rel=0.02)
