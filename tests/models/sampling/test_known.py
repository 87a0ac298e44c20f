"""Atoms and types that are known: the conditional law of Gaussian data, the ends of the scale, and rotations."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.core.rng import STREAM_START, normals
from gaga.data.shapes import ShapeLibrary
from gaga.models.network.layout import Layout
from gaga.models.sampling.batch import STREAM_EDIT, STREAM_END, BatchSampler, NoisyBatch, StepTables
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.fragment import Fragment, read_fragment, read_molecule
from gaga.models.sampling.known import Known, put_back
from gaga.models.sampling.loop import Edit, denoise
from gaga.models.sampling.plan import room_for, start_reference
from gaga.models.sampling.solvers import solver_of
from gaga.models.sampling.steering import Around, steer
from gaga.models.sampling.stream import sample_stream
from tests.models.sampling.test_batch import X0, NeverWaits, network_model

N, SEED = 9, 3
PIECE = Fragment(np.array([6, 7, 8], dtype=np.uint8), np.array([[0.0, 0, 0], [1.4, 0, 0], [2.0, 1.2, 0.3]]))


def molecule_file(tmp_path, name="piece.xyz", fragment=PIECE, symbols="CNOHF"):
    numbers = {6: "C", 7: "N", 8: "O", 1: "H", 9: "F", 17: "Cl"}
    rows = [
        f"{numbers[int(z)]} {x:.6f} {y:.6f} {w:.6f}"
        for z, (x, y, w) in zip(fragment.atomic_numbers, fragment.positions, strict=True)
    ]
    path = tmp_path / name
    path.write_text("\n".join([str(len(rows)), "piece", *rows, ""]))
    return path


@dataclass(frozen=True)
class Chain:
    """E[eps | z_t] of Gaussian molecules of 9 atoms whose positions are correlated along a chain."""

    schedule: object

    @cached_property
    def covariance(self):
        far = np.abs(np.arange(N)[:, None] - np.arange(N))
        centre = np.eye(N) - 1 / N
        return centre @ (2.0 * 0.97**far) @ centre

    def __call__(self, z: Tensor, t: Tensor, layout: Layout) -> Tensor:
        alpha, sigma = self.schedule.alpha_sigma_at(np.array([float(t[0]) * self.schedule.T]))
        width, axes = np.linalg.eigh(self.covariance)
        gain = sigma / (alpha**2 * width.clip(min=0) + sigma**2)
        filtered = torch.from_numpy((axes * gain) @ axes.T).to(z) @ z.reshape(-1, N, z.shape[1])
        types = float(sigma[0] / (alpha[0] ** 2 * 0.01 + sigma[0] ** 2)) * z[:, 3:]
        return torch.cat([filtered.reshape(z.shape)[:, :3], types], dim=1)


def test_unknown_atoms_of_gaussian_data_have_the_conditional_law(gaussian_model):
    """x_U given the fragment's inner positions, the one thing that is known: mean and covariance."""
    network = Chain(gaussian_model.schedule)
    model = replace(gaussian_model, network=network)
    shape = Fragment(PIECE.atomic_numbers, 0.5 * PIECE.positions)
    config = SampleConfig(scaffold=Path("piece.xyz"), sizes=(N,), resample=8, steps=30)
    k, n, random = len(PIECE), 400, torch.Generator().manual_seed(0)
    edit, layout, solver = Known(model, config, shape), Layout.of(np.full(n, N)), solver_of(model, config)
    about = torch.from_numpy(edit.about(np.arange(n), layout.n_atoms, SEED))

    def noise(_):
        return torch.randn((n * N, 8), generator=random, dtype=torch.float64)

    alpha2 = float(model.schedule.alpha2[550])
    start = start_reference(model, config).transform(noise(0).numpy(), layout.n_atoms, alpha2)
    drawn = denoise(
        model, solver, torch.from_numpy(start), layout, noise, lambda z, j: edit(z, j, layout, about, noise)
    )
    found = drawn.numpy().reshape(n, N, 8)[:, :, :3]
    found = found - found[:, :k].mean(axis=1, keepdims=True)
    inner = np.linalg.svd(np.eye(k) - 1 / k)[0][:, : k - 1].T @ np.eye(k, N)  # what of x is known
    gain = network.covariance @ inner.T @ np.linalg.inv(inner @ network.covariance @ inner.T)
    covariance = network.covariance - gain @ inner @ network.covariance
    mean = gain @ inner[:, :k] @ shape.positions
    mean -= mean[:k].mean(axis=0)
    from_centre = np.eye(N) - np.pad(np.full((N, k), 1 / k), ((0, 0), (0, N - k)))  # in the fragment's frame
    covariance = (from_centre @ covariance @ from_centre.T)[k:, k:]
    wide, unknown = np.sqrt(np.diag(covariance))[:, None], found[:, k:]
    assert np.abs((unknown.mean(axis=0) - mean[k:]) / wide).max() < 0.2
    measured = np.mean([np.cov(unknown[:, :, axis].T) for axis in range(3)], axis=0)
    assert np.linalg.norm(measured - covariance) < 0.15 * np.linalg.norm(covariance)
    assert found[:, :k] == pytest.approx(np.tile(shape.positions - shape.positions.mean(axis=0), (n, 1, 1)), abs=0.05)


