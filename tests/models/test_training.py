import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gaga import load_model
from gaga.base.errors import Conflict, GagaError, InvalidInput
from gaga.base.molecules import pack
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.models.batches import batches_from, batches_of_epoch
from gaga.models.clipping import AdaptiveClipping
from gaga.models.layout import Layout
from gaga.models.recipes import PRESETS, Recipe, make_recipe
from gaga.models.training import Trainer
from gaga.stats.moments import estimate_moments
from tests.models.conftest import small_network, toy_molecules


@pytest.fixture(scope="module")
def dataset():
    molecules = toy_molecules(60)
    splits = {"train": np.arange(40), "valid": np.arange(40, 50), "test": np.arange(50, 60)}
    return Dataset(name="toy", molecules=molecules, ids=np.arange(60), splits=splits, vocabulary=(1, 6))


RECIPE = make_recipe("tiny", hidden=8, n_layers=1, batch_size=8, steps=20, validate_every=6, stability_samples=2,
                     max_t=60, warmup_steps=3, save_every_s=0.0)  # fmt: skip


def trainer(dataset, folder, recipe=RECIPE, **options):
    moments = estimate_moments(dataset.molecules.take(dataset.splits["train"]), FeatureSpace((1, 6)))
    return Trainer(dataset, recipe, moments, folder, seed=4, **options)


class StopAt:
    def __init__(self, trainer, step):
        self.trainer, self.step = trainer, step

    def __call__(self):
        return self.trainer.counters.step >= self.step


@pytest.mark.parametrize("stop", [1, 7, 13])
def test_an_interrupted_run_ends_with_the_same_weights_bit_for_bit(dataset, tmp_path, stop):
    whole = trainer(dataset, tmp_path / "whole")
    assert whole.run()
    first = trainer(dataset, tmp_path / "parts")
    assert not first.run(should_stop=StopAt(first, stop))
    second = trainer(dataset, tmp_path / "parts")
    second.resume()
    assert second.counters.step == stop
    assert second.run()
    a, b = (load_file(tmp_path / run / "state.safetensors") for run in ("whole", "parts"))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    rows = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("whole", "parts")
    ]
    assert [(r["step"], r["valid_loss"]) for r in rows[0]] == [(r["step"], r["valid_loss"]) for r in rows[1]]


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
        save_every_s=60.0,
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
    run.folder.mkdir()
    with torch.no_grad():
        run.network.embedding.bias.fill_(float("nan"))
    before = {k: v.clone() for k, v in run.ema.items()}
    with pytest.raises(GagaError, match="not finite in 10 steps"):
        run.run()
    assert all(torch.equal(before[k], v) for k, v in run.ema.items())
    assert json.loads((tmp_path / "run" / "skipped_step.json").read_text())["step"] == 9


def test_a_budget_ends_a_full_schedule_in_time(dataset, tmp_path):
    recipe = replace(RECIPE, lr_schedule="cosine", validate_every=10**6, save_every_s=60.0)
    run = trainer(dataset, tmp_path / "run", recipe, budget_s=0.5)
    rates = []
    run.run(progress=lambda done, total, note="": rates.append(run._learning_rate()))
    assert 0.5 <= run.counters.seconds < 2.0
    assert rates[-1] < 0.1 * max(rates)


def test_init_from_starts_at_the_weights_and_refuses_others(dataset, tmp_path):
    trainer(dataset, tmp_path / "a").run()
    start = tmp_path / "a" / "model.safetensors"
    again = trainer(dataset, tmp_path / "b", init_from=start)
    expected = load_model(start).network.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in again.network.state_dict().items())
    with pytest.raises(InvalidInput, match="another network"):
        trainer(dataset, tmp_path / "c", replace(RECIPE, hidden=16), init_from=start)


def test_mixed_precision_keeps_coordinates_in_float32():
    """Coordinate updates that matter: bfloat16 products move the output by their own rounding, 2^-8, and no more."""
    network = small_network(dtype=torch.float32)
    layout = Layout.of(np.array([9, 18, 18]))
    z = torch.randn(45, 8, generator=torch.Generator().manual_seed(0))
    t = torch.full((3,), 0.3)
    exact = network(z, t, layout)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(z, t, layout)
    assert mixed.dtype == torch.float32
    assert exact[:, :3].abs().max() > 0.5
    error = (mixed - exact).abs().max() / exact.abs().max()
    assert 1e-5 < error < 0.02


def test_mixed_precision_trains(dataset, tmp_path):
    rows = []
    trainer(dataset, tmp_path, replace(RECIPE, precision="bfloat16", steps=3)).run(on_metrics=rows.append)
    exact = []
    trainer(dataset, tmp_path / "exact", replace(RECIPE, steps=3)).run(on_metrics=exact.append)
    assert rows[-1].valid_loss == pytest.approx(exact[-1].valid_loss, rel=0.02)


def test_batches_hold_every_molecule_once_and_few_sizes():
    n_atoms = np.random.default_rng(0).integers(3, 30, 5000)
    batches = batches_of_epoch(n_atoms, 50, seed=1, epoch=2)
    assert sorted(np.concatenate(batches)) == list(range(5000))
    assert np.mean([len(set(n_atoms[b])) for b in batches]) < 3
    again = batches_of_epoch(n_atoms, 50, seed=1, epoch=2)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    stream = batches_from(n_atoms, 50, seed=1, step=2 * 100 + 7)
    np.testing.assert_array_equal(next(stream)[1], batches[7])


def test_adaptive_clipping_follows_the_norms():
    clipping = AdaptiveClipping()
    assert clipping.limit() == 4500.0
    for _ in range(50):
        clipping.add(1.0)
    assert clipping.limit() == pytest.approx(1.5)
    clipping.add(100.0)
    assert max(clipping.norms()) == pytest.approx(1.5)


def test_presets_are_the_published_recipes():
    gaga, edm = PRESETS["gaga-qm9"], PRESETS["edm"]
    assert (gaga.hidden, gaga.n_layers, gaga.batch_size, gaga.learning_rate) == (256, 9, 256, 1e-4)
    assert (gaga.ema_decay, gaga.epochs, gaga.stability_samples, gaga.max_t) == (0.9999, 1650, 1000, 550)
    assert gaga.centred_features
    assert not gaga.include_charges
    assert (edm.max_t, edm.batch_size, edm.include_charges, edm.centred_features) == (1000, 64, True, False)
    assert gaga == Recipe()


@pytest.mark.parametrize(
    "changes",
    [{"max_t": 2000}, {"hidden": 0}, {"learning_rate": 0.0}, {"ema_decay": 1.0}, {"lr_schedule": "step"},
     {"hidden": 8.5}, {"include_charges": "no"}, {"weight_decay": float("nan")},
     {"colour": 1}, {"factors": [1, 0, 1]}, {"steps": 0}, {"hidden": "wide"}],
)  # fmt: skip
def test_recipes_out_of_range(changes):
    with pytest.raises(InvalidInput):
        make_recipe("tiny", **changes)
