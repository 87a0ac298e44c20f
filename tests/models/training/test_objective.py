from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from gaga.core.errors import InvalidInput
from gaga.data.features import FeatureSpace
from gaga.models.diffusion import Diffusion
from gaga.models.network.layout import Capacity
from gaga.models.ranks import Ranks
from gaga.models.training.batches import Epochs
from gaga.models.training.features import Features
from gaga.models.training.objective import TRAINING, VALIDATION, Objective
from gaga.models.training.recipe import make_recipe
from gaga.noise import make_schedule
from tests.models.conftest import small_network, toy_molecules

RECIPE = make_recipe("tiny", batch_size=6, max_t=60, noise_levels="uniform")
SPACE = FeatureSpace((1, 6))


@pytest.fixture
def columns():
    return Features.of(toy_molecules(20), SPACE, "cpu")


@pytest.fixture
def diffusion():
    network = small_network(2, dtype=torch.float32).requires_grad_(False)
    return Diffusion(network, make_schedule(), SPACE)


def test_the_noise_of_a_molecule_does_not_depend_on_its_batch(columns, diffusion):
    objective = Objective(RECIPE, seed=3)

    def loss_of_seven(members):
        batch = objective.batch(columns, np.array(members), step=11)
        place = members.index(7)
        batch.t.fill_(30)
        batch.weights.fill_(1.0)
        return float(objective.losses(diffusion, columns, batch, 11)[place])

    alone = loss_of_seven([7])
    assert loss_of_seven([2, 7, 5]) == pytest.approx(alone, rel=1e-5)
    assert loss_of_seven([7, 9]) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("changed", ["seed", "step", "stream"])
def test_noise_differs_between_seeds_steps_and_streams(columns, diffusion, changed):
    keys = {"seed": 3, "step": 11, "stream": TRAINING}

    def losses(seed, step, stream):
        objective = Objective(RECIPE, seed)
        batch = objective.batch(columns, np.arange(5), step=0)
        batch.t.fill_(30)
        return objective.losses(diffusion, columns, batch, step, stream)

    ratio = losses(**(keys | {changed: 4})) / losses(**keys)
    assert (ratio - 1).abs().min() > 1e-3


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_shares_sum_to_the_mean_over_the_batch(columns, diffusion, padded, size):
    """Eight processes, six molecules: the last two take a molecule that does not count."""
    objective = Objective(replace(RECIPE, padded_denominator=padded), seed=3)
    members = next(objective.batches(columns, 0))[1]
    shares = [objective.batch(columns, members, 0, ranks=Ranks(rank, size)) for rank in range(size)]
    total = sum(float(objective.losses(diffusion, columns, share, 0).sum()) for share in shares)
    whole = objective.batch(columns, members, 0)
    own = objective.losses(diffusion, columns, whole, 0) / whole.weights
    sizes = torch.from_numpy(columns.n_atoms[members])
    expected = (own * sizes / sizes.max()).mean() if padded else own.mean()
    assert total == pytest.approx(float(expected), rel=1e-5)
    assert sum(float(share.weights.count_nonzero()) for share in shares) == 6


def test_filler_does_not_change_the_loss(columns, diffusion):
    objective = Objective(RECIPE, seed=3)
    members = np.array([1, 4, 6])
    exact = objective.losses(diffusion, columns, objective.batch(columns, members, 5), 5)
    capacity = Capacity.around(columns.n_atoms[members], molecules=6)
    filled = objective.batch(columns, members, 5, capacity=capacity)
    losses = objective.losses(diffusion, columns, filled, torch.tensor(5))
    torch.testing.assert_close(losses[:3], exact)
    assert not losses[3:].any()


def test_steps_are_drawn_up_to_t_star_and_spread_where_asked(columns):
    members = np.arange(20)
    independent = Objective(RECIPE, seed=0)
    drawn = np.concatenate([independent.batch(columns, members, step).t for step in range(200)])
    assert (drawn.min(), drawn.max()) == (0, 60)
    spread = Objective(replace(RECIPE, stratified_t=True, max_t=59), seed=0).batch(columns, members, 0).t
    np.testing.assert_array_equal(np.sort(spread.numpy() // 3), np.arange(20))


@pytest.mark.parametrize("stratified", [True, False])
def test_noise_levels_are_lognormal_where_asked(columns, stratified):
    """ln(sigma_t / alpha_t) of the steps drawn, against the normal cut to [0, T*]."""
    recipe = replace(RECIPE, noise_levels="lognormal", max_t=550, stratified_t=stratified)
    objective = Objective(recipe, seed=0)
    t = np.concatenate([objective.batch(columns, np.arange(20), step).t for step in range(500)])
    level = make_schedule().gamma / 2
    lowest, highest = ((level[k] + 1.26) / 1.41 for k in (0, 550))
    expected = truncnorm(lowest, highest, loc=-1.26, scale=1.41)
    assert (t.min(), t.max()) == (0, 550)
    for quantile in (0.1, 0.5, 0.9):
        place = expected.ppf(quantile)
        below = (level[t] < place).mean()
        assert abs(below - quantile) < 4 * np.sqrt(0.25 / len(t)) + 0.005  # the grid's own width at the lowest levels
    assert Objective(recipe, 0).batch(columns, np.arange(20), 0, stream=VALIDATION).t.float().mean() > 150, "even there"


def test_noise_levels_that_nothing_has(columns):
    objective = Objective(replace(RECIPE, noise_levels="lognormal", noise_mean=300.0), seed=0)
    with pytest.raises(InvalidInput, match="noise_mean"):
        objective.batch(columns, np.arange(3), 0)


def test_the_validation_loss_is_a_mean_that_is_always_the_same(columns, diffusion):
    objective = Objective(RECIPE, seed=3)
    loss = objective.validation_loss(diffusion, columns)
    assert loss == objective.validation_loss(diffusion, columns)
    by_hand = []
    for k, members in enumerate(Epochs(columns.n_atoms, 6, 0).batches(0)):
        batch = objective.batch(columns, members, k, stream=VALIDATION)
        by_hand += (objective.losses(diffusion, columns, batch, k, VALIDATION) * len(members)).tolist()
    assert len(by_hand) == 20
    assert loss == pytest.approx(np.mean(by_hand), rel=1e-6)
    assert np.isnan(objective.validation_loss(diffusion, Features.of(toy_molecules(0), SPACE, "cpu")))
