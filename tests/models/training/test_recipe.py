from dataclasses import replace

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.models.training.recipe import PRESETS, Recipe, make_recipe


def test_presets_are_the_published_recipes():
    gaga, edm = PRESETS["gaga-qm9"], PRESETS["edm"]
    assert (gaga.hidden, gaga.n_layers, gaga.batch_size, gaga.learning_rate) == (256, 9, 256, 1e-4)
    assert (gaga.ema_decay, gaga.epochs, gaga.stability_samples, gaga.max_t) == (0.9999, 1650, 1000, 550)
    assert gaga.centred_features
    assert not gaga.include_charges
    assert (edm.max_t, edm.batch_size, edm.include_charges, edm.centred_features) == (1000, 64, True, False)
    assert gaga == Recipe()


def test_the_preset_for_geom_is_the_published_recipe():
    """The command in the README of EDM's code; epochs of appendix E; T* of Qu et al. 2026 as an option."""
    geom = PRESETS["edm-geom"]
    assert (geom.hidden, geom.n_layers, geom.inv_sublayers, geom.include_charges) == (256, 4, 1, False)
    assert (geom.batch_size, geom.learning_rate, geom.ema_decay, geom.epochs) == (64, 1e-4, 0.9999, 13)
    assert (geom.diffusion_steps, geom.schedule, geom.precision_of_schedule) == (1000, "polynomial_2", 1e-5)
    assert (geom.factors, geom.max_t, geom.prediction, geom.stability_samples) == ((1.0, 4.0, 10.0), 1000, "eps", 500)
    assert geom.padded_denominator
    assert not geom.centred_features
    assert make_recipe("edm-geom", max_t=650).max_t == 650


def test_batches_are_filled_by_edges_or_by_molecules():
    assert make_recipe("edm-geom", batch_edges=50_000).batch_edges == 50_000
    assert make_recipe("large-geom", batch_size=8).batch_edges is None
    for changes in ({"batch_edges": 50_000, "batch_size": 8}, {"batch_edges": 0}):
        with pytest.raises(InvalidInput, match="batch_edges"):
            make_recipe("edm-geom", **changes)


@pytest.mark.parametrize(
    "changes",
    [{"max_t": 2000}, {"hidden": 0}, {"learning_rate": 0.0}, {"ema_decay": 1.0}, {"lr_schedule": "step"},
     {"hidden": 8.5}, {"include_charges": "no"}, {"weight_decay": float("nan")},
     {"prediction": "x"}, {"noise_levels": "some"}, {"noise_spread": 0.0}, {"ema_width": 0.3},
     {"colour": 1}, {"factors": [1, 0, 1]}, {"steps": 0}, {"hidden": "wide"},
     {"clipping": "mean"}, {"tuned_for_atoms": 0.5}],
)  # fmt: skip
def test_recipes_out_of_range(changes):
    with pytest.raises(InvalidInput):
        make_recipe("tiny", **changes)


def test_the_learning_rate_warms_up_and_fades():
    recipe = make_recipe("tiny", learning_rate=0.1, warmup_steps=10, lr_schedule="cosine")
    assert recipe.learning_rate_at(0, 0.0) == pytest.approx(0.01)
    assert recipe.learning_rate_at(9, 0.0) == pytest.approx(0.1)
    assert recipe.learning_rate_at(500, 0.5) == pytest.approx(0.05)
    assert recipe.learning_rate_at(1000, 1.0) == recipe.learning_rate_at(1000, 1.4) == pytest.approx(0.0)
    constant = replace(recipe, lr_schedule="constant", warmup_steps=0)
    assert constant.learning_rate_at(0, 0.9) == constant.learning_rate_at(1000, 1.0) == 0.1


def test_the_average_forgets_fast_at_first_where_asked():
    warm = make_recipe("tiny", ema_decay=0.999, ema_warmup=True)
    assert warm.ema_decay_at(0) == pytest.approx(0.1)
    assert warm.ema_decay_at(10**6) == 0.999
    assert replace(warm, ema_warmup=False).ema_decay_at(0) == 0.999


def test_an_average_by_decay_replaces_the_one_by_width():
    recipe = make_recipe("small", ema_decay=0.5)
    assert recipe.ema_width is None
    assert recipe.ema_decay_at(10_000) == 0.5


@pytest.mark.parametrize(
    ("preset", "changes"),
    [("edm", {"noise_mean": 1.0}), ("gaga-qm9", {"noise_spread": 1.0}), ("edm", {"matrix_rate": 2.0}),
     ("small", {"ema_width": 0.1, "ema_decay": 0.9})],
)  # fmt: skip
def test_what_would_have_no_effect_is_refused(preset, changes):
    with pytest.raises(InvalidInput, match="without effect"):
        make_recipe(preset, **changes)


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_the_power_function_average_has_its_width(width):
    """The weight of each step in the average, by the decays, against its standard deviation over the steps done."""
    recipe, n = make_recipe("tiny", ema_width=width), 4000
    decays = np.array([recipe.ema_decay_at(step) for step in range(n)])
    share = (1 - decays) * np.append(np.cumprod(decays[:0:-1])[::-1], 1.0)
    place = (np.arange(n) + 0.5) / n
    assert share.sum() == pytest.approx(1.0)
    mean = (share * place).sum()
    assert np.sqrt((share * (place - mean) ** 2).sum()) == pytest.approx(width, rel=0.01)


@pytest.mark.parametrize(("sample_every", "expected"), [(0, [6, 12, 18]), (4, [4, 6, 8, 12, 16, 18])])
def test_when_something_is_measured(sample_every, expected):
    recipe = make_recipe("tiny", validate_every=6, sample_every=sample_every)
    assert [step for step in range(1, 20) if recipe.measures_after(step)] == expected
    assert all(recipe.measures_after(step + recipe.until_measured(step)) for step in range(20))
