"""Schedules against the published tables, reference Gaussians against their own samples and the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.noise import (
    REFERENCE_KINDS,
    Moments,
    ReferenceGaussian,
    ReferenceKind,
    Schedule,
    expected_variance,
    make_schedule,
)

GOLDEN = Path(__file__).parent / "golden"
N_MAX = 9


@pytest.mark.parametrize("model", ["edm_tiny", "edm_inv2_tiny", "edm_geom_tiny", "gaga_tiny"])
def test_schedule_is_the_published_one(model: str) -> None:
    gamma = np.load(GOLDEN / model / "vectors.npz")["gamma"]
    np.testing.assert_allclose(make_schedule("polynomial_2").gamma, gamma, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["polynomial_2", "polynomial_1", "polynomial_2.5", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 50, 1000])
def test_schedules_preserve_variance_and_only_add_noise(name: str, steps: int) -> None:
    schedule = make_schedule(name, T=steps)
    assert (len(schedule.gamma), schedule.T) == (steps + 1, steps)
    np.testing.assert_allclose(schedule.alpha2 + schedule.sigma2, 1.0, rtol=1e-12)
    np.testing.assert_allclose(schedule.snr, schedule.alpha2 / schedule.sigma2, rtol=1e-9)
    assert np.all(np.diff(schedule.gamma) > 0)
    # The clip lets no step lose more than a thousandth's share, but for what the precision adds.
    assert np.all(schedule.alpha2[1:] / schedule.alpha2[:-1] > 0.999e-3)


def test_polynomial_as_written() -> None:
    """alpha_t = (1 - 2 s)(1 - (t/T)^2) + s is alpha_t^2's square root up to the precision s."""
    schedule = make_schedule("polynomial_2", T=1000)
    t = np.array([0, 200, 550, 650, 800])
    np.testing.assert_allclose(schedule.alpha2[t], (1 - (t / 1000) ** 2) ** 2, atol=2e-5)
    # Table values of alpha^2 at these steps.
    np.testing.assert_allclose(schedule.alpha2[t[1:]], [0.9216, 0.4865, 0.3335, 0.1296], atol=5e-5)


@pytest.mark.parametrize("name", ["linear", "polynomial", "polynomial_", "polynomial_x", "polynomial_0", "", "Cosine"])
def test_unknown_schedules_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="unknown noise schedule"):
        make_schedule(name)


@pytest.mark.parametrize("options", [{"T": 0}, {"T": -1}, {"precision": 0.0}, {"precision": 0.5}, {"precision": -0.1}])
def test_schedules_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(InvalidInput):
        make_schedule(**options)


def test_steps_out_of_range_are_refused() -> None:
    schedule = make_schedule(T=1000)
    assert [schedule.step(t) for t in (0, 550, 1000)] == [0, 550, 1000]
    for t in (-1, 1001, 2000):
        with pytest.raises(InvalidInput, match="0 to 1000"):
            schedule.step(t)


def test_schedules_match_but_for_float32() -> None:
    schedule = make_schedule()
    rounded = Schedule("from a checkpoint", schedule.gamma.astype(np.float32).astype(np.float64))
    assert schedule.matches(rounded)
    assert not schedule.matches(make_schedule("cosine"))
    assert not schedule.matches(make_schedule(T=500))
    assert not schedule.matches(make_schedule(precision=1e-4))


def example_moments(*, centred_types: bool) -> Moments:
    """Positions and two correlated types; positions spread with the number of atoms."""
    sizes = np.arange(N_MAX + 1)
    within = np.zeros((N_MAX + 1, 5, 5))
    within[:, :3, :3] = (0.5 + 0.1 * sizes)[:, None, None] * np.eye(3)
    within[:, 3:, 3:] = [[0.04, -0.03], [-0.03, 0.05]]
    between = np.zeros_like(within)
    if not centred_types:
        between[:, 3:, 3:] = [[0.02, 0.01], [0.01, 0.03]]
    return Moments(
        blocks=("positions", "types"),
        starts=np.array([0, 3, 5]),
        centred=np.array([True] * 3 + [centred_types] * 2),
        mean=np.array([0, 0, 0, 0.0 if centred_types else 0.1, 0.0 if centred_types else 0.15]),
        counts=np.array([0, 0, 5, 10, 0, 40, 0, 0, 0, 100]),
        scalar=0.9,
        block=np.array([1.4, 0.045]),
        within=within,
        between=between,
        published=0.848,
    )


def full_covariance(reference: ReferenceGaussian, n_atoms: int, alpha2: float) -> NDArray[np.float64]:
    """Covariance of a molecule's entries, atom by atom: within (x) (I - 11'/N) + between (x) 11'/N."""
    within, between = reference.covariances(n_atoms, alpha2)
    mean = np.full((n_atoms, n_atoms), 1 / n_atoms)
    return np.kron(np.eye(n_atoms) - mean, within) + np.kron(mean, between)


