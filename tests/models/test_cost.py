from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.models.cost import memory_bytes, seconds_per_sample, seconds_per_step
from gaga.models.ranks import Ranks
from gaga.models.recipes import make_recipe
from gaga.models.training import Trainer
from gaga.stats.moments import estimate_moments
from tests.models.conftest import toy_molecules

RECIPE = make_recipe("tiny", hidden=8, n_layers=1, batch_size=8, stability_samples=2, max_t=20)


def trainer(folder, recipe=RECIPE, **options):
    molecules = toy_molecules(40)
    splits = {"train": np.arange(30), "valid": np.arange(30, 40), "test": np.arange(0)}
    data = Dataset(name="toy", molecules=molecules, ids=np.arange(40), splits=splits, vocabulary=(1, 6))
    return Trainer(data, recipe, estimate_moments(molecules, FeatureSpace((1, 6))), folder, **options)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_measuring_trains_nothing(tmp_path, device):
    run = trainer(tmp_path, replace(RECIPE, hidden=64), device=device)
    before = {name: value.clone() for name, value in run.optimiser.tensors().items()}
    assert seconds_per_step(run) > 0
    assert seconds_per_sample(run) > 0
    for name, value in run.optimiser.tensors().items():
        assert torch.equal(value, before[name]), name
    assert run.counters.step == 0
    assert not any(tmp_path.iterdir())


def test_memory_grows_with_the_batch_and_is_shared(tmp_path):
    alone, twice = memory_bytes(trainer(tmp_path)), memory_bytes(trainer(tmp_path, replace(RECIPE, batch_size=16)))
    weights = 24 * trainer(tmp_path).network.n_parameters
    assert twice - weights == pytest.approx(2 * (alone - weights), abs=4)
    shared = memory_bytes(trainer(tmp_path, replace(RECIPE, batch_size=16), ranks=Ranks(1, 2)))
    assert shared == pytest.approx(alone, abs=4)