def test_the_start_has_the_closed_form_given_the_fragment(gaussian_model):
    """F.5: z_U has the mean -(k / (N - k)) <z_K>, and is N(0, v_t) around it; <z_K> ~ N(0, v_t (1/k - 1/N))."""
    n, k, config = 4000, len(PIECE), SampleConfig(resample=1, composition="C3N2O4", method="ddpm")
    known = Known(gaussian_model, config, PIECE)
    sizes, keys = np.full(n, N), np.arange(n)
    layout, about = Layout.of(sizes), torch.from_numpy(known.about(keys, sizes, SEED))
    alpha2 = float(gaussian_model.schedule.alpha2[550])
    noise = normals(SEED, keys, sizes, 8, STREAM_START)
    z = torch.from_numpy(start_reference(gaussian_model, SampleConfig()).transform(noise, sizes, alpha2))
    put = known(z, -1, layout, about, drawn(keys, sizes)).numpy().reshape(n, N, 8)
    width = alpha2 * 2.0 + 1 - alpha2
    mean, others = put[:, :k, :3].mean(axis=1), put[:, k:, :3]
    assert mean.var() == pytest.approx(width * (1 / k - 1 / N), rel=0.05)
    np.testing.assert_allclose(others.mean(axis=1), -k / (N - k) * mean, atol=1e-12)
    assert (others - others.mean(axis=1, keepdims=True)).var() == pytest.approx(width * (1 - 1 / (N - k)), rel=0.05)
    inside = put[:, :k, :3] - mean[:, None]
    own = PIECE.positions - PIECE.positions.mean(axis=0)
    np.testing.assert_allclose(inside.mean(axis=0), np.sqrt(alpha2) * own, atol=0.05)
    assert inside.var(axis=0).mean() == pytest.approx((1 - alpha2) * (1 - 1 / k), rel=0.05)
    np.testing.assert_allclose(put.sum(axis=1), 0, atol=1e-9)


def drawn(keys, sizes):
    return lambda number: torch.from_numpy(normals(SEED, keys, sizes, 8, STREAM_EDIT + number))


def test_the_mean_of_known_types_keeps_its_law(gaussian_model):
    """<z_K> of the types is N(alpha (<h_K> - mu), alpha^2 tau^2 + sigma^2 (1/k - 1/N)), before and after."""
    n, k, alpha, sigma, mu, tau = 4000, 3, 0.8, 0.6, 0.05, 0.2
    sizes, rng = np.full(n, N), np.random.default_rng(0)
    layout, wide = Layout.of(sizes), np.sqrt(alpha**2 * tau**2 + sigma**2 * (1 / k - 1 / N))
    h = np.zeros((N, 5))
    h[:k] = 0.25 * np.eye(5)[:k]
    expected = alpha * (h[:k].mean(axis=0) - mu)
    mean = expected + wide * rng.normal(size=(n, 5))
    z = rng.normal(size=(n, N, 8))
    z[:, :k, 3:] += mean[:, None] - z[:, :k, 3:].mean(axis=1, keepdims=True)
    z[:, k:, 3:] -= z[:, k:, 3:].mean(axis=1, keepdims=True) + k / (N - k) * mean[:, None]
    known = (np.arange(N) < k) * 1.0
    one = np.concatenate([0 * known[:, None], known[:, None], np.zeros((N, 3)), h, np.full((N, 5), mu),
                          np.full((N, 5), tau)], axis=1)  # fmt: skip
    about = torch.from_numpy(np.tile(one, (n, 1)))
    noise = torch.from_numpy(rng.normal(size=(n * N, 8)))
    flat = torch.from_numpy(z.reshape(n * N, 8))
    put = put_back(flat, alpha, sigma, layout, about, noise, centred=True).numpy().reshape(n, N, 8)
    found = put[:, :k, 3:].mean(axis=1)
    assert found.mean(axis=0) == pytest.approx(expected, abs=0.02)
    assert found.std(axis=0) == pytest.approx(np.full(5, wide), rel=0.05)
    assert 0.1 < np.corrcoef(found[:, 0], mean[:, 0])[0, 1] < 0.9
    np.testing.assert_allclose(put[:, :, 3:].sum(axis=1), 0, atol=1e-12)
    np.testing.assert_array_equal(put[:, :, :3], z[:, :, :3])


