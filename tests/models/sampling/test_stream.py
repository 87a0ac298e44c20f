import numpy as np
import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.core.rng import STREAM_START
from gaga.data.features import FeatureSpace
from gaga.models.api import sample
from gaga.models.model import Model
from gaga.models.sampling import batch
from gaga.models.sampling.config import METHODS, SampleConfig
from gaga.models.sampling.loop import bounded, reach_of
from gaga.models.sampling.plan import draw_sizes, start_reference
from gaga.models.sampling.solvers import solver_of
from gaga.models.sampling.stream import sample_stream
from gaga.noise import make_schedule
from gaga.stats.moments import estimate_moments
from tests.models.conftest import VARIANCES, OptimalDenoiser, gaussian_moments
from tests.models.sampling.test_solvers import covariance_after


@pytest.mark.parametrize(
    "how",
    [
        {"method": "ddpm"},
        {"method": "ddpm", "stride": 10},
        {"method": "ddpm", "steps": 40},
        {"method": "ddim"},
        {"method": "ddim", "stride": 25},
        {"method": "heun", "steps": 21},
        {"method": "dpm++", "steps": 12, "spacing": "power"},
        {"method": "sde", "steps": 20},
        {"method": "annealed", "steps": 30},
    ],
    ids=str,
)
def test_output_distribution_on_gaussian_data(gaussian_model, how):
    config = SampleConfig(batch_size=500, **how)
    molecules = list(sample_stream(gaussian_model, range(500), config, seed=5))
    x = np.concatenate([m.positions for m in molecules]).astype(np.float64)
    expected = covariance_after(solver_of(gaussian_model, config), VARIANCES[0])
    if len(solver_of(gaussian_model, config)) > 500:
        assert abs(expected / 2.0 - 1) < 0.03, "all steps must bring back the data's variance"
    measured = (x**2).sum() / (500 * 8 * 3)
    assert abs(measured - expected) < 4 * expected * np.sqrt(2 / (500 * 8 * 3))
    assert np.abs(x.reshape(500, 9, 3).mean(axis=1)).max() < 1e-6
    fourth = (x.ravel() ** 4).mean() / (x.ravel() ** 2).mean() ** 2
    assert abs(fourth - 3) < 4 * np.sqrt(24 / (500 * 24)), "a linear sampler keeps Gaussian data Gaussian"


def few(method, **more):
    """Eleven evaluations or so."""
    steps = {"stride": 50} if method in ("ddpm", "ddim") else {"steps": 11, "spacing": "power"}
    return SampleConfig(method=method, **steps, **more)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_molecule_whatever_the_batch(toy_model, method):
    config = few(method)
    together = list(sample_stream(toy_model, range(12), config, seed=2))
    apart = list(sample_stream(toy_model, range(12), few(method, batch_size=5), seed=2))
    single = [m for i in (11, 3) for m in sample_stream(toy_model, [i], config, seed=2)]
    assert [m.index for m in together] == list(range(12)) == [m.index for m in apart]
    for a, b in [*zip(together, apart, strict=True), (together[11], single[0]), (together[3], single[1])]:
        np.testing.assert_array_equal(a.atomic_numbers, b.atomic_numbers)
        np.testing.assert_allclose(a.positions, b.positions, rtol=1e-5, atol=1e-5)
    other = list(sample_stream(toy_model, range(12), config, seed=3))
    assert any(
        len(a.atomic_numbers) != len(b.atomic_numbers) or not np.allclose(a.positions, b.positions)
        for a, b in zip(together, other, strict=True)
    )


