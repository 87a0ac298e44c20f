from itertools import combinations

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import kstest
from sklearn.feature_selection import mutual_info_regression

from gaga.noise import make_schedule
from gaga.stats.groups import deal
from gaga.stats.ks import critical_distance
from gaga.stats.reference import TestPlan as Plan
from gaga.stats.reference import run_test, score
from gaga.stats.states import DataStates

SCHEDULE = make_schedule()
VARIANCES = np.array([1.380, 0.086])
THRESHOLD, ALPHA = 0.1, 0.05


def plan_at(timesteps, blocks=(slice(0, 3), slice(3, 8)), expected=None):
    steps = np.array(timesteps)
    if expected is None:
        expected = SCHEDULE.alpha2[steps, None] * VARIANCES + SCHEDULE.sigma2[steps, None]
    return Plan(
        timesteps=steps,
        blocks=blocks,
        variances=VARIANCES[: len(blocks)],
        expected=expected,
        neighbours=(2, 3)[: len(blocks)],
        parts=np.ones((len(blocks), 3), dtype=bool),
        alpha=ALPHA,
        mi_threshold=THRESHOLD,
    )


def scaled_distances(x):
    """|x_a - x_b| / std, [n, n]; a sample is no neighbour of its own."""
    distances = np.abs(x[:, None] - x) / x.std()
    np.fill_diagonal(distances, np.inf)
    return distances


def textbook_information(dx, dy, k):
    """Kraskov's first estimator as it is written down, equation 8, from distances [n, n]."""
    n = len(dx)
    psi = digamma(np.arange(1, n + 1))
    radius = np.sort(np.maximum(dx, dy), axis=1)[:, k - 1, None]
    nx, ny = (dx < radius).sum(axis=1), (dy < radius).sum(axis=1)
    return max(0.0, psi[n - 1] + psi[k - 1] - (psi[nx] + psi[ny]).mean())


def textbook_pairs(rows, k):
    """Mutual information of every pair of rows."""
    return [textbook_information(dx, dy, k) for dx, dy in combinations([scaled_distances(r) for r in rows], 2)]


def sklearn_pairs(rows, k):
    """The same by scikit-learn, which takes a millisecond a pair."""
    return [mutual_info_regression(a[:, None], b, n_neighbors=k, random_state=0)[0] for a, b in combinations(rows, 2)]


def slow_score(block, k):
    """(p-value, mean information over columns, over atoms) of one block [N, c]."""
    # Three samples with k = 2 say 0 of any pair of atoms.
    atoms = textbook_pairs(block, k) if block.shape[1] > k + 1 else [0.0]
    return kstest(block.reshape(-1), "norm").pvalue, np.mean(textbook_pairs(block.T, k)), np.mean(atoms)


def test_the_flags_of_300_molecules_are_the_slow_twins(qm9, space, qm9_moments):
    rng = np.random.default_rng(7)
    chosen = qm9.take(np.sort(rng.permutation(len(qm9))[:300]))
    states = DataStates(chosen, space, SCHEDULE, qm9_moments.centred, seed=11)
    timesteps = np.array([200, 400, 800])
    plan = plan_at(timesteps)
    flags, _ = run_test(states, plan, deal(300, 2, rng), lambda _: None, threads=1)
    at = rng.integers(len(timesteps), size=300)  # one step a molecule: the twin is slow
    agreed = 0
    for i in range(300):
        z = states.draw(np.array([i]), timesteps[at[i] : at[i] + 1])[0]
        for b, (columns, k) in enumerate(zip(plan.blocks, plan.neighbours, strict=True)):
            p, features, atoms = slow_score(z[:, columns] / np.sqrt(plan.expected[at[i], b]), k)
            assert flags[i, at[i], b].tolist() == [p >= ALPHA, features < THRESHOLD, atoms < THRESHOLD]
            agreed += 1
    assert agreed == 600
    assert 0.3 < flags.all(axis=(2, 3)).mean() < 0.8


