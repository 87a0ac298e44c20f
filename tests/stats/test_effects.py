"""Effects: the level of their null, that each statistic catches what it is for, and the step by tolerance.

The long form is benchmarks/molecule_statistics.py, whose alternatives these are.
"""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats import effects
from gaga.stats.effects import molecule_effects
from gaga.stats.gaussianity import GaussianityResult
from gaga.stats.tolerance import NEVER, tolerance_table
from gaga.storage.serialise import from_tree, to_tree

SCHEDULE, SPACE = make_schedule(), FeatureSpace((1, 6))
LONGEST, SHORTEST, NEAREST, MARGINALS, TYPES, COUPLING = range(6)


def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "molecule_statistics.py"
    spec = importlib.util.spec_from_file_location("molecule_statistics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drawn = benchmark().drawn


def measured(molecules, steps=(50,), **options):
    return molecule_effects(molecules, SPACE, SCHEDULE, steps, **{"seed": 0, "n_resamples": 20, **options})


@pytest.mark.parametrize(
    ("alternative", "statistic"),
    [("scale mixture", MARGINALS), ("ellipsoids", LONGEST), ("hard cores", NEAREST), ("coupling", COUPLING)],
)
def test_each_statistic_catches_what_it_is_for(alternative, statistic):
    found = measured(drawn(alternative, 500, 12, seed=0))
    assert found.p[0, statistic] == 1 / (1 + effects.NULL_DRAWS)
    assert found.low[0, statistic] > found.null_limit[statistic]


def test_the_others_do_not_see_it():
    for alternative, blind in (("scale mixture", [LONGEST, SHORTEST, COUPLING]), ("coupling", slice(LONGEST, TYPES))):
        found = measured(drawn(alternative, 500, 12, seed=0))
        assert np.all(found.effect[0, blind] < 1.5 * found.null_limit[blind])


@pytest.mark.parametrize("n_atoms", [5, 9])
def test_the_level_is_kept(n_atoms):
    """Through all of the code, of Gaussians whose variance is not known."""
    p = np.stack(
        [
            molecule_effects(drawn("none", 50, n_atoms, seed), SPACE, SCHEDULE, (400,), seed=seed, n_resamples=2).p[0]
            for seed in range(16)
        ]
    )
    # Of 16 p-values more than 4 are at most 0.05 with probability 0.0009, and their mean has the deviation 0.07.
    assert np.all((p <= 0.05).sum(axis=0) <= 4)
    assert np.all(np.abs(p.mean(axis=0) - 0.5) < 0.25)


def test_effects_of_real_molecules_fall_with_noise(qm9, space):
    chosen = qm9.take(np.random.default_rng(0).permutation(np.flatnonzero(qm9.n_atoms == 18))[:600])
    steps = (250, 450, 650)
    found = molecule_effects(chosen, space, SCHEDULE, steps, seed=0, n_resamples=20)
    for statistic in (LONGEST, SHORTEST, NEAREST):
        assert np.all(np.diff(found.effect[:, statistic]) < 0)
    # 0.165 of all 17,442 of this size; the null's limit with 600 molecules is 0.053.
    assert found.effect[2, LONGEST] == pytest.approx(0.165, abs=0.05)
    assert found.sizes.tolist() == [18]
    np.testing.assert_allclose(found.effect_by_size[:, 0], found.effect, atol=1e-12)


def test_orientation_and_order_do_not_show_without_noise(qm9, space):
    """At the first step, whose noise is too weak to move an effect."""
    chosen = qm9.take(np.flatnonzero(qm9.n_atoms == 15)[:200])
    x = chosen.positions.reshape(200, 15, 3)[:, ::-1] @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    numbers = chosen.atomic_numbers.reshape(200, 15)[:, ::-1]
    turned = PackedMolecules(x.reshape(-1, 3).astype(np.float32), numbers.reshape(-1), chosen.offsets)
    before, after = (molecule_effects(m, space, SCHEDULE, (1,), seed=0, n_resamples=5) for m in (chosen, turned))
    np.testing.assert_allclose(before.effect, after.effect, atol=0.01)


@pytest.fixture(scope="module")
def mixed():
    """Sizes of 2, 3 and 60 molecules, and single atoms."""
    rng = np.random.default_rng(5)
    sizes = np.repeat([1, 2, 3, 6, 8], [2, 3, 2, 60, 70])
    rng.shuffle(sizes)
    numbers = rng.choice([1, 6], size=sizes.sum()).astype(np.uint8)
    return PackedMolecules(rng.normal(size=(sizes.sum(), 3)).astype(np.float32), numbers, offsets_of(sizes))


def test_threads_blocks_and_pieces_do_not_show(mixed, tmp_path):
    from gaga.storage.partial import PartialFile

    run = partial(measured, mixed, steps=(300, 700), n_resamples=10)
    seen = []
    whole = run(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2 * 135 + 99 * 135,) * 2
    assert (whole.n_molecules, whole.sizes.tolist(), whole.counts.tolist()) == (135, [6, 8], [60, 70])
    with PartialFile(tmp_path / "pieces", {}, remedy="") as pieces:
        others = [run(threads=2), run(pieces=pieces), run(pieces=pieces, threads=2)]
        assert sorted(pieces.names()) == ["300", "700", "null/0", "null/33", "null/66"]
    for other in others:
        for name, value in vars(whole).items():
            np.testing.assert_array_equal(getattr(other, name), value, err_msg=name)
    assert not np.array_equal(run(seed=1).effect, whole.effect)


def test_molecules_that_were_chosen_have_the_same_noise(mixed):
    several = np.flatnonzero(mixed.n_atoms > 1)
    some = measured(mixed, chosen=several[::-1])
    np.testing.assert_allclose(some.effect, measured(mixed).effect, atol=1e-12)


def test_a_size_of_many_molecules_is_standardised_in_blocks(monkeypatch):
    molecules = drawn("ellipsoids", 500, 12, seed=0)
    whole = measured(molecules)
    monkeypatch.setattr(effects, "_BLOCK_ATOMS", 12 * 100)
    np.testing.assert_allclose(measured(molecules).effect[:, :-1], whole.effect[:, :-1], atol=0.01)


def test_tstar_by_tolerance(mixed):
    found = measured(mixed)
    high = np.full((4, 6), 0.01)
    high[:2, NEAREST], high[0, LONGEST] = 0.08, 0.3
    found = replace(found, high=high, effect=high - 0.005, null_limit=np.full(6, 0.004))
    table = tolerance_table(found, np.array([100, 200, 300, 400]), (0.005, 0.05, 0.1, 0.5))
    assert table.tstar.tolist() == [NEVER, 300, 200, 100]
    assert table.decided_by[1:3] == ("nearest neighbour", "gyration share, largest")
    np.testing.assert_allclose(table.resolution, 0.009)
    assert table.too_few_molecules == (True, False, False, False)
    each = np.full((1, 6), 0.05)
    each[0, NEAREST] = 0.1
    assert tolerance_table(found, np.array([100, 200, 300, 400]), each).tstar.tolist() == [200]
    high[3, TYPES] = 0.06  # one step fails after all
    assert tolerance_table(found, np.array([100, 200, 300, 400]), (0.05,)).tstar.tolist() == [NEVER]
    assert tolerance_table(measured(mixed), np.array([50]), (2.0,), n_atoms=6).n_molecules == 60
    with pytest.raises(InvalidInput, match="above 0"):
        tolerance_table(found, np.array([100, 200, 300, 400]), (0.0,))
    with pytest.raises(InvalidInput, match="too few molecules of this size"):
        tolerance_table(found, np.array([100, 200, 300, 400]), n_atoms=3)


def test_effects_survive_storage(mixed):
    found = measured(mixed)
    back = from_tree(to_tree(found), type(found))
    np.testing.assert_array_equal(back.p_by_size, found.p_by_size)
    assert back.statistics == found.statistics
    assert GaussianityResult.__dataclass_fields__["effects"].default is None