@pytest.mark.parametrize("method", METHODS)
def test_samples_are_equivariant_to_their_noise(toy_model, monkeypatch, method):
    """Rotated noise gives rotated molecules: the sampler adds no direction of its own."""
    from scipy.spatial.transform import Rotation

    matrix = Rotation.from_euler("xyz", [0.3, 1.1, -2.0]).as_matrix()
    plain = list(sample_stream(toy_model, range(4), few(method), seed=1))
    original = batch.normals

    def rotated(seed, molecules, sizes, columns, stream):
        noise = original(seed, molecules, sizes, columns, stream)
        return np.concatenate([noise[:, :3] @ matrix.T, noise[:, 3:]], axis=1)

    monkeypatch.setattr(batch, "normals", rotated)
    for a, b in zip(plain, sample_stream(toy_model, range(4), few(method), seed=1), strict=True):
        np.testing.assert_allclose(b.positions, a.positions @ matrix.T, rtol=1e-4, atol=1e-4)


def test_options_without_effect_are_known():
    """What `gaga sample` refuses, and what does not count when a run is found again."""
    raised, window = {"raised", "raised_between", "guidance_between"}, {"guidance_between"}
    assert SampleConfig(method="annealed").unused == {"churn", *window}
    assert SampleConfig(method="annealed", guidance=1.0).unused == {"churn"}
    assert SampleConfig(method="annealed", spacing="power").unused == {"churn", "bend", *window}
    assert SampleConfig(method="sde").unused == {"bend", *raised}
    assert SampleConfig(method="heun", spacing="arcsine").unused == {"churn", *raised}
    assert SampleConfig(method="ddpm").unused == {"churn", "spacing", "bend", *raised}
    one, other = SampleConfig(method="ddim", bend=1.0), SampleConfig(method="ddim", bend=2.0)
    assert one.effective() == other.effective()
    bent = [SampleConfig(method="annealed", bend=bend).effective() for bend in (1.0, 2.0)]
    assert bent[0] != bent[1]
    assert SampleConfig(method="sde").effective() == SampleConfig(method="sde", spacing="power", churn=32).effective()


def test_sizes_follow_the_histogram_and_the_key_alone():
    moments = gaussian_moments(5)
    counts = np.array([0, 0, 100, 0, 300, 600])
    moments = type(moments)(**{**vars(moments), "counts": counts})
    sizes = draw_sizes(np.arange(20000), moments, None, seed=1)
    assert set(sizes) == {2, 4, 5}
    shares = np.bincount(sizes, minlength=6) / 20000
    np.testing.assert_allclose(shares, counts / 1000, atol=4 * np.sqrt(0.25 / 20000))
    assert draw_sizes(np.array([17]), moments, None, seed=1)[0] == sizes[17]
    assert set(draw_sizes(np.arange(100), moments, (7, 12), seed=1)) == {7, 12}


@pytest.mark.parametrize("start", ["published", "scalar", "block", "size", "matched", "prior"])
def test_the_start_has_the_variance_of_its_reference(gaussian_model, start):
    reference = start_reference(gaussian_model, SampleConfig(start=start))
    sizes = np.full(2000, 9)
    z = reference.transform(batch.normals(0, np.arange(2000), sizes, 8, STREAM_START), sizes, 0.5)
    expected = {"published": [0.924] * 2, "scalar": [0.5 * VARIANCES.mean() + 0.5] * 2, "prior": [1.0, 1.0]}
    positions, types = expected.get(start, [1.5, 0.505])
    measured = (z**2).sum(axis=0) / (2000 * 8)
    np.testing.assert_allclose(measured[:3], positions, rtol=4 * np.sqrt(2 / 16000))
    np.testing.assert_allclose(measured[3:], types, rtol=4 * np.sqrt(2 / 16000))


DIATOMIC, RING = [[0, 0, -0.5], [0, 0, 0.5]], np.random.default_rng(0).normal(size=(8, 3))


