"""Statistics of drugs: sixteen elements, some of which hardly or never occur, and molecules of 1 to 181 atoms."""

import numpy as np
import pytest
from scipy.stats import kstest

from gaga.chem.elements import GEOM_VOCABULARY
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import REFERENCE_KINDS, ReferenceGaussian, make_schedule
from gaga.stats.config import GaussianityConfig, TstarConfig
from gaga.stats.gaussianity import gaussianity
from gaga.stats.information import mean_pairwise_information, mutual_information
from gaga.stats.ks import ks_distances
from gaga.stats.moments import estimate_moments
from gaga.stats.states import DataStates
from gaga.stats.tstar import tstar
from gaga.stats.variance import variance
from gaga.storage.serialise import flatten, to_tree

SCHEDULE = make_schedule()
STEPS = (1, 500, 1000)
# H, C, N, O and, in few molecules, F and Cl; one atom of Bi; the other nine elements never.
COMMON = np.array([1, 6, 7, 8], dtype=np.uint8)
SIZES = [1, 2, 3, 4, 5, 9, 17, 31, 33, 44, 44, 45, 90, 181]


@pytest.fixture(scope="module")
def drugs() -> PackedMolecules:
    rng = np.random.default_rng(0)
    sizes = np.array(SIZES)
    numbers = rng.choice(COMMON, size=int(sizes.sum()), p=[0.45, 0.42, 0.07, 0.06])
    offsets = offsets_of(sizes)
    numbers[offsets[5] : offsets[6]] = 6  # nothing but carbon
    numbers[offsets[9] + 3] = 9
    numbers[offsets[11] : offsets[11] + 2] = 17
    numbers[-1] = 83
    walk = np.cumsum(rng.normal(scale=0.8, size=(len(numbers), 3)), axis=0)
    return PackedMolecules((walk - np.repeat(walk[offsets[:-1]], sizes, axis=0)).astype(np.float32), numbers, offsets)


@pytest.fixture(scope="module", params=[True, False], ids=["centred", "EDM's features"])
def space(request: pytest.FixtureRequest) -> FeatureSpace:
    return FeatureSpace(GEOM_VOCABULARY, include_charges=not request.param, centred_features=request.param)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_everything_is_finite_and_every_curve_is_there(drugs, space, device):
    moments = estimate_moments(drugs, space)
    assert np.all(np.isfinite(moments.within))
    assert np.all(np.isfinite(moments.between))
    config = GaussianityConfig(timesteps=STEPS, n_resamples=10, n_null=10)
    found = gaussianity(drugs, space, SCHEDULE, moments, config, seed=0, threads=1, device=device)
    assert (found.n_molecules, found.n_left_out) == (13, 1)
    for name, values in flatten(to_tree(found)).items():
        assert np.asarray(values).dtype.kind != "f" or np.all(np.isfinite(values)), name
    assert found.distances.estimate.shape == (3, len(space.blocks), len(REFERENCE_KINDS))
    assert np.all((found.distances.estimate > 0) & (found.distances.estimate < 1))
    assert np.isfinite(tstar(found, TstarConfig(n_resamples=10)).mean.data.value)


def test_the_distance_of_types_is_that_of_all_their_columns(drugs, space):
    """Columns of elements that never occur are noise, and count as the others do: scipy's distance of all entries."""
    moments, config = estimate_moments(drugs, space), GaussianityConfig(timesteps=STEPS, n_resamples=5, n_null=5)
    found = gaussianity(drugs, space, SCHEDULE, moments, config, seed=0, threads=1)
    tested = drugs.take(np.flatnonzero(drugs.n_atoms > 1))
    states = DataStates(tested, space, SCHEDULE, moments.centred, 0)
    types = space.blocks["types"]
    for r, kind in enumerate(REFERENCE_KINDS):
        reference = ReferenceGaussian(kind, moments)
        for s, t in enumerate(STEPS):
            entries = []
            for i, n in enumerate(tested.n_atoms):
                z = states.draw(np.array([i]), np.array([t]))[0] - reference.mean(SCHEDULE.alpha2[t])
                entries.append(
                    (z / np.sqrt(reference.marginal_variances(int(n), SCHEDULE.alpha2[t])))[:, types].ravel()
                )
            exact = kstest(np.concatenate(entries), "norm").statistic
            assert found.distances.estimate[s, 1, r] == pytest.approx(exact, abs=1 / 16384)


def test_columns_of_elements_that_never_occur_have_no_variance(drugs):
    space = FeatureSpace(GEOM_VOCABULARY)
    moments = estimate_moments(drugs, space)
    never = [3 + i for i, z in enumerate(GEOM_VOCABULARY) if z not in drugs.atomic_numbers]
    assert len(never) == 9
    assert not np.any(moments.within[:, never])
    assert not np.any(moments.within[:, :, never])
    matched = ReferenceGaussian("matched", moments)
    np.testing.assert_allclose(matched.marginal_variances(44, 0.25)[never], 0.75 * 43 / 44)
    # The block's one variance is the mean over all of its columns, those included.
    per_column = np.array([variance(drugs, FeatureSpace((*COMMON.tolist(), 9, 17, 83))).variance_subspace.mean[1]])
    assert moments.block[1] == pytest.approx(per_column[0] * 7 / 16, rel=1e-9)


def test_the_variance_of_one_element_is_that_of_its_positions():
    carbon = PackedMolecules(
        np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32), np.full(12, 6, np.uint8), offsets_of([5, 7])
    )
    space = FeatureSpace(GEOM_VOCABULARY)
    found = variance(carbon, space)
    assert found.standard_deviation_biased.mean[1] == 0
    moments = estimate_moments(carbon, space)
    assert moments.block[1] == 0
    config = GaussianityConfig(timesteps=STEPS, n_resamples=5, n_null=2)
    result = gaussianity(carbon, space, SCHEDULE, moments, config, seed=0, threads=1)
    assert result.reference.variances[1] == 0
    assert np.all(np.isfinite(result.distances.high))


@pytest.mark.parametrize("n", [2, 4, 5, 33, 181])
def test_information_of_sixteen_columns_against_pair_by_pair(n):
    """Noise, two columns that are nearly constant, and one that is."""
    rng = np.random.default_rng(n)
    columns = rng.normal(size=(16, n, 3))
    columns[3] = 0.25 * (rng.random((n, 3)) < 0.1)
    columns[4] = 1e-9 * columns[4]
    columns[5] = 0.25
    found = mean_pairwise_information(columns, 3)
    assert np.all(np.isfinite(found))
    if n <= 4:
        assert not np.any(found)
        return
    pairs = [(i, j) for i in range(16) for j in range(i)]
    for b in range(3):
        expected = np.mean([mutual_information(columns[i, :, b], columns[j, :, b], 3) for i, j in pairs])
        assert found[b] == pytest.approx(expected, abs=1e-12)


def test_the_distance_of_each_molecule_is_scipys_at_181_atoms():
    entries = np.random.default_rng(1).normal(0.01, 1.02, size=(2, 181 * 16))
    np.testing.assert_allclose(ks_distances(entries), [kstest(row, "norm").statistic for row in entries], atol=1e-14)