@pytest.mark.parametrize("kind", REFERENCE_KINDS)
@pytest.mark.parametrize("centred_types", [True, False])
@pytest.mark.parametrize("n_atoms", [1, 3])
def test_samples_have_the_stated_mean_and_covariance(kind: ReferenceKind, centred_types: bool, n_atoms: int) -> None:
    reference, alpha2, draws = ReferenceGaussian(kind, example_moments(centred_types=centred_types)), 0.4865, 20_000
    noise = np.random.default_rng(17).normal(size=(draws * n_atoms, 5))
    z = reference.transform(noise, np.full(draws, n_atoms), alpha2).reshape(draws, -1)
    expected = full_covariance(reference, n_atoms, alpha2)
    variances = np.diag(expected)
    residue = z - np.tile(reference.mean(alpha2), n_atoms)
    standard_error = np.sqrt((np.outer(variances, variances) + expected**2) / draws)
    assert np.all(np.abs(residue.T @ residue / draws - expected) < 4 * standard_error + 1e-12)
    assert np.all(np.abs(residue.mean(axis=0)) < 4 * np.sqrt(variances / draws) + 1e-12)
    np.testing.assert_allclose(np.tile(reference.marginal_variances(n_atoms, alpha2), n_atoms), variances, atol=1e-12)


@pytest.mark.parametrize("kind", REFERENCE_KINDS)
@pytest.mark.parametrize("centred_types", [True, False])
def test_centred_columns_have_zero_mean(kind: ReferenceKind, centred_types: bool) -> None:
    moments = example_moments(centred_types=centred_types)
    sizes = np.array([1, 2, 9, 3, 12])
    noise = np.random.default_rng(0).normal(size=(sizes.sum(), 5))
    z = ReferenceGaussian(kind, moments).transform(noise, sizes, 0.5)
    means = np.array([part.mean(axis=0) for part in np.split(z, np.cumsum(sizes)[:-1])])
    np.testing.assert_allclose(means[:, moments.centred], 0.0, atol=1e-12)
    if not centred_types:
        assert np.abs(means[:, 3:]).max() > 0.1


def test_a_molecule_does_not_depend_on_its_batch() -> None:
    reference = ReferenceGaussian("matched", example_moments(centred_types=True))
    noise = np.random.default_rng(0).normal(size=(11, 5))
    together = reference.transform(noise, np.array([2, 9]), 0.5)
    np.testing.assert_array_equal(together[2:], reference.transform(noise[2:], np.array([9]), 0.5))


def test_each_kind_has_the_variance_that_its_name_says() -> None:
    """On the zero-mean subspace, v_t = alpha_t^2 v + sigma_t^2 with v of the kind."""
    moments, alpha2, n = example_moments(centred_types=True), 0.3, 5
    position = {"published": 0.848, "scalar": 0.9, "block": 1.4, "size": 1.0, "matched": 1.0, "prior": 1.0}
    types = {"published": 0.848, "scalar": 0.9, "block": 0.045, "size": 0.045, "matched": 0.04, "prior": 1.0}
    for kind in REFERENCE_KINDS:
        within, between = ReferenceGaussian(kind, moments).covariances(n, alpha2)
        assert within[0, 0] == pytest.approx(expected_variance(position[kind], alpha2), rel=1e-12)
        assert within[3, 3] == pytest.approx(expected_variance(types[kind], alpha2), rel=1e-12)
        np.testing.assert_array_equal(between, 0.0)
        if kind != "matched":
            np.testing.assert_array_equal(within, np.diag(np.diag(within)))


@pytest.mark.parametrize("centred_types", [True, False])
def test_size_has_the_marginals_of_matched_on_average_over_a_block(centred_types: bool) -> None:
    moments, alpha2 = example_moments(centred_types=centred_types), 0.6
    for n in (2, 5, 9, 14):
        size, matched = (ReferenceGaussian(kind, moments).marginal_variances(n, alpha2) for kind in ("size", "matched"))
        for block in moments.slices().values():
            assert size[block].mean() == pytest.approx(matched[block].mean(), rel=1e-12)


@pytest.mark.parametrize("kind", REFERENCE_KINDS)
def test_every_reference_ends_in_the_prior(kind: ReferenceKind) -> None:
    moments = example_moments(centred_types=False)
    prior = ReferenceGaussian("prior", moments)
    for mine, theirs in zip(
        ReferenceGaussian(kind, moments).covariances(4, 0.0), prior.covariances(4, 0.0), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


def test_mean_shrinks_with_alpha() -> None:
    moments = example_moments(centred_types=False)
    np.testing.assert_allclose(ReferenceGaussian("block", moments).mean(0.25), 0.5 * moments.mean)
    np.testing.assert_array_equal(ReferenceGaussian("prior", moments).mean(0.25), 0.0)


def test_larger_molecules_follow_the_line() -> None:
    moments = example_moments(centred_types=False)
    within, between = moments.of_size(20)
    np.testing.assert_allclose(within[:3, :3], 2.5 * np.eye(3), rtol=1e-9)
    np.testing.assert_array_equal(within[3:, 3:], moments.within[N_MAX, 3:, 3:])
    np.testing.assert_array_equal(between, moments.between[N_MAX])
    assert moments.within[N_MAX, 0, 0] == pytest.approx(1.4)


def test_shrinking_or_single_sizes_are_kept_constant() -> None:
    moments = example_moments(centred_types=True)
    shrinking = replace(moments, within=moments.within[::-1].copy())
    single = replace(moments, counts=np.where(np.arange(N_MAX + 1) == N_MAX, 7, 0))
    for each in (shrinking, single):
        np.testing.assert_array_equal(each.of_size(20)[0], each.within[N_MAX])


def test_extrapolation_is_admitted() -> None:
    moments = example_moments(centred_types=True)
    assert [n for n in range(13) if not moments.extrapolates(n)] == [2, 3, 5, 9]
