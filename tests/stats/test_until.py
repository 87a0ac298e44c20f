"""Gaussianity to a stated width: which molecules it takes, that its intervals hold, and that it goes on."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.special import ndtr

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats import reference, until
from gaga.stats.config import GaussianityConfig, TstarConfig
from gaga.stats.gaussianity import GaussianityResult, gaussianity
from gaga.stats.moments import estimate_moments
from gaga.stats.tstar import tstar
from gaga.stats.until import next_size, order_of
from gaga.storage.partial import PartialFile
from gaga.storage.serialise import flatten, from_tree, to_tree

SCHEDULE, SPACE = make_schedule(), FeatureSpace((1, 6, 7, 8, 9))
QUICK = {"timesteps": (100, 600), "n_resamples": 50, "references": ("block", "matched")}


@pytest.fixture
def first_hundred(monkeypatch):
    """A first round of a hundred molecules."""
    monkeypatch.setattr(until, "_FIRST", 100)


@pytest.fixture(scope="module")
def molecules():
    """2,000 molecules of walks, whose atoms depend on each other."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 12, size=2000)
    walk = np.cumsum(rng.normal(scale=0.8, size=(int(sizes.sum()), 3)), axis=0)
    starts = np.repeat(walk[offsets_of(sizes)[:-1]], sizes, axis=0)
    numbers = rng.choice([1, 6, 7, 8, 9], size=len(walk)).astype(np.uint8)
    return PackedMolecules((walk - starts).astype(np.float32), numbers, offsets_of(sizes))


def run(molecules, width, seed=3, space=SPACE, moments=None, settings=QUICK, **on):
    moments = moments or estimate_moments(molecules, space)
    config = GaussianityConfig(**settings, until=width)
    return gaussianity(molecules, space, SCHEDULE, moments, config, seed=seed, **{"threads": 1, **on})


def test_no_more_molecules_than_the_width_takes(first_hundred, molecules):
    found = run(molecules, 0.012)
    reached = found.confidence
    assert reached.reached
    assert 100 < found.n_molecules == found.n_null == reached.rounds[-1] < 1500
    assert reached.available == 2000
    assert np.all(np.diff(reached.rounds) > 0)
    np.testing.assert_array_equal(reached.distances, found.distances.high - found.distances.estimate)
    np.testing.assert_allclose(2 * reached.dependence, found.dependence.high - found.dependence.low)
    # 100 molecules at a time, and a surplus against the error of the widths themselves.
    assert 0.008 < max(reached.distances.max(), reached.dependence.max()) <= 0.012


def test_it_is_the_test_of_those_molecules_in_the_order_of_the_seed(first_hundred, molecules):
    """The flags of each are those of a run of all, and D_t is that of a run whose molecules are used up."""
    found, whole, used_up = run(molecules, 0.015), run(molecules, None), run(molecules, 1e-6)
    chosen = found.confidence.molecules
    np.testing.assert_array_equal(chosen, order_of(2000, 3)[: found.n_molecules])
    tested = chosen[: len(found.reference.passes)]
    assert len(tested) == found.confidence.rounds[0] < len(chosen), "of the round in which everything was measured"
    np.testing.assert_array_equal(found.reference.passes, whole.reference.passes[tested])
    np.testing.assert_array_equal(found.reference.null_passes, whole.reference.null_passes[tested])
    assert not used_up.confidence.reached
    np.testing.assert_array_equal(used_up.reference.passes, whole.reference.passes[order_of(2000, 3)])
    np.testing.assert_array_equal(used_up.confidence.molecules, order_of(2000, 3))
    np.testing.assert_array_equal(used_up.distances.estimate, whole.distances.estimate)
    np.testing.assert_allclose(used_up.dependence.estimate, whole.dependence.estimate, rtol=0, atol=1e-12)


