"""Shapes and compositions of training molecules as a start (SCIENCE: invariance under orthogonal mixing of atoms)."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of, pack
from gaga.core.rng import normals
from gaga.data.features import FeatureSpace
from gaga.data.shapes import (
    ReferenceShape,
    ShapeLibrary,
    ellipsoid,
    gyration_eigenvalues,
    save_shapes,
    shipped_shapes,
)
from gaga.noise import DrawsFurther, Reference, ReferenceGaussian
from gaga.stats.moments import estimate_moments

SPACE = FeatureSpace((1, 6, 8))
ONE = ShapeLibrary(np.array([[4.0, 2.0, 1.0]]), np.array([[4, 3, 1]]))


def molecules(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return pack((rng.choice(SPACE.vocabulary, n), rng.normal(size=(n, 3)) * [3, 2, 1]) for n in sizes)


def moments_of(sizes=(8,) * 60 + (5,) * 60):
    return estimate_moments(molecules(sizes), SPACE)


def drawn(reference, sizes, alpha2, seed=1):
    """z_t of molecules of these sizes, one array each."""
    sizes = np.asarray(sizes)
    noise = normals(seed, np.arange(len(sizes)), sizes, SPACE.columns + reference.further, 7)
    return np.split(reference.transform(noise, sizes, alpha2), np.cumsum(sizes)[:-1])


def gyration(x):
    return np.linalg.eigvalsh(x.T @ x / max(len(x) - 1, 1))[::-1]


def test_it_is_a_reference_that_draws_further_numbers():
    reference = ReferenceShape(ONE, moments_of(), SPACE)
    assert isinstance(reference, Reference)
    assert isinstance(reference, DrawsFurther)
    assert not isinstance(ReferenceGaussian("block", moments_of()), DrawsFurther)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 30])
def test_an_ellipsoid_is_centred_and_has_the_eigenvalues_that_fit_into_it(n):
    rng = np.random.default_rng(n)
    x = ellipsoid(np.array([4.0, 2.0, 1.0]), rng.normal(size=(n, 3)), rng.normal(size=4))
    rank = min(3, n - 1)
    assert x.shape == (n, 3)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(gyration(x), [*[4.0, 2.0, 1.0][:rank], *[0.0] * (3 - rank)], atol=1e-12)


def test_frames_and_rotations_are_uniform():
    """With equal rotations, E u_i u_j = (I - 11'/N)/(N - 1) for each column; u has mean 0, and so has each axis."""
    rng, n, many = np.random.default_rng(0), 6, 5_000
    x = np.stack([
        ellipsoid(np.array([1.0, 0.0, 0.0]), rng.normal(size=(n, 3)), rng.normal(size=4)) for _ in range(many)
    ])  # fmt: skip
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=0.06)
    atoms, axes = np.einsum("mia,mja->ij", x, x) / many, np.einsum("mia,mib->ab", x, x) / many
    np.testing.assert_allclose(atoms, np.eye(n) - 1 / n, atol=0.05)
    np.testing.assert_allclose(axes, np.eye(3) * (n - 1) / 3, atol=0.12)


def test_without_noise_it_is_the_molecule_of_the_library_in_the_networks_columns():
    space = FeatureSpace((1, 6, 8), factors=(2.0, 4.0, 10.0), include_charges=True)
    moments = estimate_moments(molecules((8,) * 60), space)
    sizes = np.array([8, 8])
    noise = normals(0, np.arange(2), sizes, space.columns + 9, 7)
    for z in np.split(ReferenceShape(ONE, moments, space).transform(noise, sizes, 1.0), 2):
        np.testing.assert_allclose(gyration(2.0 * z[:, :3]), [4.0, 2.0, 1.0], atol=1e-12)
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
        numbers = np.sort(space.decode_types(z))
        np.testing.assert_array_equal(numbers, [1] * 4 + [6] * 3 + [8])
        np.testing.assert_allclose(np.sort(10 * (z[:, -1] - z[:, -1].min())), numbers - 1, atol=1e-12)