@pytest.mark.parametrize("molecule", [0, 1000, 70_000])
def test_the_slow_twin_is_scikit_learn(qm9, space, qm9_moments, molecule):
    states = DataStates(qm9.take([molecule]), space, SCHEDULE, qm9_moments.centred, seed=0)
    z = states.draw(np.array([0]), np.array([500]))[0]
    for rows, k in [(z[:, :3].T, 2), (z[:, 3:].T, 3), (z[:, :3], 2), (z[:, 3:], 3)]:
        np.testing.assert_allclose(textbook_pairs(rows, k), sklearn_pairs(rows, k), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_atoms", [2, 3, 9, 29, 31, 181])
def test_awkward_sizes_against_the_slow_twin(n_atoms):
    z = np.random.default_rng(n_atoms).standard_normal((2, 1, n_atoms, 8))
    plan = plan_at([10, 20], expected=np.ones((2, 2)))
    distances, information = score(z, plan)
    for s in range(2):
        for b, (columns, k) in enumerate(zip(plan.blocks, plan.neighbours, strict=True)):
            block = z[s, 0, :, columns]
            assert distances[0, s, b] == pytest.approx(kstest(block.reshape(-1), "norm").statistic, abs=1e-14)
            if k < n_atoms <= 31:
                _, features, atoms = slow_score(block, k)
                assert information[0, s, b] == pytest.approx([features, atoms], abs=1e-9)
            elif n_atoms <= k:
                assert information[0, s, b, 0] == 0


def test_groups_add_up_to_the_molecules(qm9, space, qm9_moments):
    chosen = qm9.take(np.arange(300, 330))
    states = DataStates(chosen, space, SCHEDULE, qm9_moments.centred, seed=0)
    plan = plan_at([300])
    resampling = deal(30, 2, np.random.default_rng(0))
    flags, sums = run_test(states, plan, resampling, lambda _: None, threads=2)
    one, single = run_test(states, plan, resampling, lambda _: None, threads=1)
    np.testing.assert_array_equal(flags, one)
    np.testing.assert_array_equal(sums, single)
    for i in (0, 17):
        z = states.draw(np.array([i]), plan.timesteps)
        _, information = score(z[:, None], plan)
        np.testing.assert_allclose(sums[resampling.group[i]], information[0], rtol=1e-12)


def ks_passes(z):
    plan = plan_at([1], blocks=(slice(0, 3),), expected=np.ones((1, 1)))
    distances, _ = score(z[None], plan)
    return distances[:, 0, 0] <= critical_distance(z.shape[1] * 3, ALPHA)


def test_level_of_the_ks_part_on_true_gaussians():
    passed = ks_passes(np.random.default_rng(0).standard_normal((4000, 18, 3)))
    assert abs(passed.mean() - (1 - ALPHA)) < 4 * np.sqrt(ALPHA * (1 - ALPHA) / 4000)


@pytest.mark.parametrize(
    ("other", "at_most"),
    [
        (lambda rng, shape: 2.0 * rng.standard_normal(shape), 0.15),
        (lambda rng, shape: rng.choice([-1.0, 1.0], size=shape), 0.0),
        (lambda rng, shape: rng.standard_normal(shape) + 0.5, 0.2),
    ],
)
def test_power_of_the_ks_part(other, at_most):
    assert ks_passes(other(np.random.default_rng(1), (500, 18, 3))).mean() <= at_most


def test_power_of_the_information_part():
    """Columns that are one another's noisy copies are found dependent; independent ones are not, on average."""
    rng = np.random.default_rng(2)
    plan = plan_at([1], blocks=(slice(0, 3),), expected=np.ones((1, 1)))
    z = rng.standard_normal((500, 18, 3))
    _, free = score(z[None], plan)
    _, bound = score((z[:, :, :1] + 0.3 * z)[None], plan)
    assert (free[:, 0, 0, 0] < THRESHOLD).mean() > 0.7
    assert (bound[:, 0, 0, 0] < THRESHOLD).mean() < 0.01