@pytest.fixture
def measuring_all(monkeypatch):
    """Runs that go on measuring what they know."""
    grow = until.GrowingSample.grow

    def undone():
        monkeypatch.setattr(until.GrowingSample, "grow", grow)

    monkeypatch.setattr(until.GrowingSample, "grow", lambda self, n, unknown: grow(self, n, np.ones_like(unknown)))
    return undone


POSITIONS, TYPES = 0, 1


def test_what_is_known_is_not_measured_again(first_hundred, molecules, monkeypatch):
    sets, information = Counter(), reference.mean_pairwise_information

    def counted(values, k):
        sets[k] += values.shape[2]
        return information(values, k)

    monkeypatch.setattr(reference, "mean_pairwise_information", counted)
    found = run(molecules, 0.015)
    assert found.confidence.rounds.tolist() == [100, 300, 400]
    # The pairs of atoms in positions are 0 whatever the data, and go with the others.
    assert found.measured.tolist() == [[400, 400], [100, 100]]
    assert found.measured_text == "100 to 400"
    # Two steps, pairs of features and of atoms, the data and two nulls; k is 2 for positions and 3 for types.
    assert sets == {2: 2 * 2 * 3 * 400, 3: 2 * 2 * 3 * 100}


def test_what_is_still_measured_is_as_if_all_were_and_what_is_known_stays(first_hundred, molecules, measuring_all):
    everything = run(molecules, 0.015)
    measuring_all()
    found, first = run(molecules, 0.015), run(molecules, 0.05)
    assert found.confidence.rounds.tolist() == everything.confidence.rounds.tolist() == [100, 300, 400]
    assert first.confidence.rounds.tolist() == [100]
    for name in (field.name for field in fields(found.dependence)):
        curves, all_of_them, of_first = (getattr(one.dependence, name) for one in (found, everything, first))
        axis = 1 if curves.ndim < 5 else 2
        ours, theirs = curves.take(POSITIONS, axis), all_of_them.take(POSITIONS, axis)
        known, then = curves.take(TYPES, axis), of_first.take(TYPES, axis)
        for one, other in ((ours, theirs), (known, then)):  # but for the rounding of matrix products
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-15, err_msg=name)
        assert not np.allclose(known, all_of_them.take(TYPES, axis), rtol=1e-3), name
    for name in (field.name for field in fields(found.distances)):
        np.testing.assert_array_equal(getattr(found.distances, name), getattr(everything.distances, name))


def test_what_an_earlier_version_kept_of_a_round_is_not_taken_for_a_part_of_it(
    first_hundred, molecules, measuring_all, tmp_path
):
    with Stopping(tmp_path / "journal") as journal:
        run(molecules, 0.015, pieces=journal)
    measuring_all()
    with Stopping(tmp_path / "journal") as journal:
        assert "test/data/100/0" in journal
        found = flatten(to_tree(run(molecules, 0.015, pieces=journal)))
        assert {name.split("/")[0] for name in journal.new} == {"information"}
    for name, value in flatten(to_tree(run(molecules, 0.015))).items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_where_only_distances_are_unknown_nothing_else_is_measured(first_hundred, molecules, monkeypatch):
    monkeypatch.setattr(until, "_of_distances", lambda curves: 3 * (curves.high - curves.estimate))
    seen = []
    found = run(molecules, 0.06, progress=lambda done, total, note: seen.append((done, total)))
    assert found.confidence.reached
    assert found.confidence.rounds[0] == 100 < found.n_molecules == len(found.confidence.molecules)
    assert found.measured.tolist() == [[100, 100], [100, 100]]
    assert len(found.reference.passes) == len(found.reference.null_passes) == 100
    assert seen[-1][0] == seen[-1][1]
    np.testing.assert_array_equal(found.dependence.estimate, run(molecules, 0.2).dependence.estimate)
    assert np.all(found.distances.high < run(molecules, 0.2).distances.high)


