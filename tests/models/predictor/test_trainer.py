"""Training a predictor: it learns, it resumes bit for bit, and it keeps the weights of the lowest validation error."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from gaga.core.errors import Conflict, InvalidInput
from gaga.data.dataset import Dataset
from gaga.models.predictor.checkpoint import load_predictor
from gaga.models.predictor.recipe import PredictorRecipe, make_predictor_recipe
from gaga.models.predictor.trainer import PredictorTrainer
from gaga.models.training.log import Metrics
from tests.models.predictor.conftest import molecules, sum_of_distances, toy_dataset

RECIPE = PredictorRecipe(hidden=16, n_layers=2, batch_size=20, steps=12, learning_rate=5e-3, validate_every=5)


def trainer(dataset: Dataset, folder: Path, recipe: PredictorRecipe = RECIPE, **options: object) -> PredictorTrainer:
    return PredictorTrainer(dataset, "pairs", recipe, folder, **{"half": "none", **options})


def test_a_property_of_distances_is_learnt(toy, tmp_path):
    recipe = replace(RECIPE, steps=100, learning_rate=1e-2, validate_every=50)
    assert trainer(toy, tmp_path, recipe).run()
    predictor = load_predictor(tmp_path / "predictor.safetensors")
    new = molecules(100, seed=5)
    wanted = sum_of_distances(new)
    error = np.abs(predictor.predict(new) - wanted).mean()
    assert error < 0.15 * np.abs(wanted - np.median(wanted)).mean()
    found = predictor.metrics["errors"]["test"]
    assert found["molecules"] == len(toy.splits["test"])
    assert found["low"] < found["mae"] < found["high"]


@pytest.mark.parametrize("after", [3, 10])
def test_an_interrupted_run_ends_as_if_it_had_not_been(toy, tmp_path, after):
    assert trainer(toy, tmp_path / "whole").run()
    steps = count()
    assert not trainer(toy, tmp_path / "cut").run(should_stop=lambda: next(steps) >= after)
    resumed = trainer(toy, tmp_path / "cut")
    resumed.resume()
    assert resumed.counters.step == after
    assert resumed.run()
    whole, cut = (load_predictor(tmp_path / name / "predictor.safetensors") for name in ("whole", "cut"))
    assert whole.metrics == cut.metrics
    assert all(torch.equal(value, cut.weights[name]) for name, value in whole.weights.items())


def test_the_weights_of_the_lowest_validation_error_are_kept(toy, tmp_path, monkeypatch):
    """Errors as if the second measurement were the best; then the weights are those of a run that ends there."""
    found, rows, kept = iter([3.0, 1.0, 2.0]), [], {}
    valid = toy.splits["valid"]
    run = trainer(toy, tmp_path)

    def said(network: torch.nn.Module, features: object) -> np.ndarray:
        if features is not run._valid_set:
            return np.zeros(len(features))
        return run._scaled(valid) + next(found)

    def on_metrics(row: Metrics) -> None:
        rows.append(row)
        kept[row.step] = {name: value.clone() for name, value in run.network.state_dict().items()}

    monkeypatch.setattr("gaga.models.predictor.trainer.predict_all", said)
    assert run.run(on_metrics=on_metrics)
    assert [row.valid_loss for row in rows] == pytest.approx([3.0, 1.0, 2.0])
    predictor = load_predictor(tmp_path / "predictor.safetensors")
    assert predictor.metrics["lowest_validation_loss"] == pytest.approx(1.0)
    assert all(torch.equal(value, kept[10][name]) for name, value in predictor.weights.items())


def test_a_state_of_another_run_is_rejected(toy, tmp_path):
    trainer(toy, tmp_path).run()
    with pytest.raises(Conflict, match="another learning_rate"):
        trainer(toy, tmp_path, replace(RECIPE, learning_rate=1e-3)).resume()
    with pytest.raises(Conflict, match="another half"):
        trainer(toy, tmp_path, half="first").resume()


def test_a_half_has_half_of_the_molecules_with_a_value(tmp_path):
    values = sum_of_distances(molecules(300))
    values[::7] = np.nan
    dataset = toy_dataset(pairs=values)
    half, whole = (len(trainer(dataset, tmp_path, half=half).train_set) for half in ("first", "none"))
    assert whole == np.isfinite(values[dataset.splits["train"]]).sum()
    assert 0.4 < half / whole < 0.6
    with pytest.raises(InvalidInput, match="first, none"):
        trainer(dataset, tmp_path, half="second")


@pytest.mark.parametrize(("split", "said"), [("train", "no training molecule"), ("valid", "no validation molecule")])
def test_a_split_without_values_is_named(tmp_path, split, said):
    values = sum_of_distances(molecules(300))
    values[toy_dataset().splits[split]] = np.nan
    with pytest.raises(InvalidInput, match=f"{said} has a value of pairs"):
        trainer(toy_dataset(pairs=values), tmp_path)


def test_recipes_are_named():
    assert make_predictor_recipe("edm") == PredictorRecipe()
    assert make_predictor_recipe("small", hidden=32).hidden == 32
    with pytest.raises(InvalidInput, match="small, edm"):
        make_predictor_recipe("large")
    with pytest.raises(InvalidInput, match="unknown hyperparameters"):
        make_predictor_recipe("small", width=3)
