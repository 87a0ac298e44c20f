"""Moments of molecules whose covariance is known, and of QM9 against its published table."""

import json
from importlib.resources import files

import numpy as np
import pytest
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data import load_dataset
from gaga.data.features import FeatureSpace
from gaga.noise import Moments, ReferenceGaussian
from gaga.stats.moments import MIN_MOLECULES, _growth, _smooth, estimate_moments

ELEMENTS = np.array([1, 6, 7], dtype=np.uint8)
# Two kinds of molecules, equally frequent: within a molecule, elements are drawn independently.
COMPOSITIONS = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
TYPES = FeatureSpace(vocabulary=(1, 6, 7))
EDM = FeatureSpace(vocabulary=(1, 6, 7), include_charges=True, centred_features=False)


def spread(n_atoms: NDArray[np.integer]) -> NDArray[np.float64]:
    """Variance of a position, Å^2."""
    return 0.5 + 0.1 * n_atoms


def draw_molecules(sizes: NDArray[np.integer], seed: int = 0) -> PackedMolecules:
    """Gaussian positions of variance `spread`, elements of one composition or the other."""
    rng = np.random.default_rng(seed)
    atom_sizes = np.repeat(sizes, sizes)
    positions = rng.normal(size=(len(atom_sizes), 3)) * np.sqrt(spread(atom_sizes))[:, None]
    composition = COMPOSITIONS[np.repeat(rng.integers(2, size=len(sizes)), sizes)]
    index = (rng.random(len(atom_sizes))[:, None] > composition.cumsum(axis=1)).sum(axis=1)
    return PackedMolecules(positions.astype(np.float32), ELEMENTS[index], offsets_of(sizes))


def features_of_elements(space: FeatureSpace) -> NDArray[np.float64]:
    """Columns after the positions, of each element, [3, F]."""
    one_hot = np.eye(3) / space.factors[1]
    return np.hstack([one_hot, ELEMENTS[:, None] / space.factors[2]]) if space.include_charges else one_hot


