from dataclasses import replace

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.noise import make_schedule
from gaga.stats.config import TstarConfig
from gaga.stats.curves import DistanceCurves
from gaga.stats.dependence import DependenceCurves
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.price_summary import PriceSummary
from gaga.stats.reference import ReferenceTest
from gaga.stats.tstar import NEVER, TstarResult, tstar
from gaga.storage.serialise import from_tree, to_tree
from tests.stats.test_tstar_by_price import effects_of
from tests.stats.test_tstar_by_price import result_of as price_of

STEPS = np.array([100, 200, 300, 400, 500])


def distances(worst, n_resamples=4):
    """Curves of two blocks and one reference whose worst block is as given."""
    estimate = np.stack([np.array(worst), np.array(worst) / 2], axis=1)[..., None]
    resampled = np.repeat(estimate[None], n_resamples, axis=0).astype(np.float32)
    return DistanceCurves(estimate=estimate, low=estimate, high=estimate, resampled=resampled)


def dependence(worst, n_resamples=4):
    """Curves of which one block and one kind of pairs is as given, and the rest 0."""
    estimate = np.zeros((len(STEPS), 2, 2, 1))
    estimate[:, 1, 0, 0] = worst
    resampled = np.repeat(estimate[None], n_resamples, axis=0).astype(np.float32)
    return DependenceCurves(
        estimate=estimate,
        low=estimate,
        high=estimate,
        resampled=resampled,
        data_mean=estimate[..., 0],
        null_mean=np.zeros_like(estimate),
        null_resampled=np.zeros_like(resampled),
    )


def flags(rows):
    """Passes [M, S, 2, 3] of molecules written as strings of 0 and 1; only one of the six tests ever fails."""
    passes = np.ones((len(rows), len(STEPS), 2, 3), dtype=bool)
    passes[:, :, 1, 2] = np.array([[c == "1" for c in row] for row in rows])
    return passes


def result_of(rows=("11111", "00111"), d=(0.5, 0.2, 0.005, 0.004, 0.003), dep=(0.5, 0.005, 0.004, 0.003, 0.002)):
    schedule = make_schedule()
    return GaussianityResult(
        schedule=schedule.name,
        gamma=schedule.gamma,
        timesteps=STEPS,
        alpha2=schedule.alpha2[STEPS],
        blocks=("positions", "types"),
        references=("block",),
        nulls=("independent",),
        pairs=("features", "atoms"),
        tests=("ks", "mi_features", "mi_atoms"),
        n_molecules=len(rows),
        n_null=2,
        n_left_out=0,
        seed=0,
        level=0.95,
        reference=ReferenceTest(
            alpha=0.05,
            mi_threshold=0.1,
            variances=np.ones(2),
            neighbours=np.array([2, 3]),
            passes=flags(rows),
            null_passes=flags(["11111", "11111"]),
        ),
        distances=distances(d),
        null_distances=distances([0.001] * 5),
        dependence=dependence(dep),
    )


def test_paper_is_the_later_of_both_parts():
    found = tstar(result_of(), TstarConfig())
    assert (found.t_dependence.data.value, found.t_distance.data.value) == (200, 300)
    assert (found.tstar, found.paper.data.value, found.paper.null.value) == (300, 300, 100)
    assert (found.estimator, found.reference, found.resolution, found.T) == ("paper", "block", 100, 1000)
    assert "from t = 200" in found.reason
    assert "from t = 300" in found.reason


def test_it_must_keep_holding():
    found = tstar(result_of(d=(0.005, 0.005, 0.02, 0.005, 0.005)), TstarConfig())
    assert found.t_distance.data.value == 400


def test_no_step_passes():
    found = tstar(result_of(d=(0.5, 0.4, 0.3, 0.2, 0.1)), TstarConfig())
    assert found.tstar is None
    assert found.paper.data.value is None
    assert found.paper.data.never == 1
    assert found.paper.data.text == "no step passes"
    assert "at no step tested" in found.reason
    assert found.table.tstar.tolist() == [NEVER] * 7


def test_the_table_follows_the_thresholds():
    config = TstarConfig(table=(0.35, 1.0, 25.0, 60.0))
    table = tstar(result_of(), config).table
    np.testing.assert_allclose(table.eps_distance, [0.0035, 0.01, 0.25, 0.6])
    assert table.t_distance.tolist() == [500, 300, 200, 100]
    assert table.t_dependence.tolist() == [400, 200, 200, 100]
    assert table.tstar.tolist() == [500, 300, 200, 100]


def test_the_interval_comes_from_the_resampled_curves():
    result = result_of()
    resampled = result.distances.resampled.copy()
    resampled[0] = 0.001  # one passes at once
    resampled[1] = 0.5  # one never does
    result = replace(result, distances=replace(result.distances, resampled=resampled))
    found = tstar(result, TstarConfig())
    assert (found.paper.data.low, found.paper.data.high, found.paper.data.never) == (200, None, 0.25)
    assert found.paper.data.text == "300 (200 to never)"