@pytest.mark.parametrize("centred", [True, False])
def test_noise_has_zero_mean_where_columns_are_centred(centred):
    space = FeatureSpace((1, 6, 8), centred_features=centred)
    moments = estimate_moments(molecules((8,) * 60), space)
    noise = normals(0, np.arange(3), np.array([8, 1, 2]), space.columns + 9, 7)
    z = ReferenceShape(ONE, moments, space).transform(noise, np.array([8, 1, 2]), 0.3)
    assert np.isfinite(z).all()
    means = np.add.reduceat(z, [0, 8, 9])
    assert np.abs(means[:, :3]).max() < 1e-12
    assert (np.abs(means[:, 3:]).max() < 1e-12) == centred


def test_molecules_do_not_depend_on_their_batch():
    library = ShapeLibrary.of(molecules((8,) * 30 + (5,) * 30 + (3,)), np.arange(61), SPACE)
    reference = ReferenceShape(library, moments_of(), SPACE)
    sizes = np.array([5, 8, 8, 3, 1, 2, 9])
    together = drawn(reference, sizes, 0.3)
    for key, n in enumerate(sizes):
        noise = normals(1, np.array([key]), sizes[[key]], SPACE.columns + 9, 7)
        np.testing.assert_array_equal(reference.transform(noise, np.array([n]), 0.3), together[key])


def test_a_rare_size_borrows_from_its_neighbours_as_wide_as_its_own_and_with_its_number_of_atoms():
    moments = moments_of()
    library = ShapeLibrary.of(molecules((8,) * 30 + (5,) * 30 + (6,)), np.arange(61), SPACE)
    eigenvalues, compositions = library.of_size(6, moments)
    np.testing.assert_array_equal(compositions.sum(axis=1), 6)
    assert len(eigenvalues) == 31  # its own and those of 5 atoms, the nearest
    ratio = np.trace(moments.of_size(6)[0][:3, :3]) / np.trace(moments.of_size(5)[0][:3, :3])
    np.testing.assert_allclose(eigenvalues[:30], library.eigenvalues[:30] * ratio)
    np.testing.assert_array_equal(eigenvalues[30], library.eigenvalues[30])
    two, _ = library.of_size(2, moments)  # one axis, which holds all of the width
    assert (two[:, 0] >= two[:, 1:].sum(axis=1)).all()
    assert library.of_size(8, moments)[0].shape == (30, 3)
    assert ONE.of_size(40, moments)[1].tolist() == [[20, 15, 5]]


def test_fixed_eigenvalues_and_composition_are_all_molecules():
    reference = ReferenceShape(ONE, moments_of(), SPACE, eigenvalues=(1.0, 9.0, 3.0), composition=(2, 2, 4))
    for z in drawn(reference, [8, 8], 1.0):
        np.testing.assert_allclose(gyration(z[:, :3]), [9.0, 3.0, 1.0], atol=1e-12)
        assert sorted(SPACE.decode_types(z)) == [1, 1, 6, 6, 8, 8, 8, 8]
    with pytest.raises(InvalidInput, match="composition"):
        drawn(reference, [7], 1.0)


