import numpy as np
import pytest
from scipy.stats import kstest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats.config import GaussianityConfig, TstarConfig
from gaga.stats.gaussianity import GaussianityResult, gaussianity
from gaga.stats.moments import estimate_moments
from gaga.stats.states import DataStates
from gaga.stats.tstar import tstar
from gaga.storage.serialise import from_tree, to_tree

SCHEDULE = make_schedule()


def gaussian_molecules(n, variance, seed=0):
    """Carbon alone, so that types are constant, and normal positions: z_t is Gaussian at every step."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(8, 19, size=n)
    positions = rng.normal(scale=np.sqrt(variance), size=(int(sizes.sum()), 3)).astype(np.float32)
    return PackedMolecules(positions, np.full(len(positions), 6, np.uint8), offsets_of(sizes))


@pytest.fixture(scope="module")
def closed_form():
    molecules, space = gaussian_molecules(2000, 2.5), FeatureSpace((6,))
    config = GaussianityConfig(timesteps=(50, 300, 600, 1000), n_null=2000, n_resamples=100)
    return gaussianity(molecules, space, SCHEDULE, estimate_moments(molecules, space), config, seed=1)


def test_gaussian_molecules_are_gaussian_at_every_step(closed_form):
    """Their distance to the Gaussian of their own variance is a sampling error, their dependence too."""
    block = closed_form.references.index("block")
    # About 12 free atoms of 3 columns (one column for the types): Kolmogorov's 99.9 % point, 1.95 / sqrt(n).
    assert np.all(closed_form.distances.estimate[:, 0, block] < 1.95 / np.sqrt(2000 * 12 * 3))
    assert np.all(closed_form.distances.estimate[:, 1, block] < 1.95 / np.sqrt(2000 * 12))
    width = closed_form.dependence.high - closed_form.dependence.low
    assert np.all(np.abs(closed_form.dependence.estimate) <= 4 * width / (2 * 1.96) + 1e-12)


def test_their_distance_to_a_wrong_variance_has_a_closed_form(closed_form):
    """KS distance of N(0, s^2) to N(0, 1), at the prior, where the densities cross."""
    from scipy.special import ndtr

    for i, t in enumerate(closed_form.timesteps):
        s = np.sqrt(SCHEDULE.alpha2[t] * 2.5 + SCHEDULE.sigma2[t])
        crossing = np.sqrt(2 * np.log(s) * s**2 / (s**2 - 1)) if s > 1.0001 else 1.0
        expected = abs(ndtr(crossing) - ndtr(crossing / s))
        prior = closed_form.references.index("prior")
        assert closed_form.distances.estimate[i, 0, prior] == pytest.approx(expected, abs=0.006)


def test_their_tstar_is_the_first_step(closed_form):
    found = tstar(closed_form, TstarConfig())
    assert (found.tstar, found.paper.null.value) == (50, 50)
    assert found.t_distance.data.text == "50 (50 to 50)"
    assert tstar(closed_form, TstarConfig(reference="prior")).t_distance.data.value > 50


def test_the_null_of_the_test_passes_as_the_data_does_in_the_end(qm9, space, qm9_moments):
    chosen = qm9.take(np.random.default_rng(3).permutation(len(qm9))[:400])
    config = GaussianityConfig(timesteps=(1000,), n_null=400, n_resamples=20, references=("block", "matched"))
    result = gaussianity(chosen, space, SCHEDULE, qm9_moments, config, seed=0)
    data, null = (p.all(axis=(1, 2, 3)).mean() for p in (result.reference.passes, result.reference.null_passes))
    assert 0.65 < null < 0.9
    assert abs(data - null) < 4 * np.sqrt(2 * null * (1 - null) / 400)
    assert result.reference.variances == pytest.approx([1.38, 0.086], abs=0.05)
    assert result.nulls == ("independent", "matched")


@pytest.mark.parametrize("v", [(0.8, 0.1), (2.0, 0.3)])
def test_entries_are_standardised_by_alpha2_v_plus_sigma2(v):
    """The published test divides by sqrt(alpha_t^2 v + sigma_t^2): the flags of a plan written out by hand."""
    molecules, space = gaussian_molecules(60, 2.0, seed=4), FeatureSpace((6, 7))
    moments, steps = estimate_moments(molecules, space), np.array([100, 400, 700])
    config = GaussianityConfig(timesteps=(100, 400, 700), test_variances=v, n_null=20, n_resamples=5)
    found = gaussianity(molecules, space, SCHEDULE, moments, config, seed=2, threads=1)
    states = DataStates(molecules, space, SCHEDULE, moments.centred, seed=2)
    alpha2, sigma2 = SCHEDULE.alpha2[steps], SCHEDULE.sigma2[steps]
    for i in range(len(molecules)):
        z = states.draw(np.array([i]), steps)
        for s in range(len(steps)):
            entries = z[s].reshape(-1, z.shape[-1])[:, :3].ravel() / np.sqrt(alpha2[s] * v[0] + sigma2[s])
            assert found.reference.passes[i, s, 0, 0] == (kstest(entries, "norm").pvalue >= config.alpha)


def test_the_result_depends_on_the_seed_and_not_on_the_threads(qm9, space, qm9_moments):
    chosen = qm9.take(np.arange(2000, 2040))
    config = GaussianityConfig(timesteps=(200, 500), n_null=30, n_resamples=10, references=("block",))
    seen = []

    def run(seed, threads):
        return gaussianity(
            chosen, space, SCHEDULE, qm9_moments, config, seed=seed, threads=threads, progress=lambda *a: seen.append(a)
        )

    one, two, other = run(5, 1), run(5, 2), run(6, 1)
    np.testing.assert_array_equal(one.reference.passes, two.reference.passes)
    np.testing.assert_array_equal(one.distances.resampled, two.distances.resampled)
    np.testing.assert_array_equal(one.dependence.estimate, two.dependence.estimate)
    assert not np.array_equal(one.distances.estimate, other.distances.estimate)
    work = 2 * 2 * (40 + 30)
    assert seen[len(seen) // 3 - 1][:2] == (work, work)
    assert one.nulls == ("independent",)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_device_gives_the_same_result(device):
    """Every array of it: flags alike, numbers but for the rounding of what is kept."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 20, size=150)
    positions = rng.normal(scale=1.5, size=(int(sizes.sum()), 3)).astype(np.float32)
    numbers = rng.choice([1, 6, 7, 8, 9], size=len(positions)).astype(np.uint8)
    molecules, space = PackedMolecules(positions, numbers, offsets_of(sizes)), FeatureSpace((1, 6, 7, 8, 9))
    config, done = GaussianityConfig(timesteps=(100, 500, 900), n_null=60, n_resamples=10), []

    def run(**on):
        moments = estimate_moments(molecules, space)
        return to_tree(gaussianity(molecules, space, SCHEDULE, moments, config, seed=4, threads=1, **on))

    # On CUDA the last bit decides between ties otherwise: a flag in thousands, and a molecule's share of Dep_t.
    def tolerance(where):
        return 2e-3 if device == "cuda" and where.startswith("dependence.") else 1e-7

    def compare(found, expected, where=""):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            if isinstance(value, dict):
                compare(found[name], value, f"{where}{name}.")
            elif np.asarray(value).dtype.kind == "f":
                np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance(where), err_msg=where + name)
            elif device == "cuda" and np.asarray(value).dtype.kind == "b":
                assert np.mean(found[name] != value) <= 1e-3
            else:
                np.testing.assert_array_equal(found[name], value, err_msg=where + name)

    compare(run(device=device, progress=lambda *a: done.append(a[:2])), run())
    assert done[-1] == (2 * 3 * (150 + 2 * 60),) * 2