def test_nothing_known_is_the_unconditional_sampler_bit_for_bit(gaussian_model):
    model = network_model(gaussian_model, precondition=X0)
    config = SampleConfig(steps=6)
    known = Known(model, config)
    assert isinstance(known, Edit)
    plain = list(sample_stream(model, range(4), config, seed=SEED))
    for one, other in zip(plain, sample_stream(model, range(4), config, seed=SEED, edit=known), strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.atomic_numbers, other.atomic_numbers)


def whole_file(tmp_path, name="whole.xyz"):
    rng = np.random.default_rng(1)
    whole = Fragment(rng.choice([1, 6, 8], N).astype(np.uint8), rng.normal(size=(N, 3)).round(4) + 3.0)
    return molecule_file(tmp_path, name, whole), whole


@pytest.mark.parametrize("asked", [{"scaffold": True, "sizes": (N,)}, {"around": True, "strength": 0.0}])
def test_a_whole_molecule_that_is_kept_is_the_input(gaussian_model, tmp_path, asked):
    path, whole = whole_file(tmp_path)
    config = SampleConfig(**{name: path if value is True else value for name, value in asked.items()}, steps=3)
    for molecule in sample_stream(gaussian_model, range(3), config, seed=SEED):
        assert molecule.atomic_numbers.tolist() == whole.atomic_numbers.tolist()
        np.testing.assert_array_equal(molecule.positions, whole.positions.astype(np.float32))


def in_loop(model, config, sizes, turn=None):
    """Positions and types by the loop, with all that is given and drawn turned."""
    steering, keys, turn = steer(model, config), np.arange(len(sizes)), np.eye(3) if turn is None else turn

    def numbers(stream):
        noise = normals(SEED, keys, sizes, 8, stream)
        noise[:, :3] = noise[:, :3] @ turn.T
        return noise

    solver = solver_of(model, steering.config)
    alpha2 = float(model.schedule.alpha2_at(solver.time[:1])[0])
    reference = steering.reference or start_reference(model, config)
    z = torch.from_numpy(reference.transform(numbers(STREAM_START), sizes, alpha2))
    layout, edit = Layout.of(sizes), steering.edit
    streams = [*range(len(solver) - 2, -1, -1), STREAM_END]
    bound = None
    if edit is not None:
        about = torch.from_numpy(edit.about(keys, sizes, SEED))

        def bound(z, k):
            return edit(z, k, layout, about, lambda number: torch.from_numpy(numbers(STREAM_EDIT + number)))

    return denoise(model, solver, z, layout, lambda k: torch.from_numpy(numbers(streams[k])), bound).numpy()


@pytest.mark.parametrize("method", ["sde", "ddpm"])
def test_the_engine_puts_back_as_the_loop_does(gaussian_model, tmp_path, method):
    model = network_model(gaussian_model, dtype=torch.float64, precondition=X0)
    config = SampleConfig(
        scaffold=molecule_file(tmp_path), sizes=(N,), resample=3, steps=5, method=method, batch_size=2
    )
    expected = in_loop(model, config, np.full(5, N))[:, :3].reshape(5, N, 3)
    for own, molecule in zip(expected, sample_stream(model, range(5), config, seed=SEED), strict=True):
        near = np.linalg.norm(own[3:, None] - own[None, 3:], axis=2)
        found = molecule.positions[3:]
        np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=2), near, atol=1e-4)
        assert molecule.notes["fragment_rmsd"] >= 0