def test_the_divergence_from_shape_is_that_from_block_less_that_of_the_eigenvalues():
    """Two-dimensional frames of rigid rods: q holds its direction u in the free rows, `shape` turns it.

    z = alpha a u r' + sigma eps with N = 3 (two free rows) and r uniform on the sphere: each density over that of
    N(0, sigma^2) is exp(-c^2/2) sinh(c s)/(c s), c = alpha a / sigma, s = |Y'u| / sigma, averaged over u for `shape`.
    Its logarithm to `block` depends on the eigenvalues alone: its mean over `shape` is the divergence of those.
    """
    alpha2, width, many = 0.7, 3.0, 5000
    a = np.sqrt(2 * width)  # |S| = sqrt((N - 1) eigenvalue)
    library = ShapeLibrary(np.array([[width, 0.0, 0.0]]), np.array([[1, 1, 1]]))
    basis = np.linalg.svd(np.eye(3) - 1 / 3)[0][:, :2]
    shapes = np.stack(drawn(ReferenceShape(library, moments_of(), SPACE), [3] * many, alpha2))[:, :, :3]
    rng = np.random.default_rng(3)
    axis = rng.normal(size=(many, 1, 3))
    rod = np.sqrt(alpha2) * a * basis[:, :1] * axis / np.linalg.norm(axis, axis=2, keepdims=True)
    q = rod + np.sqrt(1 - alpha2) * rng.normal(size=(many, 3, 3))
    turns = np.linspace(0, np.pi, 64, endpoint=False)
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)

    def log_densities(z):
        y = np.einsum("ik,mia->mka", basis, z) / np.sqrt(1 - alpha2)
        c, v = a * np.sqrt(alpha2 / (1 - alpha2)), 1 + alpha2 / (1 - alpha2) * a**2 / 6
        s = c * np.linalg.norm(np.einsum("mka,tk->mta", y, directions), axis=2)
        each = np.sinh(s) / s * np.exp(-(c**2) / 2)
        square = (y**2).sum(axis=(1, 2))
        return np.log(each[:, 0]), np.log(each.mean(axis=1)), square / 2 * (1 - 1 / v) - 3 * np.log(v)

    of_q, shape, block = log_densities(q)
    _, drawn_shape, drawn_block = log_densities(shapes)
    spread = np.std(shape - block) * np.sqrt(2 / many)
    to_shape, to_block, eigenvalues = (of_q - shape).mean(), (of_q - block).mean(), (drawn_shape - drawn_block).mean()
    assert to_shape == pytest.approx(to_block - eigenvalues, abs=4 * spread)
    assert eigenvalues > 10 * spread
    assert to_shape > 10 * spread


def test_a_library_has_the_training_molecules_and_no_more_than_asked_for():
    data = molecules((4,) * 300 + (6,) * 20)
    library = ShapeLibrary.of(data, np.arange(310), SPACE)
    assert np.bincount(library.n_atoms).tolist() == [0] * 4 + [256, 0, 10]
    again = ShapeLibrary.of(data, np.arange(310)[::-1], SPACE)
    assert again.digest == library.digest
    known = gyration_eigenvalues(data)[300:310]
    np.testing.assert_allclose(library.eigenvalues[256:], known, rtol=1e-3)
    assert ShapeLibrary.of(data, np.arange(0), SPACE) is None
    with pytest.raises(InvalidInput, match="vocabulary"):
        ShapeLibrary.of(data, np.arange(3), FeatureSpace((1, 6)))


def test_eigenvalues_of_single_atoms_and_pairs():
    some = PackedMolecules(
        np.array([[5, 0, 0], [0, 0, 0], [0, 0, 2]], np.float32), np.ones(3, np.uint8), offsets_of([1, 2])
    )
    np.testing.assert_allclose(gyration_eigenvalues(some), [[0, 0, 0], [2, 0, 0]])


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((0, 6), np.float16),
        np.zeros((1, 6), np.float16),
        np.ones((2, 6), np.float32),
        np.ones((2, 5), np.float16),
        np.full((1, 6), np.inf, np.float16),
        np.full((1, 6), 0.5, np.float16),
        np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 1, 1]], np.float16),
    ],
)
def test_rows_that_are_no_library_are_rejected(rows):
    with pytest.raises(InvalidInput):
        ShapeLibrary.from_rows(rows, 3)


def test_the_library_that_ships_is_for_checkpoints_of_its_data_set_alone(tmp_path):
    space = FeatureSpace((1, 6, 7, 8, 9))
    fingerprint = "122d82cc87b33ee9296dd977c815e74e876381532f7f6d39705063e7960e77f4"
    library = shipped_shapes({"dataset_fingerprint": fingerprint}, space)
    assert library.n_atoms.max() == 29
    assert shipped_shapes({"moments_from": {"qm9": fingerprint}}, space).digest == library.digest
    assert shipped_shapes({}, space) is None
    assert shipped_shapes({"dataset_fingerprint": fingerprint}, FeatureSpace((6, 1, 7, 8, 9))) is None
    save_shapes(library, fingerprint, space.vocabulary, tmp_path / "again.safetensors")
    assert load_file(tmp_path / "again.safetensors")["shapes"].tobytes() == library.rows().tobytes()