@pytest.mark.parametrize(
    ("alone", "expected"),
    [
        ([1, 1, 53], {2: 1, 8: 16, 5: 1}),  # 5: of all sizes; H and S have two, and the lighter one is taken
        ([53, 53, 53, 1], {2: 53, 8: 16, 5: 53}),
        ([], {}),
    ],
)
@pytest.mark.parametrize("centred", [True, False])
def test_a_molecule_of_one_element_has_that_of_such_training_molecules(alone, expected, centred):
    """Centred types of H2, I2 and S8 are all 0, which the first column of the vocabulary, fluorine, would win."""
    known = [([z, z], DIATOMIC) for z in alone] + ([([16] * 8, RING)] * 2 if alone else [])
    space = FeatureSpace((9, 1, 16, 53), centred_features=centred)
    moments = estimate_moments(pack([*known, ([1, 9], DIATOMIC)]), space)
    schedule = make_schedule()
    nothing = OptimalDenoiser(schedule, torch.tensor([2.0] * 3 + [1e-12] * 4, dtype=torch.float64))
    model = Model(nothing, schedule, space, max_t=550, moments=moments)
    config = SampleConfig(method="ddim", steps=20, sizes=(2, 5, 8), frames=2)
    drawn = list(sample_stream(model, range(12), config))
    assert {len(m.atomic_numbers) for m in drawn} == {2, 5, 8}
    for molecule in drawn:
        assert molecule.guessed == centred
        if centred and alone:
            assert set(molecule.atomic_numbers.tolist()) == {expected[len(molecule.atomic_numbers)]}
            np.testing.assert_array_equal(molecule.frames[-1][0], molecule.atomic_numbers)


def test_trajectory_ends_in_the_molecule(toy_model):
    (molecule,) = sample_stream(toy_model, [4], SampleConfig(method="ddpm", stride=100, frames=4))
    assert len(molecule.frames) == 5
    np.testing.assert_array_equal(molecule.frames[-1][1], molecule.positions)


def test_numbers_that_are_not_finite_are_marked(gaussian_model):
    broken = type(gaussian_model)(lambda z, t, layout: z * float("nan"), gaussian_model.schedule, gaussian_model.space,
                                  max_t=550, moments=gaussian_model.moments)  # fmt: skip
    (molecule,) = sample_stream(broken, [0], SampleConfig(method="ddpm", stride=550))
    assert not molecule.finite
    assert np.isnan(molecule.positions).all()
    with pytest.warns(UserWarning, match="2 of 2 molecules are not finite"):
        drawn = sample(broken, 2, method="ddpm", stride=550)
    assert drawn.finite.tolist() == [False, False]
    assert sample(gaussian_model, 2, method="ddpm", stride=550).finite.tolist() == [True, True]


@pytest.mark.parametrize("method", ["annealed", "sde", "ddpm"])
def test_predictions_beyond_any_molecule_are_bounded(gaussian_model, method):
    """A network that makes everything a hundred times as large at each step; others are not changed by the bound."""
    runaway = type(gaussian_model)(
        lambda z, t, layout: -100 * z, gaussian_model.schedule, gaussian_model.space,
        max_t=550, moments=gaussian_model.moments,
    )  # fmt: skip
    (molecule,) = sample_stream(runaway, [0], SampleConfig(method=method, steps=30))
    farthest = 15 * np.sqrt(runaway.moments.block[0]) * runaway.space.unit
    assert molecule.finite
    assert np.linalg.norm(molecule.positions, axis=1).max() < 2 * farthest


def test_the_bound_does_not_change_what_is_within():
    rng = torch.Generator().manual_seed(1)
    eps, z = torch.randn(500, 8, generator=rng), torch.randn(500, 8, generator=rng)
    assert torch.equal(bounded(eps, z, torch.full((8,), 30.0), 0.7), eps)
    there = z - 0.7 * bounded(100 * eps, z, torch.full((8,), 3.0), 0.7)
    assert (there[:, :3].norm(dim=1) <= 3.0001).all()
    assert (there[:, 3:].abs() <= 3.0001).all()
    cosines = torch.cosine_similarity(there[:, :3], (z - 70 * eps)[:, :3])
    torch.testing.assert_close(cosines, torch.ones(500), rtol=0, atol=1e-4)
    broken = bounded(eps * float("nan"), z, torch.full((8,), 3.0), 0.7)
    assert torch.isnan(broken).all(), "what is broken stays so"


