"""T* by price: what is kept of a price, its step on average and by size, and the estimators that are chosen."""

from dataclasses import replace

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.noise import make_schedule
from gaga.stats.config import TstarConfig
from gaga.stats.effects import MoleculeEffects
from gaga.stats.price import TERMS, PriceResult
from gaga.stats.price_curve import PriceCurve, tstar_by_price
from gaga.stats.price_summary import PriceSummary
from gaga.stats.tstar import TstarResult, tstar
from gaga.stats.tstar_by_price import by_price
from gaga.storage.serialise import from_tree, to_tree

STEPS = np.arange(1001.0)


def result_of(n_molecules=5000):
    """A price of 100 nats that falls to 1 at 500.5, and by size at 400 and 700."""
    schedule = make_schedule()
    nats = 100 ** (1 - STEPS / 500.5)
    by_size = np.stack([100 ** (1 - STEPS / 400), 100 ** (1 - STEPS / 700)])
    terms = nats[:, None] * np.array([0.9, 0.1, 0, 0, 0])
    flat = np.ones((2, 6))
    return PriceResult(
        schedule=schedule.name, gamma=schedule.gamma, terms=TERMS, by_term=terms,
        price=PriceCurve(nats=nats, low=nats / 2, high=2 * nats, spread=nats),
        sizes=np.array([9, 18]), molecules=np.array([n_molecules - 60, 60]), borrowed=np.zeros(2, dtype=bool),
        window=np.zeros(2, dtype=np.int64), nats_by_size=by_size, low_by_size=by_size / 2, high_by_size=by_size * 2,
        squares=flat, squares_low=flat, squares_high=flat, variance=np.ones(2), type_variance=np.ones(2),
        n_molecules=n_molecules, n_left_out=0, n_pairs=10, seed=0, level=0.95,
    )  # fmt: skip


def effects_of(effect, n=7):
    """Seven statistics of which the first is as given at each of five steps, known to 0.01."""
    values = np.zeros((len(effect), n))
    values[:, 0] = effect
    nothing = np.zeros((len(effect), 0, n))
    return MoleculeEffects(
        statistics=tuple("abcdefg"), n_molecules=100, sizes=np.array([], dtype=np.int64),
        counts=np.array([], dtype=np.int64), n_draws=9, effect=values, low=values, high=values + 0.01, p=values,
        null_limit=np.full(n, 0.02), effect_by_size=nothing, low_by_size=nothing, high_by_size=nothing,
        p_by_size=nothing, null_limit_by_size=nothing[0],
    )  # fmt: skip


def test_a_summary_has_the_same_steps():
    full = result_of()
    kept = PriceSummary.of(full)
    assert (len(kept.steps), kept.steps[-1], kept.T) == (101, 1000, 1000)
    assert tstar_by_price(kept.price, 1.0) == tstar_by_price(full.price, 1.0)
    for n_atoms in (9, 18):
        # The grid's logarithms are straight, so that nothing is lost but digits.
        near, exact = kept.curve_of(n_atoms), full.curve_of(n_atoms)
        np.testing.assert_allclose(near.nats, exact.nats, rtol=1e-5)
        np.testing.assert_allclose(tstar_by_price(near, 1.0), tstar_by_price(exact, 1.0), atol=0.01)
    assert kept.share_of_positions(500) == pytest.approx(0.9)
    with pytest.raises(InvalidInput, match="no molecule of this number of atoms"):
        kept.curve_of(10)
    back = from_tree(to_tree(kept), PriceSummary)
    np.testing.assert_array_equal(back.by_term, kept.by_term)


def test_noise_around_0_has_no_logarithm():
    kept = PriceSummary.of(result_of())
    nats = kept.nats_by_size.copy()
    nats[:, 50] = -1e-3
    curve = replace(kept, nats_by_size=nats).curve_of(9)
    assert np.isfinite(curve.nats).all()
    assert curve.nats[500] == pytest.approx(-1e-3)
    assert curve.nats[495] == pytest.approx((nats[0, 49] + nats[0, 50]) / 2)


def test_the_step_on_average_and_by_size():
    found = by_price(result_of(), 1.0)
    assert found.step.value == pytest.approx(500.5)
    assert found.step.low == pytest.approx(500.5 * (1 - np.log(2) / np.log(100)), abs=0.1)
    np.testing.assert_allclose(found.step_by_size, [400, 700], atol=0.1)
    assert not found.few_molecules
    assert by_price(result_of(n_molecules=900), 1.0).few_molecules
    assert "costs at most 1 nat a molecule from t = 501 on" in found.reason
    never = by_price(result_of(), 1e-9)
    assert (never.step.value, never.step_by_size[0]) == (None, np.inf)
    with pytest.raises(InvalidInput, match="above 0"):
        by_price(result_of(), 0.0)


def test_of_a_price_alone():
    found = tstar(result_of(), TstarConfig())
    assert (found.tstar, found.estimator, found.resolution, found.T) == (501, "price", 1, 1000)
    assert (found.paper, found.table, found.effects) == (None, None, None)
    assert found.interval == (found.price.step.low, found.price.step.high)
    assert from_tree(to_tree(found), TstarResult).price.step == found.price.step
    assert tstar(result_of(), TstarConfig(tolerance=200)).tstar == 1  # the first step that can be trained
    assert tstar(result_of(), TstarConfig(tolerance=1e-9)).tstar is None
    with pytest.raises(InvalidInput, match="no curves"):
        tstar(result_of(), TstarConfig(estimator="paper"))