def test_a_batch_with_filler_and_noise_of_the_device_is_the_same_and_never_waits(gaussian_model, tmp_path):
    """As the fused kernels and CUDA graphs run it: in a fixed capacity, with numbers drawn where the batch is."""
    config = SampleConfig(scaffold=molecule_file(tmp_path), resample=2, steps=4)
    edit, sizes = steer(gaussian_model, replace(config, sizes=(5, 9))).edit, np.array([5, 5, 9])
    tables = StepTables.of(gaussian_model, solver_of(gaussian_model, config), torch.zeros((), dtype=torch.float64))
    reference, found = start_reference(gaussian_model, config), []
    start = NoisyBatch.draw(
        np.arange(3), sizes, reference, 8, float(gaussian_model.schedule.alpha2[550]), SEED, edit=edit
    )
    layouts = (Layout.of(sizes), Layout.filled(sizes, room_for(sizes, 40)))
    for layout, draws in zip(layouts, (False, True), strict=True):
        walk = BatchSampler(gaussian_model, tables, layout, SEED, draws=draws, edit=edit, about=start.about.shape[1])
        walk.begin(start)
        for _ in range(len(tables)):
            walk.advance()
        found.append(walk.z.clone())
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    about = torch.from_numpy(start.about)
    noise = torch.zeros((19, 8), dtype=torch.float64)
    layout = layouts[0]
    assert len(layout.offsets) == 4  # made before
    with NeverWaits():
        edit(found[0], 0, layout, about, lambda _: noise)


@pytest.mark.parametrize("asked", ["scaffold", "around"])
def test_what_is_given_and_drawn_turned_gives_molecules_turned(gaussian_model, tmp_path, asked):
    model = network_model(gaussian_model, dtype=torch.float64, precondition=X0)
    turn = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    _, whole = whole_file(tmp_path)
    fragment = PIECE if asked == "scaffold" else whole
    turned = Fragment(fragment.atomic_numbers, fragment.positions @ turn.T)
    options = {"resample": 2, "sizes": (N,)} if asked == "scaffold" else {"strength": 0.5}
    results = [
        in_loop(
            model, SampleConfig(**{asked: molecule_file(tmp_path, name, one)}, **options, steps=4), np.full(3, N), by
        )
        for name, one, by in (("a.xyz", fragment, None), ("b.xyz", turned, turn))
    ]
    np.testing.assert_allclose(results[0][:, :3] @ turn.T, results[1][:, :3], atol=1e-5)
    np.testing.assert_allclose(results[0][:, 3:], results[1][:, 3:], atol=1e-5)


def library(rows):
    """A library of these compositions of H, C, N, O, F."""
    counts = np.array(sorted(rows, key=sum))
    return ShapeLibrary(np.tile([3.0, 2.0, 1.0], (len(counts), 1)), counts)


def test_a_composition_is_exact_and_heavy_atoms_are_those_of_the_data(gaussian_model):
    shapes = library([[5, 3, 0, 1, 0]] * 15 + [[3, 4, 1, 1, 0]] * 5)
    model = replace(gaussian_model, shapes=shapes)
    for molecule in sample_stream(model, range(4), SampleConfig(composition="C3H5O", steps=4), seed=SEED):
        assert sorted(molecule.atomic_numbers.tolist()) == [1, 1, 1, 1, 1, 6, 6, 6, 8]
    drawn = [
        sorted(m.atomic_numbers.tolist())
        for m in sample_stream(model, range(6), SampleConfig(heavy_atoms=(6,), steps=4))
    ]
    assert drawn == [[1, 1, 1, 6, 6, 6, 6, 7, 8]] * 6
    both = {
        tuple(sorted(m.atomic_numbers))
        for m in sample_stream(model, range(30), SampleConfig(heavy_atoms=(4, 6), steps=2))
    }
    assert len(both) == 2
    with pytest.raises(InvalidInput, match="so many heavy atoms"):
        steer(model, SampleConfig(heavy_atoms=(8,)))