def test_the_order_is_the_seeds_alone():
    order = order_of(10_000, 1)
    assert np.array_equal(np.sort(order), np.arange(10_000))
    assert not np.array_equal(order, order_of(10_000, 2))
    # Nothing of the order in the file is left: the mean rank of each tenth is the middle.
    ranks = np.argsort(order).reshape(10, -1).mean(axis=1)
    assert np.all(np.abs(ranks - 5000) < 4 * 10_000 / np.sqrt(12 * 1000))


@pytest.mark.parametrize("other", [{"threads": 3}, {"device": "cpu"}, {"seed": 4}])
def test_the_result_depends_on_the_seed_and_not_on_what_computes_it(first_hundred, molecules, other):
    one, two = run(molecules, 0.015), run(molecules, 0.015, **other)
    same = "seed" not in other
    assert np.array_equal(one.confidence.molecules, two.confidence.molecules) == same
    assert np.array_equal(one.reference.passes, two.reference.passes) == same
    assert np.allclose(one.distances.high, two.distances.high, rtol=0, atol=1e-9) == same
    assert np.allclose(one.dependence.high, two.dependence.high, rtol=0, atol=1e-9) == same
    assert np.array_equal(one.measured, two.measured) == same
    assert len(np.unique(one.measured)) > 1, "some of it known before the rest"


class Stopped(Exception):
    """Somebody stopped the run."""


class Stopping(PartialFile):
    """A journal that stops the run once it has so many pieces."""

    def __init__(self, path, most=-1):
        super().__init__(path, {"seed": 3}, remedy="")
        self.most, self.new = most, []

    def put(self, name, piece):
        super().put(name, piece)
        self.new.append(name)
        if len(self) == self.most:
            raise Stopped


def test_stopped_after_any_piece_it_ends_bit_for_bit_and_repeats_no_round(first_hundred, molecules, tmp_path):
    with Stopping(tmp_path / "whole") as journal:
        expected = flatten(to_tree(run(molecules, 0.015, pieces=journal)))
        names = journal.new
    rounds = {name.rpartition("/")[0] for name in names if "/data/" in name}
    assert "test/data/0" in rounds, "of everything"
    assert "information/1100/data/100" in rounds, "of what was unknown after the first: both of positions"
    for most in range(1, len(names), 3):
        with Stopping(tmp_path / f"{most}", most) as journal, pytest.raises(Stopped):
            run(molecules, 0.015, pieces=journal)
        with Stopping(tmp_path / f"{most}") as journal:
            found = flatten(to_tree(run(molecules, 0.015, pieces=journal, threads=2)))
            assert journal.new == names[most:]
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_progress_ends_at_its_total_and_names_the_molecules(first_hundred, molecules):
    seen = []
    found = run(molecules, 0.015, progress=lambda *report: seen.append(report))
    done, total, note = seen[-1]
    assert done == total
    assert note == f"{found.n_molecules:,} of 2,000 molecules"
    assert seen[0][2] == "100 of 2,000 molecules"


def test_it_is_stored_and_read_and_has_a_tstar(first_hundred, molecules):
    found = run(molecules, 0.015)
    back = from_tree(to_tree(found), GaussianityResult)
    np.testing.assert_array_equal(back.confidence.rounds, found.confidence.rounds)
    assert tstar(back, TstarConfig(n_resamples=50)).paper.data == tstar(found, TstarConfig(n_resamples=50)).paper.data
    np.testing.assert_array_equal(back.measured, found.confidence.measured)
    earlier = to_tree(found)
    del earlier["confidence"]["measured"]
    assert from_tree(earlier, GaussianityResult).measured.tolist() == [[found.n_molecules] * 2] * 2
    del earlier["confidence"]
    assert from_tree(earlier, GaussianityResult).confidence is None
    assert from_tree(earlier, GaussianityResult).measured.tolist() == [[found.n_molecules] * 2] * 2


