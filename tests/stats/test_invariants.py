"""The statistics of one molecule against slow formulas, and the tables of their laws against drawn Gaussians."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp, norm, special_ortho_group

from gaga.stats.invariants import (
    CELLS,
    entries_of_radii,
    gyration_shares,
    is_defined,
    nearest_distances,
    scores,
    statistics_of,
    table_of,
)

BLOCKS = (slice(0, 3), slice(3, 8))


def states(molecules, n_atoms, seed=0):
    """Gaussians of unequal variances, of zero mean in each molecule."""
    z = np.random.default_rng(seed).normal(size=(molecules, n_atoms, 8)) * np.repeat([1.7, 0.4], [3, 5])
    return z - z.mean(axis=1, keepdims=True)


def test_shares_and_distances_are_those_of_their_definitions():
    x = states(50, 7)[..., :3]
    values = np.array([np.sort(np.linalg.eigvals(np.cov(molecule.T)).real) for molecule in x])
    expected = values[:, [2, 0]] / values.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gyration_shares(x), expected, atol=1e-12)
    slow = [np.where(np.eye(7, dtype=bool), np.inf, cdist(molecule, molecule)).min(axis=1) for molecule in x]
    np.testing.assert_allclose(nearest_distances(x), slow, atol=1e-7)


@pytest.mark.parametrize("n_atoms", [4, 9, 40])
def test_tables_have_the_law_of_gaussians(n_atoms):
    """The gyration matrix is drawn by its factor, as no molecule is."""
    table, x = table_of(n_atoms, 1 << 14), states(4000, n_atoms)[..., :3] / 1.7
    for edges, values in (*zip(table.shares, gyration_shares(x).T, strict=True), (table.nearest, nearest_distances(x))):
        # A distance between 16,384 and 4,000 molecules; the atoms of one have about the same neighbours.
        assert ks_2samp(edges, values.ravel()).statistic < 1.95 / np.sqrt(4000) + 1 / CELLS


def test_the_scores_do_not_depend_on_orientation_order_or_scale():
    z, rng = states(30, 9), np.random.default_rng(1)
    turned = np.concatenate([z[..., :3] @ special_ortho_group.rvs(3, random_state=2).T * 3, z[..., 3:] * 0.1], axis=2)
    turned = np.stack([molecule[rng.permutation(9)] for molecule in turned])
    table = table_of(9, 1 << 14)
    before, after = (scores(some[None], BLOCKS, table) for some in (z, turned))
    for one, other in zip(before.cells, after.cells, strict=True):
        # A value on an edge may fall to the other side.
        assert np.abs(np.sort(one, axis=2) - np.sort(other, axis=2)).max() <= 1
    np.testing.assert_allclose(before.coupling, after.coupling, atol=1e-10)


def test_the_coupling_of_gaussians_has_variance_one_and_mean_zero():
    coupling = scores(states(20_000, 6)[None], BLOCKS, table_of(6, 1 << 14)).coupling[0]
    assert np.all(np.abs(coupling.mean(axis=0)) < 4 / np.sqrt(20_000))
    # Its fourth moment is about 5: the variance of a variance is 4 / n.
    np.testing.assert_allclose(coupling.var(axis=0), 1, atol=4 * np.sqrt(4 / 20_000))


def test_entries_of_radii_are_those_of_random_directions():
    """Radii of three degrees of freedom, each cell as often as any other, have standard normal entries."""
    edges = norm.ppf(np.arange(4, CELLS, 4) / CELLS)
    np.testing.assert_allclose(entries_of_radii().mean(axis=0), norm.cdf(edges), atol=2e-4)


def test_small_molecules_have_no_shape():
    names = statistics_of(("positions", "types"))
    assert [name for name in names if not is_defined(name, 2)] == [names[0], names[1], names[-1]]
    assert [name for name in names if not is_defined(name, 3)] == [names[1]]
    found = scores(states(5, 2)[None], BLOCKS, table_of(2, 1 << 14))
    assert np.isfinite(found.coupling).all()