def test_a_type_may_be_any_of_the_vocabulary():
    space = FeatureSpace((1, 6, 53), factors=(1.0, 0.05, 1.0), include_charges=True, centred_features=False)
    assert space.largest.tolist() == [20, 20, 20, 53]
    assert space.encode(pack([([53, 1], np.eye(3)[:2])]))[0, 3:].tolist() == [0, 0, 20, 53]


@pytest.mark.parametrize("t", [0, 250, 550, 999, 1000])
def test_the_bound_lets_a_prediction_be_ten_times_off(gaussian_model, t):
    """So that models of all steps are not touched by it, whose alpha at step 1000 is 0.003."""
    alpha, sigma = (float(value[0]) for value in gaussian_model.schedule.alpha_sigma_at(np.array([float(t)])))
    x, eps = torch.tensor([[5.0, 3.0, 0.0]]), torch.tensor([[0.6, -0.5, 0.3]])
    wrong = eps + torch.tensor([[5.5, -5.5, 5.5]])
    reach = torch.from_numpy(reach_of(gaussian_model, np.array([float(t)]))[0, :3]).float()
    assert torch.equal(bounded(wrong, alpha * x + sigma * eps, reach, sigma), wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "euler"}, "method"),
        ({"start": "best"}, "unknown start"),
        ({"stride": 0}, "stride"),
        ({"stride": 2, "method": "heun"}, "stride"),
        ({"stride": 2, "steps": 20}, "stride"),
        ({"steps": 0}, "steps"),
        ({"steps": 1, "method": "ddim"}, "steps"),
        ({"spacing": "odd"}, "spacing"),
        ({"bend": 3.0}, "bend"),
        ({"raised": 0.9}, "raised"),
        ({"raised_between": (1.0, 0.1)}, "raised_between"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": (0,)}, "sizes"),
        ({"dataset_var": -1.0, "start": "scalar"}, "dataset_var"),
        ({"dataset_var": 1.0, "start": "block"}, "scalar"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(InvalidInput, match=message):
        SampleConfig(**changes)


def test_a_start_beyond_training_is_refused(toy_model):
    with pytest.raises(InvalidInput, match="trained on steps 0 to 550"):
        next(sample_stream(toy_model, [0], SampleConfig(t_start=551)))
    with pytest.raises(InvalidInput, match="seed"):
        next(sample_stream(toy_model, [0], SampleConfig(), seed=-1))


def test_float64_network_gives_its_type(toy_model):
    (a,) = sample_stream(toy_model, [0], SampleConfig(method="ddpm", stride=100))
    assert a.positions.dtype == np.float32
    assert next(iter(toy_model.network.parameters())).dtype == torch.float64


def test_a_composition_and_a_shape_imply_the_start_and_fix_the_size():
    config = SampleConfig(composition_start="C2H6O", shape=(1.0, 2.0, 3.0))
    assert (config.started_from, config.only_sizes) == ("shape", (9,))
    assert config.effective()["composition_start"] == "C2H6O"
    exact = SampleConfig(composition="C2H6O")
    assert (exact.started_from, exact.only_sizes, exact.effective()["resample"]) == ("shape", (9,), 1)
    plain = SampleConfig()
    assert (plain.started_from, plain.only_sizes) == ("block", None)
    assert plain.effective()["start"] == "block"
    assert not {"composition", "composition_start", "shape", "around", "resample"} & plain.effective().keys()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"composition": "CXx"}, "unknown chemical element"),
        ({"composition": "2C"}, "not a formula"),
        ({"composition": "C0H4"}, "has no 0"),
        ({"composition_start": "CH4", "start": "block"}, "goes with the start shape"),
        ({"shape": (1.0, 2.0, 3.0), "start": "prior"}, "goes with the start shape"),
        ({"composition": "CH4", "sizes": (5,)}, "says itself how many"),
        ({"shape": (0.0, 1.0, 2.0)}, "above 0"),
    ],
)
def test_compositions_and_shapes_that_cannot_be(options, why):
    with pytest.raises(InvalidInput, match=why):
        SampleConfig(**options)
