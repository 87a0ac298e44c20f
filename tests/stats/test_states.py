from dataclasses import replace

import numpy as np
import pytest

from gaga.noise import ReferenceGaussian, make_schedule
from gaga.stats.states import (
    DataStates,
    GaussianStates,
    chunks_of,
    marginals,
    packed_chunks,
    same_size_chunks,
    typical_sizes,
)

STEPS = np.array([100, 700])


@pytest.fixture(scope="module")
def states(qm9, space, qm9_moments):
    return DataStates(qm9.take(np.arange(5000, 5300)), space, make_schedule(), qm9_moments.centred, seed=3)


def test_a_molecules_noise_does_not_depend_on_what_else_is_drawn(states):
    together = states.draw(np.arange(300), STEPS)
    alone = states.draw(np.array([7]), STEPS[1:])
    start = int(states.n_atoms[:7].sum())
    np.testing.assert_array_equal(alone[0], together[1, start : start + int(states.n_atoms[7])])


def test_the_noise_has_the_variance_of_the_forward_law(states, qm9, space, qm9_moments):
    schedule, indices = make_schedule(), np.arange(300)
    noise = states.draw(indices, STEPS) - np.sqrt(schedule.alpha2[STEPS])[:, None, None] * space.encode(
        qm9.take(np.arange(5000, 5300))
    )
    freedom = int((states.n_atoms - 1).sum()) * space.columns
    ratio = (noise**2).sum(axis=(1, 2)) / schedule.sigma2[STEPS] / freedom
    assert np.all(np.abs(ratio - 1) < 4 * np.sqrt(2 / freedom))
    first = int(states.n_atoms[0])
    np.testing.assert_allclose(noise[:, :first].sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("kind", ["prior", "matched", "size"])
def test_standardised_by_its_own_marginals_a_reference_has_unit_variance(qm9_moments, kind):
    reference, schedule, sizes = ReferenceGaussian(kind, qm9_moments), make_schedule(), np.full(4000, 12)
    z = GaussianStates(reference, schedule, sizes, seed=0).draw(np.arange(4000), STEPS)
    for i, t in enumerate(STEPS):
        mean, deviations = marginals(reference, sizes, float(schedule.alpha2[t]))
        squares = (((z[i] - mean) / deviations[12]) ** 2).mean(axis=0)
        # 4000 molecules of 11 free atoms each; correlated types stay within the same error.
        assert np.all(np.abs(squares - 1) < 5 * np.sqrt(2 / (4000 * 11)))


def test_the_null_is_not_the_datas_noise(qm9, space, qm9_moments):
    schedule, sizes = make_schedule(), qm9.take([50]).n_atoms
    data = DataStates(qm9.take([50]), space, schedule, qm9_moments.centred, 0).draw(np.array([0]), np.array([1000]))
    null = GaussianStates(ReferenceGaussian("prior", qm9_moments), schedule, sizes, 0)
    assert np.abs(data - null.draw(np.array([0]), np.array([1000]))).max() > 0.1


def test_chunks_hold_every_molecule_once():
    sizes = np.random.default_rng(0).integers(2, 30, size=500)
    same = list(same_size_chunks(sizes, 100))
    assert all(len(np.unique(sizes[c])) == 1 and sizes[c].sum() <= 100 for c in same)
    packed = list(packed_chunks(sizes, 100))
    for chunks in (same, packed):
        np.testing.assert_array_equal(np.sort(np.concatenate(chunks)), np.arange(500))
    assert max(int(sizes[c].sum()) for c in packed) < 200


def test_a_molecule_larger_than_a_chunk_is_a_chunk():
    assert [c.tolist() for c in packed_chunks(np.array([500, 3, 500]), 100)] == [[0], [1, 2]]
    assert [c.tolist() for c in same_size_chunks(np.array([500, 3, 500]), 100)] == [[1], [0], [2]]


def test_typical_sizes_have_the_same_distribution():
    sizes = np.repeat([5, 9, 20], [100, 300, 600])
    found = typical_sizes(np.random.default_rng(0).permutation(sizes), 10)
    assert found.tolist() == [5] + [9] * 3 + [20] * 6
    assert typical_sizes(sizes, 5000) is sizes


def test_chosen_molecules_have_the_noise_that_they_have_among_all(states):
    chosen = np.array([250, 7, 31])
    some = replace(states, chosen=chosen)
    assert len(some) == 3
    np.testing.assert_array_equal(some.n_atoms, states.n_atoms[chosen])
    np.testing.assert_array_equal(some.draw(np.array([2, 0]), STEPS), states.draw(np.array([31, 250]), STEPS))


def test_chosen_gaussians_too(qm9_moments):
    sizes = np.arange(3, 13)
    all_of_them = GaussianStates(ReferenceGaussian("size", qm9_moments), make_schedule(), sizes, seed=0)
    chosen = np.array([9, 4])
    some = replace(all_of_them, n_atoms=sizes[chosen], chosen=chosen)
    np.testing.assert_array_equal(some.draw(np.arange(2), STEPS), all_of_them.draw(chosen, STEPS))


def test_chunks_are_of_all_molecules_once():
    assert [list(chunk) for chunk in chunks_of(3)] == [[0, 1, 2]]
    assert [(c.start, c.stop) for c in chunks_of(5000)] == [(0, 2000), (2000, 4000), (4000, 5000)]
    assert chunks_of(0) == []