@pytest.mark.parametrize(
    ("consecutive", "firsts"), [(1, [100, 200, 300]), (2, [200, 300, 400]), (3, [300, 1000, 1000])]
)
def test_the_mean_is_of_the_first_run(consecutive, firsts):
    """10111 runs from 300 by threes; a molecule that never passes counts as T."""
    rows = {1: ["10000", "01000", "00100"], 2: ["01100", "00110", "10011"], 3: ["10111", "11011", "00000"]}[consecutive]
    found = tstar(result_of(rows=rows), TstarConfig(estimator="mean", consecutive=consecutive))
    assert found.mean.data.value == pytest.approx(np.mean(firsts))
    assert found.tstar == int(np.ceil(np.mean(firsts)))
    assert found.mean.data.never == pytest.approx(np.mean(np.array(firsts) == 1000))
    assert found.mean.null.value == 100
    assert "never pass the published test" in found.reason


def test_one_failing_test_of_one_block_fails_a_molecule():
    found = tstar(result_of(rows=["00111"] * 4), TstarConfig())
    assert found.mean.data.value == 300


@pytest.mark.parametrize(("level", "step"), [(0.5, 200), (0.8, 400), (0.95, None)])
def test_the_quantile_counts_molecules_that_never_pass_as_later_than_all(level, step):
    rows = ["11111"] * 4 + ["01111"] * 2 + ["00011"] * 2 + ["00000"] * 2
    found = tstar(result_of(rows=rows), TstarConfig(estimator="quantile", quantile=level))
    assert (found.quantile.data.value, found.tstar) == (step, step)
    assert found.quantile.data.never == pytest.approx(0.2)


def test_the_interval_of_the_mean_has_the_width_of_its_standard_error():
    rows = ["11111"] * 150 + ["00011"] * 150
    found = tstar(result_of(rows=rows), TstarConfig(n_resamples=4000)).mean.data
    assert found.high - found.low == pytest.approx(2 * 1.96 * 150 / np.sqrt(300), rel=0.1)
    assert found.low < 250 < found.high


def test_the_same_seed_gives_the_same_intervals():
    result = result_of(rows=["11111", "00111", "00011"] * 20)
    config = TstarConfig(n_resamples=50)
    assert tstar(result, config, seed=1).mean == tstar(result, config, seed=1).mean
    assert tstar(result, config, seed=1).mean != tstar(result, config, seed=2).mean


def test_a_result_survives_storage():
    found = tstar(result_of(d=(0.5,) * 5), TstarConfig())
    back = from_tree(to_tree(found), TstarResult)
    assert (back.tstar, back.paper, back.reason) == (None, found.paper, found.reason)


def test_more_steps_in_a_row_than_there_are():
    with pytest.raises(InvalidInput, match="pass in a row"):
        tstar(result_of(), TstarConfig(consecutive=6))


@pytest.mark.parametrize(
    "wrong",
    [
        {"estimator": "guess"},
        {"reference": "sphere"},
        {"consecutive": 0},
        {"quantile": 1.0},
        {"eps_distance": 0.0},
        {"table": (0.0,)},
        {"n_resamples": 1},
    ],
)
def test_configurations_that_make_no_sense(wrong):
    with pytest.raises(InvalidInput):
        TstarConfig(**wrong)


def test_a_reference_that_was_not_tested():
    with pytest.raises(InvalidInput, match="no such reference"):
        tstar(result_of(), TstarConfig(reference="size"))


def test_the_price_decides_where_there_is_one_and_the_paper_where_there_is_none():
    full = replace(result_of(), price=PriceSummary.of(price_of()))
    found = tstar(full, TstarConfig())
    assert (found.estimator, found.tstar, found.paper.data.value) == ("price", 501, 300)
    assert "501" in found.reason
    assert tstar(full, TstarConfig(estimator="paper")).tstar == 300
    old = tstar(result_of(), TstarConfig())
    assert (old.estimator, old.tstar, old.price, old.effects) == ("paper", 300, None, None)


def test_the_effects_must_be_below_their_tolerance_and_stay_there():
    result = replace(result_of(), effects=effects_of([0.5, 0.1, 0.25, 0.18, 0.05]))
    found = tstar(result, TstarConfig(estimator="effects"))
    assert (found.tstar, found.resolution, found.interval) == (400, 100, (400, 400))
    assert "the last to pass is: a" in found.reason
    assert tstar(result, TstarConfig(estimator="effects", max_effect=0.04)).tstar is None
    few = tstar(result, TstarConfig(estimator="effects", max_effect=0.025))
    assert "Even true Gaussians" in few.reason
    with pytest.raises(InvalidInput, match="holds no effects"):
        tstar(result_of(), TstarConfig(estimator="effects"))
