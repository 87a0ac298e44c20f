from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from gaga.core.molecules import pack
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.models.ranks import Ranks
from gaga.models.training.cost import memory_bytes, seconds_per_sample, seconds_per_step
from gaga.models.training.recipe import make_recipe
from gaga.models.training.trainer import Trainer
from gaga.stats.moments import estimate_moments
from tests.models.conftest import toy_molecules

RECIPE = make_recipe("tiny", hidden=8, n_layers=1, batch_size=8, stability_samples=2, max_t=20)


def drugs(sizes):
    """Clouds of carbon of these numbers of atoms."""
    rng = np.random.default_rng(0)
    return pack([(np.full(n, 6), 2 * rng.normal(size=(n, 3))) for n in sizes])


def trainer(folder, recipe=RECIPE, molecules=None, **options):
    molecules = molecules or toy_molecules(40)
    n = len(molecules)
    splits = {"train": np.arange(n), "valid": np.arange(0), "test": np.arange(0)}
    data = Dataset(name="toy", molecules=molecules, ids=np.arange(n), splits=splits, vocabulary=(1, 6))
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


def kept_bytes(run):
    """What the heaviest of the first batches keeps for its backward pass, in tensors that are not parameters."""
    stepper, batches = run.stepper, islice(run.objective.batches(run.train_set, 0), 32)
    step, members = max(batches, key=lambda item: int((stepper.sizes(item[1]) ** 2).sum()))
    stepper.load(stepper.prepare(members, step), step)
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        stepper.gradient()
    return sum(kept.values())


@pytest.mark.parametrize("kernel", ["torch", "naive"])
@pytest.mark.parametrize(
    "sizes", [[44, 60, 30, 50] * 3, [2, 181, 2, 2]], ids=["drugs", "the largest among the smallest"]
)
def test_memory_is_what_a_batch_of_drugs_takes(tmp_path, kernel, sizes):
    """More than what is kept for the backward pass, which has temporary tensors too, but not twice as much."""
    recipe = replace(RECIPE, hidden=32, n_layers=2, batch_size=4)
    run = trainer(tmp_path, recipe, molecules=drugs(sizes), kernel=kernel)
    without = 24 * run.network.n_parameters + 4 * run.train_set.values.numel()
    assert 0.5 < kept_bytes(run) / (memory_bytes(run) - without) < 1


def test_memory_is_shared_and_follows_the_room_for_edges(tmp_path):
    molecules = drugs([20] * 64)

    def activations(**options):
        run = trainer(tmp_path, molecules=molecules, **options)
        table = run.train_set.values.numel() if run.train_set.readers == 1 else 0
        return memory_bytes(run) - 24 * run.network.n_parameters - 4 * table

    alone = activations()
    assert activations(recipe=replace(RECIPE, batch_size=16)) == pytest.approx(2 * alone, abs=4)
    assert activations(recipe=replace(RECIPE, batch_size=16), ranks=Ranks(1, 2)) == pytest.approx(alone, abs=4)
    assert activations(recipe=replace(RECIPE, batch_edges=16 * 400)) == pytest.approx(2 * alone, abs=4)
    assert activations(held_bytes=0) == pytest.approx(alone, abs=4)