def test_single_atoms_are_left_out_and_counted(space, qm9, qm9_moments):
    pair = qm9.take([10, 20])
    molecules = PackedMolecules(
        np.concatenate([pair.positions, np.zeros((1, 3), np.float32)]),
        np.append(pair.atomic_numbers, np.uint8(6)),
        np.append(pair.offsets, pair.offsets[-1] + 1),
    )
    config = GaussianityConfig(timesteps=(500,), n_resamples=5)
    result = gaussianity(molecules, space, SCHEDULE, qm9_moments, config, seed=0, threads=1)
    assert (result.n_molecules, result.n_left_out, result.n_null) == (2, 1, 2)


def test_single_atoms_do_not_bring_the_others_into_memory(space, qm9, qm9_moments):
    class Filed(PackedMolecules):
        def select(self, indices):
            selected.append(indices.tolist())
            return super().select(indices)

    pair, selected = qm9.take([10, 20]), []
    molecules = Filed(
        np.concatenate([pair.positions, np.zeros((1, 3), np.float32)]),
        np.append(pair.atomic_numbers, np.uint8(6)),
        np.append(pair.offsets, pair.offsets[-1] + 1),
    )
    config = GaussianityConfig(timesteps=(500,), n_resamples=5)
    gaussianity(molecules, space, SCHEDULE, qm9_moments, config, seed=0, threads=1)
    assert selected == [[0, 1]]