def test_single_atoms_are_none_of_the_molecules_used(first_hundred, molecules):
    with_one = PackedMolecules(
        np.concatenate([np.zeros((1, 3), np.float32), molecules.positions]),
        np.concatenate([[np.uint8(6)], molecules.atomic_numbers]),
        np.concatenate([[0], molecules.offsets + 1]),
    )
    found, without = run(with_one, 0.05), run(molecules, 0.05)
    assert found.n_left_out == 1
    np.testing.assert_array_equal(found.confidence.molecules, without.confidence.molecules + 1)


def test_two_molecules_are_used_up(molecules):
    found = run(molecules.take([0, 1]), 0.001)
    assert found.confidence.rounds.tolist() == [2]
    assert not found.confidence.reached


def test_rounds_grow_by_what_is_missing():
    assert next_size(1000, 2.0) == 4000
    assert next_size(1000, 1.5) == 2400
    assert next_size(1000, 1.01) == 1300, "a quarter more at least"
    assert next_size(1000, 100.0) == 4000, "four times as many at most"


@pytest.mark.parametrize("width", [0.0, 1.0, -0.1, np.nan])
def test_a_width_that_cannot_be(width):
    with pytest.raises(InvalidInput, match="above 0 and below 1"):
        GaussianityConfig(until=width)


SMALL, N = FeatureSpace((6,)), 7


def carbon(variances, n_molecules, seed):
    """Normal positions of 7 carbon atoms, of one of these variances in each molecule."""
    rng = np.random.default_rng(seed)
    deviations = np.sqrt(np.repeat(rng.choice(variances, n_molecules), N))[:, None]
    positions = (deviations * rng.normal(size=(N * n_molecules, 3))).astype(np.float32)
    return PackedMolecules(positions, np.full(len(positions), 6, np.uint8), offsets_of([N] * n_molecules))


def true_distance(variances, t):
    """KS distance of the mixture of the normal laws of these variances at step t to that of their mean."""
    alpha2, sigma2 = SCHEDULE.alpha2[t], SCHEDULE.sigma2[t]
    deviations = np.sqrt(alpha2 * np.array(variances) + sigma2)
    x = np.linspace(-6, 6, 20_001)[:, None]
    mean = np.sqrt(alpha2 * np.mean(variances) + sigma2)
    return float(np.abs(ndtr(mean * x / deviations).mean(axis=1) - ndtr(x[:, 0])).max())


@pytest.mark.slow
@pytest.mark.parametrize(("variances", "t"), [((2.0, 2.0), 300), ((0.5, 6.0), 300)])
def test_intervals_hold_as_often_as_they_say(first_hundred, variances, t):
    """D_t of positions that are a Gaussian, 0, or a mixture; of types that are noise, 0; Dep_t of positions, 0."""
    truth, runs = true_distance(variances, t), 50
    assert truth > 0.03 if variances[0] != variances[1] else truth < 1e-6
    hits = []
    for seed in range(runs):
        molecules = carbon(variances, 1500, seed)
        moments = replace(estimate_moments(molecules, SMALL), block=np.array([np.mean(variances), 0.0]))
        settings = {"timesteps": (t,), "references": ("block",), "n_resamples": 100}
        found = run(molecules, 0.02, seed, SMALL, moments, settings)
        assert found.confidence.reached
        low, high = found.distances.low[0, :, 0], found.distances.high[0, :, 0]
        dependence = found.dependence
        hits.append(
            [
                low[0] <= truth <= high[0],
                low[1] <= 0 <= high[1],
                dependence.low[0, 0, 0, 0] <= 0 <= dependence.high[0, 0, 0, 0],
            ]
        )
    share = np.mean(hits, axis=0)
    # The columns of one molecule do not depend on each other, given its scale: Dep_t is 0 in the mixture too.
    assert np.all(share > 0.95 - 4 * np.sqrt(0.05 * 0.95 / runs)), share
