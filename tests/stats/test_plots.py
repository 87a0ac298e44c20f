from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from gaga.core.errors import InvalidInput, NotFound
from gaga.noise import make_schedule
from gaga.stats.config import GaussianityConfig, TstarConfig
from gaga.stats.effects import molecule_effects
from gaga.stats.gaussianity import gaussianity
from gaga.stats.plots import plot_tstar
from gaga.stats.tstar import tstar


@pytest.fixture(scope="module")
def result(qm9, space, qm9_moments):
    config = GaussianityConfig(timesteps=(100, 400, 900), n_null=40, n_resamples=10)
    return gaussianity(qm9.take(np.arange(0, 120_000, 3000)), space, make_schedule(), qm9_moments, config, seed=0)


@pytest.mark.parametrize("reference", ["block", "matched", "published"])
def test_a_figure_with_curves(result, tmp_path, reference):
    path = tmp_path / "tstar.png"
    plot_tstar(tstar(result, TstarConfig(reference=reference)), result, path)
    image = imread(path)
    assert image.shape[0] > 600
    assert image[..., :3].std() > 0.05
    assert list(tmp_path.iterdir()) == [path]


def test_effects_have_a_panel_of_their_own(result, qm9, space, tmp_path):
    effects = molecule_effects(
        qm9.take(np.arange(0, 120_000, 3000)), space, make_schedule(), (100, 400, 900), seed=0, n_resamples=10
    )
    path = tmp_path / "tstar.png"
    plot_tstar(tstar(result, TstarConfig()), result, path)
    two = imread(path).shape
    plot_tstar(tstar(result, TstarConfig()), replace(result, effects=effects), path)
    assert imread(path).shape == (two[0] * 3 // 2, *two[1:])


def test_a_figure_without_a_step(result, tmp_path):
    found = tstar(result, TstarConfig(eps_distance=1e-9))
    assert found.tstar is None
    plot_tstar(found, result, tmp_path / "tstar.svg")
    assert "<svg" in (tmp_path / "tstar.svg").read_text()


def test_a_format_that_cannot_be_drawn(result, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be drawn"):
        plot_tstar(tstar(result, TstarConfig()), result, tmp_path / "tstar.sdf")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(result, tmp_path):
    with pytest.raises(NotFound):
        plot_tstar(tstar(result, TstarConfig()), result, tmp_path / "missing" / "tstar.png")
