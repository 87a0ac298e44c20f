"""Molecules of GEOM-Drugs' size, with its vocabulary, all the way from training to new molecules."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga import load_model, sample
from gaga.core.molecules import pack
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.training.recipe import PRESETS, Recipe
from gaga.models.training.trainer import Trainer
from gaga.noise import REFERENCE_KINDS, make_schedule
from gaga.stats.moments import estimate_moments

GEOM = (1, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 33, 35, 53, 80, 83)
OCCUR = (1, 6, 7, 83)


@pytest.fixture(scope="module")
def dataset():
    """Sixty clouds of 2 to 40 atoms, and one of 181; most elements of the vocabulary do not occur."""
    rng = np.random.default_rng(0)
    molecules = pack([(rng.choice(OCCUR, n), 2 * rng.normal(size=(n, 3))) for n in [*rng.integers(2, 40, 60), 181]])
    splits = {"train": np.r_[0:50, 60], "valid": np.arange(50, 60), "test": np.arange(0)}
    return Dataset(name="drugs", molecules=molecules, ids=np.arange(61), splits=splits, vocabulary=GEOM)


def shrunk(preset) -> Recipe:
    """A preset with a network that takes no time."""
    changes = {"hidden": 8, "n_layers": 1, "steps": 14, "validate_every": 7, "sample_every": 0, "stability_samples": 1}
    recipe = replace(PRESETS[preset], **changes, max_t=650)
    return replace(recipe, batch_size=4) if recipe.batch_edges is None else replace(recipe, batch_edges=40_000)


@pytest.fixture(scope="module", params=["edm-geom", "large-geom"])
def trained(request, dataset, tmp_path_factory):
    recipe, folder = shrunk(request.param), tmp_path_factory.mktemp(request.param)
    space = FeatureSpace(GEOM, include_charges=recipe.include_charges, centred_features=recipe.centred_features)
    moments = estimate_moments(dataset.molecules.take(dataset.splits["train"]), space)
    trainer = Trainer(dataset, recipe, moments, folder)
    assert trainer.run()
    return trainer


def test_training_is_finite_and_its_checkpoint_has_every_type(trained):
    assert all(np.isfinite(row.train_loss) and np.isfinite(row.valid_loss) for row in trained.history.measured)
    assert trained.counters.bad_steps == 0
    model = load_model(trained.model_path)
    assert (model.max_t, model.space.vocabulary, model.space.columns) == (650, GEOM, 19)


@pytest.mark.parametrize("start", REFERENCE_KINDS)
@pytest.mark.parametrize("method", ["annealed", "ddpm"])
def test_the_largest_and_the_smallest_are_sampled_together(trained, start, method):
    drawn = sample(load_model(trained.model_path), 3, seed=5, method=method, start=start, steps=2, sizes=(2, 181))
    assert set(drawn.n_atoms) == {2, 181}
    assert np.isfinite(drawn.positions).all()
    assert set(drawn.atomic_numbers) <= set(GEOM)


@pytest.mark.parametrize("include_charges", [True, False])
@pytest.mark.parametrize("method", ["annealed", "ddpm"])
def test_a_network_that_wants_the_last_element_gets_it(dataset, include_charges, method):
    """The bismuth of published models of GEOM-Drugs is lost between the network and the file."""
    space = FeatureSpace(GEOM, include_charges=include_charges, centred_features=False)
    schedule, wanted = make_schedule(), torch.zeros(space.columns)
    wanted[3 + GEOM.index(83)] = 0.25

    def network(z, t, layout: Layout):
        alpha2 = torch.from_numpy(schedule.alpha2).to(z)[torch.round(t * schedule.T).long()]
        alpha, sigma = (layout.per_atom(value.sqrt())[:, None] for value in (alpha2, 1 - alpha2))
        return (z - alpha * wanted) / sigma

    moments = estimate_moments(dataset.molecules, space)
    model = Model(network, schedule, space, max_t=650, moments=moments)
    drawn = sample(model, 4, method=method, steps=8, sizes=(5, 181))
    assert set(drawn.atomic_numbers) == {83}