def test_uncentred_types_and_charges(qm9):
    space = FeatureSpace((1, 6, 7, 8, 9), include_charges=True, centred_features=False)
    chosen = qm9.take(np.arange(0, 130_000, 650))
    moments = estimate_moments(chosen, space)
    config = GaussianityConfig(timesteps=(400, 900), n_null=200, n_resamples=20)
    result = gaussianity(chosen, space, SCHEDULE, moments, config, seed=0)
    assert result.blocks == ("positions", "types", "charges")
    block = result.references.index("block")
    # The mean is part of the reference, so that even charges, all positive, are near it late.
    assert np.all(result.distances.estimate[1, :, block] < 0.03)
    assert np.all(result.null_distances.estimate < 0.04)


def test_a_result_survives_storage(closed_form):
    back = from_tree(to_tree(closed_form), GaussianityResult)
    np.testing.assert_array_equal(back.reference.passes, closed_form.reference.passes)
    assert back.references == closed_form.references
    assert tstar(back, TstarConfig()).reason == tstar(closed_form, TstarConfig()).reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"timesteps": ()},
        {"timesteps": (100, 100)},
        {"alpha": 0.0},
        {"level": 1.0},
        {"mi_threshold": 0.0},
        {"k_types": 0},
        {"n_null": 1},
        {"n_resamples": 1},
        {"references": ()},
        {"references": ("sphere",)},
        {"test_variances": (1.0, 0.0)},
    ],
)
def test_configurations_that_make_no_sense(wrong):
    with pytest.raises(InvalidInput):
        GaussianityConfig(**wrong)


def test_inputs_that_do_not_belong_together(qm9, space, qm9_moments):
    few = qm9.take([10, 20, 30])

    def run(molecules=few, space=space, **config):
        settings = GaussianityConfig(**({"timesteps": (500,)} | config))
        return gaussianity(molecules, space, SCHEDULE, qm9_moments, settings, seed=0)

    with pytest.raises(InvalidInput, match="steps of this schedule"):
        run(timesteps=(500, 2000))
    with pytest.raises(InvalidInput, match="two molecules"):
        run(molecules=qm9.take([10]))
    with pytest.raises(InvalidInput, match="other columns"):
        run(space=FeatureSpace((1, 6, 7, 8, 9), include_charges=True))
    with pytest.raises(InvalidInput, match="other columns"):
        run(space=FeatureSpace((1, 6, 7, 8, 9), centred_features=False))
    with pytest.raises(InvalidInput, match="test variances"):
        run(test_variances=(1.0,))
