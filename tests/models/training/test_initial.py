"""Weights of one vocabulary go on as those of another."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.data.features import FeatureSpace
from gaga.models.api import SMALL_CHECKPOINT
from gaga.models.checkpoint import load_checkpoint, save_checkpoint
from gaga.models.diffusion import Diffusion
from gaga.models.network.egnn import EGNN
from gaga.models.network.layout import Layout
from gaga.models.training.initial import initial_network, precondition_of
from gaga.models.training.recipe import make_recipe
from gaga.noise import Moments, make_schedule
from gaga.stats.moments import estimate_moments

RECIPE = make_recipe("small")
MORE = FeatureSpace(vocabulary=(1, 5, 6, 7, 8, 9, 16))
KEPT = [0, 1, 2, 3, 5, 6, 7, 8]  # columns of H C N O F among those of MORE, behind the positions
NEW = [4, 9]  # of B and S


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint(SMALL_CHECKPOINT)


@pytest.fixture(scope="module")
def network():
    return initial_network(RECIPE, MORE, 0, "auto", SMALL_CHECKPOINT)


def test_molecules_of_known_elements_are_seen_as_before(shipped, network):
    before = EGNN(shipped.network)
    before.load_state_dict(dict(shipped.weights))
    layout, t = Layout.of(np.array([3, 9])), torch.tensor([0.2, 0.7])
    columns = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    more = torch.zeros(12, 10)
    more[:, KEPT] = columns
    with torch.no_grad():
        expected, found = before(columns, t, layout), network(more, t, layout)
    torch.testing.assert_close(found[:, KEPT], expected, rtol=1e-5, atol=1e-5)
    assert expected.abs().max() > 0.1


def test_a_new_element_starts_as_the_most_similar_one(network):
    into, out = network.embedding.weight, network.embedding_out.weight
    for new, old in ((5, 6), (16, 8)):  # boron as carbon, sulphur as oxygen
        one, other = (MORE.vocabulary.index(z) for z in (new, old))
        torch.testing.assert_close(into[:, one], into[:, other], rtol=0, atol=0)
        torch.testing.assert_close(out[one], out[other], rtol=0, atol=0)


def test_molecules_of_new_elements_are_hardly_worse_off(network):
    thiirane = pack([(np.array([16, 6, 6, 1, 1, 1, 1]), np.array([
        [0.0, 0.0, 0.9], [0.7, 0.0, -0.7], [-0.7, 0.0, -0.7], [1.2, 0.9, -1.0], [1.2, -0.9, -1.0],
        [-1.2, 0.9, -1.0], [-1.2, -0.9, -1.0]]))])  # fmt: skip
    schedule = make_schedule(RECIPE.schedule, 1000, 1e-5)
    diffusion = Diffusion(
        network, schedule, MORE, precondition=precondition_of(RECIPE, MORE, _moments(), SMALL_CHECKPOINT)
    )
    x, layout = torch.from_numpy(MORE.encode(thiirane)).float(), Layout.of(thiirane.n_atoms)
    eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        losses = torch.stack([diffusion.loss(x, eps, torch.tensor([t]), layout) for t in (50, 200, 400)])
    assert losses.max() < 2  # 0.2 to 0.4 as it is, 0.5 untrained; what is blown up has hundreds


@pytest.mark.parametrize(("centred", "square"), [(True, 1 / 48), (False, 1 / 32)])
def test_x0_scales_are_the_root_mean_squares_of_the_columns(centred, square):
    """Water, one-hot / 4. Centred: 2/9 / 16 for both columns, times N / (N - 1) on the zero-mean subspace. Not centred:
    the mean belongs to the scale (Karras et al. 2022: sd^2 = E[x^2]), (2/3 + 1/3) / 2 / 16."""
    rng = np.random.default_rng(0)
    molecules = pack([(np.array([8, 1, 1]), rng.normal(size=(3, 3))) for _ in range(200)])
    space = FeatureSpace((1, 8), centred_features=centred)
    sd = precondition_of(RECIPE, space, estimate_moments(molecules, space)).sd
    assert sd[3:] == pytest.approx([square**0.5] * 2, rel=1e-6)
    assert sd[:3] == pytest.approx([1.0] * 3, abs=0.1)  # 1,200 free numbers: a standard error of 2 %


def test_the_scales_stay(shipped):
    sd = precondition_of(RECIPE, MORE, _moments(), SMALL_CHECKPOINT).sd
    assert [sd[c] for c in KEPT] == list(shipped.precondition.sd)
    assert [sd[c] for c in NEW] == [shipped.precondition.sd[4], shipped.precondition.sd[6]]


def test_the_same_elements_are_the_same_weights_and_nothing_is_said(shipped, caplog):
    with caplog.at_level(logging.WARNING):
        again = initial_network(RECIPE, shipped.space, 0, "auto", SMALL_CHECKPOINT)
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, shipped.weights[name].float(), rtol=0, atol=0)
    assert caplog.messages == []


def test_new_elements_are_named(caplog):
    with caplog.at_level(logging.WARNING):
        initial_network(RECIPE, MORE, 0, "auto", SMALL_CHECKPOINT)
    assert caplog.messages == ["qm9_small.safetensors does not know all elements: B as C, S as O."]


@pytest.mark.parametrize(
    "space",
    [
        FeatureSpace(vocabulary=(16, 17)),
        replace(MORE, include_charges=True),
        replace(MORE, centred_features=False),
        replace(MORE, factors=(1.0, 1.0, 10.0)),
    ],
)
def test_other_columns_are_refused(space):
    with pytest.raises(InvalidInput, match="other columns"):
        initial_network(RECIPE, space, 0, "auto", SMALL_CHECKPOINT)


def test_sums_over_larger_molecules_are_divided_by_how_much_larger_they_are():
    def divided_by(mean_atoms, recipe=RECIPE, init_from=None):
        network = initial_network(recipe, MORE, 0, "auto", init_from, mean_atoms=mean_atoms)
        return network.config.normalization_factor

    assert [divided_by(n) for n in (None, 9.0, 18.02, 44.4, 181.0)] == [1.0, 1.0, 1.0, 2.5, 10.1]
    assert divided_by(44.4, make_recipe("edm-geom")) == 1.0  # as published
    assert divided_by(44.4, init_from=SMALL_CHECKPOINT) == 2.5


def test_weights_keep_their_division_unless_molecules_are_much_larger(tmp_path, shipped, caplog):
    of_drugs = tmp_path / "drugs.safetensors"  # trained on molecules of 18 atoms, divided by 2.2 all the same
    save_checkpoint(replace(shipped, network=replace(shipped.network, normalization_factor=2.2)), of_drugs)

    def divided_by(mean_atoms):
        network = initial_network(RECIPE, shipped.space, 0, "auto", of_drugs, mean_atoms=mean_atoms)
        return network.config.normalization_factor

    with caplog.at_level(logging.WARNING):
        assert [divided_by(n) for n in (None, 9.0, 18.0, 26.0)] == [2.2] * 4
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING):
        assert divided_by(36.06) == 4.4
    assert caplog.messages == [
        "drugs.safetensors has seen smaller molecules: sums over atoms are divided by 4.4, not 2.2."
    ]
    save_checkpoint(replace(load_checkpoint(of_drugs), moments=None), of_drugs)
    assert divided_by(181.0) == 2.2, "nothing is known of its molecules"


def test_without_such_a_division_it_is_part_of_the_network(tmp_path, shipped):
    other = replace(shipped, network=replace(shipped.network, normalization_factor=2.0))
    save_checkpoint(other, tmp_path / "other.safetensors")
    plain = make_recipe("small", tuned_for_atoms=0)
    with pytest.raises(InvalidInput, match="another network"):
        initial_network(plain, shipped.space, 0, "auto", tmp_path / "other.safetensors", mean_atoms=44.4)


def _moments() -> Moments:
    moments = load_checkpoint(SMALL_CHECKPOINT).moments
    assert moments is not None
    return moments