def test_a_fragment_and_a_composition_go_together(gaussian_model, tmp_path):
    config = SampleConfig(scaffold=molecule_file(tmp_path), composition="C3H4NO", steps=4, resample=2)
    for molecule in sample_stream(gaussian_model, range(2), config, seed=SEED):
        assert molecule.atomic_numbers[:3].tolist() == [6, 7, 8]
        assert sorted(molecule.atomic_numbers[3:].tolist()) == [1, 1, 1, 1, 6, 6]
    with pytest.raises(InvalidInput, match="composition lacks"):
        steer(gaussian_model, SampleConfig(scaffold=molecule_file(tmp_path), composition="C3H6"))


def test_the_start_around_a_molecule_is_its_noised_law(gaussian_model, tmp_path):
    _, whole = whole_file(tmp_path)
    around, n = Around(whole, gaussian_model.space), 3000
    z = around.transform(normals(SEED, np.arange(n), np.full(n, N), 8, STREAM_START), np.full(n, N), 0.7)
    z = z.reshape(n, N, 8)
    own = whole.positions - whole.positions.mean(axis=0)
    np.testing.assert_allclose(z[:, :, :3].mean(axis=0), np.sqrt(0.7) * own, atol=0.06)
    assert (z - z.mean(axis=0)).var() == pytest.approx(0.3 * (1 - 1 / N), rel=0.02)
    np.testing.assert_allclose(z.sum(axis=1), 0, atol=1e-9)


def test_more_noise_goes_farther_from_a_molecule(gaussian_model, tmp_path):
    path, _ = whole_file(tmp_path)
    far = {
        s: np.mean([m.notes["rmsd_to_input"] for m in sample_stream(
            gaussian_model, range(20), SampleConfig(around=path, strength=s, steps=20), seed=SEED)])
        for s in (0.05, 0.3, 1.0)
    }  # fmt: skip
    assert far[0.05] < far[0.3] < far[1.0]
    with pytest.raises(InvalidInput, match="strongest noise"):
        solver_of(gaussian_model, SampleConfig(around=path, strength=1.5))


def test_hydrogens_at_attachment_points_are_dropped(tmp_path):
    methane = Fragment(
        np.array([6, 1, 1, 1, 1], dtype=np.uint8),
        np.array([[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [9.0, 0, 0]]),
    )
    path = molecule_file(tmp_path, fragment=methane)
    assert read_fragment(path, attach=(1,)).atomic_numbers.tolist() == [6, 1]
    assert read_fragment(path, fix=(1, 2)).atomic_numbers.tolist() == [6, 1]
    for fix, attach, why in [
        ((6,), None, "names atom 6"),
        (None, (9,), "names atom 9"),
        ((2,), (1,), "no atom is left"),
    ]:
        with pytest.raises(InvalidInput, match=why):
            read_fragment(path, fix, attach)
    path.write_text(path.read_text() * 2)
    assert len(read_fragment(path)) == 10
    with pytest.raises(InvalidInput, match="one molecule"):
        read_molecule(path)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"scaffold": "piece.xyz", "sizes": (2,)}, "larger than the molecules asked for"),
        ({"scaffold": "chlorine.xyz"}, "does not know Cl"),
        ({"around": "chlorine.xyz"}, "does not know Cl"),
        ({"around": "piece.xyz", "sizes": (2,)}, "keeps the molecule's 3 atoms"),
        ({"around": "piece.xyz", "scaffold": "piece.xyz"}, "does not go with"),
        ({"strength": 0.3}, "goes with `around`"),
        ({"fix": (1,)}, "goes with `scaffold`"),
        ({"resample": 3}, "goes with a `scaffold`"),
        ({"scaffold": "piece.xyz", "method": "heun"}, "cannot keep"),
        ({"composition": "CH4", "composition_start": "CH4"}, "does not go with"),
    ],
)
def test_what_cannot_be_is_said(gaussian_model, tmp_path, options, why):
    molecule_file(tmp_path)
    molecule_file(tmp_path, "chlorine.xyz", Fragment(np.array([6, 17], np.uint8), np.array([[0.0, 0, 0], [1.7, 0, 0]])))
    options = {name: tmp_path / value if str(value).endswith("xyz") else value for name, value in options.items()}
    with pytest.raises(InvalidInput, match=why):
        steer(gaussian_model, SampleConfig(**options))
