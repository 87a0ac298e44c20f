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
from gaga.stats.price_curve import PriceCurve
from gaga.stats.price_summary import PriceSummary
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
    two = imread(path).shape[0]
    plot_tstar(tstar(result, TstarConfig()), replace(result, effects=effects), path)
    three = imread(path).shape[0]
    priced = replace(result, effects=effects, price=summary_of(0.9))
    plot_tstar(tstar(priced, TstarConfig()), priced, path)
    four = imread(path).shape[0]
    assert four - three == three - two > 300


def summary_of(rate):
    """A price that falls by this factor at each step, of one size."""
    nats = 1e3 * rate ** np.arange(1001.0)
    steps = np.arange(0, 1001, 10)
    curve = PriceCurve(nats=nats, low=0.9 * nats, high=1.1 * nats, spread=nats)
    by_size = np.float32(nats[steps])[None]
    return PriceSummary(
        price=curve, steps=steps, terms=("positions_c4",), by_term=by_size.T, sizes=np.array([18]),
        molecules=np.array([60]), nats_by_size=by_size, low_by_size=by_size, high_by_size=by_size, n_molecules=60,
        level=0.95,
    )  # fmt: skip


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
