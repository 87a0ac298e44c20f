import numpy as np
import pytest

from gaga.noise import ReferenceGaussian, make_schedule
from gaga.stats.curves import DistancePlan, distance_curves
from gaga.stats.groups import deal
from gaga.stats.ks import ks_distances
from gaga.stats.states import DataStates, GaussianStates

KINDS = ("published", "scalar", "block", "size")
# Measured on all of QM9 with another implementation; rows t, columns the kinds for positions and three for types.
MEASURED = {
    200: ([0.1086, 0.1187, 0.0134, 0.0119], [0.2527, 0.2449, 0.0014]),
    300: ([0.0989, 0.1078, 0.0112, 0.0099], [0.1829, 0.1749, 0.0005]),
    400: ([0.0865, 0.0937, 0.0088, 0.0076], [0.1289, 0.1217, 0.0003]),
    550: ([0.0631, 0.0680, 0.0055, 0.0051], [0.0700, 0.0651, 0.0003]),
    650: ([0.0450, 0.0482, 0.0034, 0.0030], [0.0422, 0.0389, 0.0001]),
    800: ([0.0187, 0.0200, 0.0013, 0.0010], [0.0144, 0.0131, 0.0002]),
}


def plan_of(n, moments, kinds, timesteps, n_resamples=50):
    return DistancePlan(
        schedule=make_schedule(),
        timesteps=np.array(timesteps),
        blocks=tuple(moments.slices().values()),
        references=tuple(ReferenceGaussian(kind, moments) for kind in kinds),
        resampling=deal(n, n_resamples, np.random.default_rng(0)),
        level=0.95,
    )


def test_the_curves_of_qm9(qm9, space, qm9_moments):
    """A random 10,000 molecules; the sampling error of a distance is about 0.0005."""
    chosen = qm9.take(np.random.default_rng(1).permutation(len(qm9))[:10_000])
    states = DataStates(chosen, space, make_schedule(), qm9_moments.centred, seed=0)
    plan = plan_of(10_000, qm9_moments, KINDS, list(MEASURED))
    done = []
    curves = distance_curves(states, plan, done.append, threads=1)
    assert sum(done) == 6 * 10_000
    positions, types = zip(*MEASURED.values(), strict=True)
    np.testing.assert_allclose(curves.estimate[:, 0], positions, rtol=0, atol=0.003)
    np.testing.assert_allclose(curves.estimate[:, 1, :3], types, rtol=0, atol=0.003)
    assert np.all((curves.low <= curves.estimate) & (curves.estimate <= curves.high))


@pytest.mark.parametrize("threads", [1, 3])
def test_against_one_pooled_sample(qm9, space, qm9_moments, threads):
    """The slow twin: standardise molecule by molecule, pool, and take the exact distance."""
    chosen, schedule = qm9.take(np.arange(0, 130_000, 2000)), make_schedule()
    states = DataStates(chosen, space, schedule, qm9_moments.centred, seed=0)
    curves = distance_curves(states, plan_of(65, qm9_moments, ("matched",), [50, 400]), lambda _: None, threads=threads)
    reference = ReferenceGaussian("matched", qm9_moments)
    for s, t in enumerate((50, 400)):
        parts = []
        for i, n in enumerate(chosen.n_atoms):
            z = states.draw(np.array([i]), np.array([t]))[0]
            parts.append(z / np.sqrt(reference.marginal_variances(int(n), schedule.alpha2[t])))
        for b, columns in enumerate(space.blocks.values()):
            exact = ks_distances(np.concatenate(parts)[:, columns].reshape(1, -1))[0]
            assert 0 <= exact - curves.estimate[s, b, 0] < 6.2e-5


def test_a_gaussian_is_as_far_from_itself_as_its_sample_is(qm9_moments):
    sizes = np.full(3000, 15)
    states = GaussianStates(ReferenceGaussian("size", qm9_moments), make_schedule(), sizes, seed=1)
    curves = distance_curves(
        states, plan_of(3000, qm9_moments, ("size", "published"), [300]), lambda _: None, threads=1
    )
    # 14 free atoms of 3 columns: the Kolmogorov law's 99.9 % point is 1.95 / sqrt(n).
    assert curves.estimate[0, 0, 0] < 1.95 / np.sqrt(3000 * 14 * 3)
    assert curves.low[0, 0, 1] > 0.05