def true_covariances(space: FeatureSpace, n_atoms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(within, between) [C, C] in closed form; the law of total covariance over the two compositions."""
    features = features_of_elements(space)
    means = COMPOSITIONS @ features
    inner = [(features - m).T @ np.diag(p) @ (features - m) for p, m in zip(COMPOSITIONS, means, strict=True)]
    within, between = np.zeros((2, space.columns, space.columns))
    within[:3, :3] = spread(np.array(n_atoms)) * np.eye(3)
    within[3:, 3:] = np.mean(inner, axis=0)
    if not space.centred_features:
        between[3:, 3:] = within[3:, 3:] + n_atoms * np.cov(means.T, bias=True)
    return within, between


@pytest.fixture(scope="module")
def molecules() -> PackedMolecules:
    return draw_molecules(np.repeat([4, 7, 12], 3000))


@pytest.fixture(scope="module", params=[TYPES, EDM], ids=["centred types", "EDM's features"])
def case(request: pytest.FixtureRequest, molecules: PackedMolecules) -> tuple[FeatureSpace, Moments]:
    return request.param, estimate_moments(molecules, request.param)


@pytest.mark.parametrize("n", [4, 7, 12])
def test_covariances_of_each_size(case: tuple[FeatureSpace, Moments], n: int) -> None:
    """Within 4 standard errors: v sqrt(2 / (3 M (N - 1))) for positions, from products of entries for the rest."""
    space, moments = case
    within, between = true_covariances(space, n)
    position_error = within[0, 0] * np.sqrt(2 / (3 * 3000 * (n - 1)))
    assert abs(moments.within[n, 0, 0] - within[0, 0]) < 4 * position_error
    # A product of two entries of bounded features: its variance is at most its largest value times its mean.
    features = features_of_elements(space)
    extent = np.ptp(features, axis=0)
    product_error = np.outer(extent, extent) / 2 / np.sqrt(3000 * (n - 1))
    assert np.all(np.abs(moments.within[n, 3:, 3:] - within[3:, 3:]) < 4 * product_error)
    between_error = np.sqrt(
        (np.outer(np.diag(between), np.diag(between)) + between**2)[3:, 3:] / 3000
    )  # means of molecules are close to Gaussian
    assert np.all(np.abs(moments.between[n, 3:, 3:] - between[3:, 3:]) <= 4 * between_error)


def test_positions_are_isotropic_and_uncorrelated_with_features(case: tuple[FeatureSpace, Moments]) -> None:
    _, moments = case
    for n in (4, 7, 12):
        np.testing.assert_array_equal(moments.within[n, :3, :3], moments.within[n, 0, 0] * np.eye(3))
        np.testing.assert_array_equal(moments.within[n, :3, 3:], 0.0)
        np.testing.assert_array_equal(moments.between[n, :3], 0.0)


def test_blocks_and_means(case: tuple[FeatureSpace, Moments]) -> None:
    space, moments = case
    assert moments.slices() == space.blocks
    assert moments.counts[[3, 4, 7, 12]].tolist() == [0, 3000, 3000, 3000]
    np.testing.assert_array_equal(moments.centred, [True] * 3 + [space.centred_features] * (space.columns - 3))
    mean = np.zeros(space.columns)
    if not space.centred_features:
        mean[3:] = COMPOSITIONS.mean(axis=0) @ features_of_elements(space)
    # 9000 compositions of two kinds and 69,000 atoms: a standard error is below 0.004 of a column's extent.
    np.testing.assert_allclose(moments.mean, mean, atol=4 * 0.004 * 0.6)


def test_scalar_and_block_are_means_over_molecules(case: tuple[FeatureSpace, Moments]) -> None:
    space, moments = case
    total = np.zeros(space.columns)
    for n in (4, 7, 12):
        within, between = (np.diag(matrix) for matrix in true_covariances(space, n))
        total += np.where(moments.centred, within, (within * (n - 1) + between) / n) / 3
    expected = [total[block].mean() for block in space.blocks.values()]
    np.testing.assert_allclose(moments.block, expected, rtol=0.03)
    assert moments.scalar == pytest.approx(total.mean(), rel=0.02)


@pytest.mark.parametrize("space", [TYPES, EDM], ids=["centred types", "EDM's features"])
def test_matched_is_the_covariance_of_noised_molecules(space: FeatureSpace, molecules: PackedMolecules) -> None:
    """Of other molecules than those the moments came from, noised to z_t."""
    n, draws, alpha2 = 7, 20_000, 0.4865
    reference = ReferenceGaussian("matched", estimate_moments(molecules, space))
    other = draw_molecules(np.full(draws, n), seed=1)
    noise = np.random.default_rng(2).normal(size=(draws * n, space.columns))
    projected = ReferenceGaussian("prior", reference.moments).transform(noise, other.n_atoms, 0.0)
    z = np.sqrt(alpha2) * space.encode(other) + np.sqrt(1 - alpha2) * projected - reference.mean(alpha2)
    z = z.reshape(draws, -1)
    within, between = reference.covariances(n, alpha2)
    mean = np.full((n, n), 1 / n)
    expected = np.kron(np.eye(n) - mean, within) + np.kron(mean, between)
    variances = np.diag(expected)
    # Standard error of the sample's covariance, and half as much again for the moments' own: 9000 molecules of
    # three sizes, pooled over atoms.
    standard_error = np.sqrt((np.outer(variances, variances) + expected**2) / draws)
    assert np.all(np.abs(z.T @ z / draws - expected) < 1.5 * 4 * standard_error + 1e-12)


def test_rare_sizes_borrow_from_their_neighbours() -> None:
    molecules = draw_molecules(np.repeat([5, 6, 7, 9], [100, 2, 100, 60]))
    moments = estimate_moments(molecules, TYPES)
    alone = {n: estimate_moments(molecules.take(np.flatnonzero(molecules.n_atoms == n)), TYPES) for n in (5, 6, 7, 9)}
    counts = {5: 100, 6: 2, 7: 100, 9: 60}
    # Positions in proportion to the line through their variances, the rest as it is.
    variances = [alone[n].within[n][0, 0] for n in counts]
    line = np.polyval(np.polyfit(list(counts), variances, 1, w=np.sqrt(list(counts.values()))), np.arange(10))
    pooled = sum(counts[n] * alone[n].within[n] for n in (5, 6, 7)) / 202
    pooled[:3, :3] = np.eye(3) * sum(counts[n] * alone[n].within[n][0, 0] * line[6] / line[n] for n in (5, 6, 7)) / 202
    np.testing.assert_allclose(moments.within[6], pooled, rtol=1e-9, atol=1e-15)
    for n in (5, 7, 9):
        np.testing.assert_allclose(moments.within[n], alone[n].within[n], rtol=1e-9, atol=1e-15)
    # Size 2 looks as far as size 5, where the first 50 are.
    np.testing.assert_allclose(moments.within[2][3:, 3:], alone[5].within[5][3:, 3:], rtol=1e-9, atol=1e-15)
    assert moments.within[2][0, 0] == pytest.approx(alone[5].within[5][0, 0] * line[2] / line[5], rel=1e-9)


def test_few_molecules_share_one_estimate() -> None:
    molecules = draw_molecules(np.array([3, 5, 8]))
    assert len(molecules) < MIN_MOLECULES
    moments = estimate_moments(molecules, TYPES)
    for n in (3, 5, 8):
        np.testing.assert_allclose(moments.within[n][3:, 3:], moments.within[5][3:, 3:], rtol=1e-12)


def test_single_atoms_say_nothing_of_the_subspace() -> None:
    molecules = draw_molecules(np.repeat([1, 5], [40, 60]))
    moments = estimate_moments(molecules, TYPES)
    without = estimate_moments(molecules.take(np.arange(40, 100)), TYPES)
    np.testing.assert_allclose(moments.block, without.block, rtol=1e-12)
    assert moments.scalar == pytest.approx(without.scalar, rel=1e-12)
    np.testing.assert_allclose(moments.within[1], without.within[5], rtol=1e-12)


@pytest.mark.parametrize("sizes", [[], [1], [1, 1]])
def test_nothing_to_estimate_from_is_refused(sizes: list[int]) -> None:
    with pytest.raises(InvalidInput, match="two atoms"):
        estimate_moments(draw_molecules(np.array(sizes, dtype=np.int64)), TYPES)


def test_published_value_can_be_given(molecules: PackedMolecules) -> None:
    assert estimate_moments(molecules, TYPES, published=0.848).published == 0.848


def test_qm9() -> None:
    """All 130,831 molecules, on the zero-mean subspace; the published value is a mean standard deviation."""
    data = load_dataset("qm9")
    moments = estimate_moments(data.molecules, FeatureSpace(vocabulary=(1, 6, 7, 8, 9)))
    assert f"{moments.block[0]:.4f}" == "2.0416"
    assert f"{moments.block[1]:.5f}" == "0.00790"
    assert f"{moments.scalar:.4f}" == "0.7705"
    assert f"{moments.published:.4f}" == "0.8486"
    for n in (9, 27):
        assert moments.within[n, 0, 0] == pytest.approx(mean_position_variance(data.molecules, n), rel=1e-9)
    assert np.all(np.diff(moments.within[[9, 18, 27], 0, 0]) > 0.5)


def mean_position_variance(molecules: PackedMolecules, n_atoms: int) -> float:
    """Variance of positions about their own centre, / (N - 1), one molecule after the other."""
    of_size = (molecules[i][1].astype(np.float64) for i in np.flatnonzero(molecules.n_atoms == n_atoms))
    return float(np.mean([positions.var(axis=0, ddof=1).mean() for positions in of_size]))


def test_the_sizes_of_geom_have_the_variance_of_their_line() -> None:
    """A tenth of GEOM-Drugs' conformers: 94 of its 157 sizes have fewer than fifty; variances lie on a line."""
    table = json.loads(files("gaga").joinpath("shipped", "geom_sizes.json").read_text(encoding="utf-8"))
    counts = np.zeros(182, dtype=np.int64)
    counts[table["n_atoms"]] = np.maximum(1, np.array(table["conformers"]) // 10)
    line = 0.9 + 0.12 * np.arange(182)
    sums = (counts * line)[:, None, None] * np.diag([1.0, 1.0, 1.0, 0.5])
    smooth = _smooth(sums, counts, _growth(sums, counts))
    assert np.sum((counts > 0) & (counts < MIN_MOLECULES)) == 94
    np.testing.assert_allclose(smooth[2:, 0, 0], line[2:], rtol=1e-9)
    # Other columns do not follow the positions: what is borrowed is an average.
    assert smooth[181, 3, 3] < 0.5 * line[170]


def test_a_variance_that_does_not_grow_is_borrowed_as_it_is() -> None:
    counts = np.array([0, 0, 0, 60, 1, 100])
    sums = (counts * np.array([0, 0, 0, 3.0, 2.5, 2.0]))[:, None, None] * np.eye(4)
    assert np.array_equal(_growth(sums, counts), np.ones(6))
    assert np.array_equal(_growth(np.eye(4)[None] * np.ones((6, 1, 1)), np.array([0, 0, 0, 0, 0, 9])), np.ones(6))
    assert _smooth(sums, counts, np.ones(6))[4, 0, 0] == pytest.approx((180 + 2.5 + 200) / 161)


def test_a_line_that_falls_below_zero_is_kept_above_it() -> None:
    counts = np.full(60, 100)
    counts[:2] = 0
    sums = (counts * np.maximum(np.arange(60) - 20.0, 0.1))[:, None, None] * np.eye(4)
    assert np.all(_growth(sums, counts) > 0)


@pytest.mark.parametrize("centred", [True, False])
def test_threads_do_not_show(molecules: PackedMolecules, centred: bool) -> None:
    space = FeatureSpace(vocabulary=(1, 6, 7), centred_features=centred)
    one, three = (estimate_moments(molecules, space, threads=n) for n in (1, 3))
    for field in ("within", "between", "mean", "block"):
        np.testing.assert_array_equal(getattr(one, field), getattr(three, field))
    assert one.published == three.published
