"""Cumulants of molecules by size, and the price of truncation from them."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats.cumulants import cumulant_norms
from gaga.stats.moments import estimate_moments
from gaga.stats.price import TERMS, PriceResult, price
from gaga.stats.price_config import PriceConfig
from gaga.stats.price_curve import first_step, tstar_by_price
from gaga.stats.price_plot import plot_price
from gaga.stats.proposition import proposition
from gaga.stats.shape_cumulants import laguerre

SCHEDULE, SPACE = make_schedule(), FeatureSpace((1, 6))
CONFIG = PriceConfig(n_pairs=60_000, n_resamples=40)
C4, CROSS3, CROSS4 = 1, 2, 3  # among the squares


def packed(positions: np.ndarray, elements: np.ndarray) -> PackedMolecules:
    n, n_atoms = elements.shape
    flat = positions.reshape(-1, 3).astype(np.float32)
    return PackedMolecules(flat, elements.reshape(-1).astype(np.uint8), offsets_of([n_atoms] * n))


def gaussian(rng: np.random.Generator, n: int, n_atoms: int) -> np.ndarray:
    x = rng.normal(size=(n, n_atoms, 3))
    return x - x.mean(axis=1, keepdims=True)


def random_elements(rng: np.random.Generator, n: int, n_atoms: int) -> np.ndarray:
    return np.where(rng.random((n, n_atoms)) < 0.5, 1, 6)


def measured(molecules: PackedMolecules, **options: Any) -> PriceResult:
    config = options.pop("config", CONFIG)
    return price(molecules, SPACE, SCHEDULE, estimate_moments(molecules, SPACE), config, **options)


def errors(result: PriceResult) -> np.ndarray:
    """Standard errors of the squares, from 95 % intervals."""
    return (result.squares_high - result.squares_low) / 4


def test_a_scale_mixture_has_its_known_cumulant():
    """x = sqrt(S) g, E S = 1, Var S = r: kappa4^2 = r^2 (3 D^2 + 6 D) exactly."""
    rng, n_atoms, r = np.random.default_rng(0), 8, 0.2
    scale = rng.gamma(1 / r, r, size=4000)
    x = gaussian(rng, 4000, n_atoms) * np.sqrt(scale)[:, None, None]
    result = measured(packed(x, random_elements(rng, 4000, n_atoms)))
    d = 3 * (n_atoms - 1)
    expected = r**2 * (3 * d**2 + 6 * d)
    assert abs(result.squares[0, C4] - expected) < 3 * errors(result)[0, C4] < expected
    assert abs(result.squares[0, CROSS3]) < 3 * errors(result)[0, CROSS3]
    rho = 0.5 * result.variance[0] / (0.5 * result.variance[0] + 0.5)  # where alpha^2 is a half
    t = int(np.argmin(np.abs(SCHEDULE.alpha2 - 0.5)))
    assert result.by_term[t, 0] == pytest.approx(expected * rho**4 / 48, rel=0.5)


def test_gaussian_positions_cost_nothing_within_two_standard_errors():
    rng = np.random.default_rng(1)
    result = measured(packed(gaussian(rng, 3000, 9), random_elements(rng, 3000, 9)))
    assert np.all(np.abs(result.squares[0, C4 : CROSS4 + 1]) < 2 * errors(result)[0, C4 : CROSS4 + 1])
    for t in (200, 400, 600, 800):
        assert abs(result.price.nats[t]) < 2 * result.price.spread[t] + result.by_term[t, 3:].sum()


def symmetrised(molecules: PackedMolecules, n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    """Columns of each molecule in a random order and orientation, [M, N C]; positions and types of variance 1."""
    z = SPACE.encode(molecules).reshape(len(molecules), n_atoms, -1)
    rotation, _ = np.linalg.qr(rng.normal(size=(len(z), 3, 3)))
    order = rng.random((len(z), n_atoms)).argsort(axis=1)
    z[..., :3] = z[..., :3] @ (rotation * np.sign(rng.normal(size=(len(z), 1, 3))))
    z = np.take_along_axis(z, order[..., None], axis=1)
    for block in SPACE.blocks.values():
        columns = block.stop - block.start
        z[..., block] /= np.sqrt((z[..., block] ** 2).sum() / (len(z) * (n_atoms - 1) * columns))
    return z.reshape(len(z), -1)


def bent(rng: np.random.Generator, n: int) -> PackedMolecules:
    """Chains of five atoms whose ends are hydrogens, with some noise: shape and type belong together."""
    chain = np.array([[-2, 0.6, 0], [-1, 0, 0], [0, 0.5, 0], [1, 0, 0], [2, 0.6, 0]]) * 1.3
    x = chain + 0.3 * rng.normal(size=(n, 5, 3))
    return packed(x, np.tile([1, 6, 6, 6, 1], (n, 1)))


def test_pairs_give_what_arrays_in_random_order_and_orientation_give():
    """All blocks together: the cumulants of order 3 and 4 of the whole vector are the sums of the blocks' own."""
    rng = np.random.default_rng(2)
    molecules = bent(rng, 2500)
    arrays = cumulant_norms(symmetrised(molecules, 5, rng), n_resamples=12)
    result = measured(molecules)
    _, p4, c3, c4, t3, t4 = result.squares[0]
    assert abs(arrays.squared[1] - (c3 + t3)) < 3 * arrays.spread[1] < 0.5 * c3
    assert abs(arrays.squared[2] - (p4 + c4 + t4)) < 3 * arrays.spread[2] < 0.5 * c4
    assert min(p4, c3, c4, t3, t4) > 0


def test_types_of_one_composition_have_the_cumulants_of_all_their_orders():
    molecules = bent(np.random.default_rng(3), 400)
    one_hot = np.array(sorted(set(permutations([1.0, 0, 0, 0, 1]))))
    h = np.stack([one_hot, 1 - one_hot], axis=2)
    h = (h - h.mean(axis=1, keepdims=True)).reshape(len(h), -1)
    h /= np.sqrt((h**2).sum() / (len(h) * 4 * 2))
    covariance = h.T @ h / len(h)
    third = np.einsum("ni,nj,nk->ijk", h, h, h) / len(h)
    fourth = np.einsum("ni,nj,nk,nl->ijkl", h, h, h, h, optimize=True) / len(h)
    pairs = np.einsum("ij,kl->ijkl", covariance, covariance)
    fourth -= pairs + pairs.transpose(0, 2, 1, 3) + pairs.transpose(0, 3, 2, 1)
    result = measured(molecules)
    expected = np.array([np.sum(third**2), np.sum(fourth**2)])
    assert np.all(np.abs(result.squares[0, 4:] - expected) < 3 * errors(result)[0, 4:])
    assert result.squares[0, 5] == pytest.approx(expected[1], rel=0.1)
    assert result.squares[0, 0] == pytest.approx(4 * 2)  # C_N = [[1, -1], [-1, 1]], on four degrees of freedom


def test_noised_molecules_have_cumulants_contracted_by_alpha_to_k():
    rng, alpha2 = np.random.default_rng(4), 0.6
    scale = rng.gamma(2, 0.5, size=4000)
    x = gaussian(rng, 4000, 6) * np.sqrt(scale)[:, None, None]
    z = np.sqrt(alpha2) * x + np.sqrt(1 - alpha2) * gaussian(rng, 4000, 6)
    elements = random_elements(rng, 4000, 6)
    clean, noised = (measured(packed(a, elements)) for a in (x, z))
    raw, after = (r.squares[0, C4] * r.variance[0] ** 4 for r in (clean, noised))
    spread = errors(noised)[0, C4] * noised.variance[0] ** 4
    assert abs(after - alpha2**4 * raw) < 3 * spread


def test_order_and_orientation_of_the_molecules_do_not_show():
    rng = np.random.default_rng(5)
    molecules = bent(rng, 500)
    rotation, _ = np.linalg.qr(rng.normal(size=(500, 3, 3)))
    x = molecules.positions.reshape(500, 5, 3) @ rotation
    elements = molecules.atomic_numbers.reshape(500, 5)
    before, turned = measured(molecules), measured(packed(x, elements))
    np.testing.assert_allclose(turned.squares, before.squares, rtol=1e-3)
    order = rng.random((500, 5)).argsort(axis=1)
    mixed = measured(packed(np.take_along_axis(x, order[..., None], 1), np.take_along_axis(elements, order, 1)))
    assert np.all(np.abs(mixed.squares - before.squares)[0, 1:] < 3 * errors(before)[0, 1:])


def test_threads_and_kept_sizes_do_not_show():
    class Kept:
        """What is stored, in memory."""

        def __init__(self) -> None:
            self.pieces: dict[str, Mapping[str, Any]] = {}

        def get(self, name: str) -> Mapping[str, Any] | None:
            return self.pieces.get(name)

        def put(self, name: str, piece: Mapping[str, Any]) -> None:
            self.pieces[name] = dict(piece)

    kept = Kept()
    molecules = bent(np.random.default_rng(6), 200)
    once = measured(molecules, pieces=kept)
    assert list(kept.pieces) == ["5"]
    for again in (measured(molecules, threads=3), measured(molecules, pieces=kept)):
        np.testing.assert_array_equal(again.price.nats, once.price.nats)
        np.testing.assert_array_equal(again.price.high, once.price.high)
        np.testing.assert_array_equal(again.squares, once.squares)
    other = measured(molecules, seed=1)
    assert not np.array_equal(other.price.nats, once.price.nats)


def several_sizes(rng: np.random.Generator) -> PackedMolecules:
    """60 molecules of 5 atoms, 12 of 6, 3 of 7 and one atom."""
    x = [rng.normal(size=(n, 3)) * (1, 1, 2) for n in [5] * 60 + [6] * 12 + [7] * 3 + [1]]
    sizes = [len(one) for one in x]
    elements = np.where(rng.random(sum(sizes)) < 0.5, 1, 6).astype(np.uint8)
    return PackedMolecules(np.concatenate(x).astype(np.float32), elements, offsets_of(sizes))


def test_sizes_with_few_molecules_borrow_and_say_so():
    result = measured(several_sizes(np.random.default_rng(7)))
    np.testing.assert_array_equal(result.sizes, [5, 6, 7])
    np.testing.assert_array_equal(result.borrowed, [False, False, True])
    np.testing.assert_array_equal(result.window, [0, 1, 2])
    assert (result.n_molecules, result.n_left_out) == (75, 1)
    assert np.isnan(result.squares[2]).all()
    np.testing.assert_array_equal(result.nats_by_size[1], result.nats_by_size[2])
    own = np.array([(result.nats_by_size[1] * 72 - result.nats_by_size[0] * 60) / 12])[0]
    mean = (60 * result.nats_by_size[0] + 12 * own + 3 * result.nats_by_size[2]) / 75
    np.testing.assert_allclose(result.price.nats, mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(result.by_term.sum(axis=1), result.price.nats)
    assert result.curve_of(5).nats[500] == result.nats_by_size[0, 500]
    with pytest.raises(InvalidInput, match="no molecule of this number"):
        result.curve_of(8)


def test_of_a_common_size_some_molecules_are_drawn(monkeypatch):
    molecules = several_sizes(np.random.default_rng(7))
    monkeypatch.setattr("gaga.stats.price.MOST", 40)
    few = measured(molecules)
    assert (few.molecules[0], few.n_molecules) == (60, 75)
    np.testing.assert_array_equal(few.price.nats, measured(molecules).price.nats)
    monkeypatch.undo()
    assert not np.array_equal(few.price.nats, measured(molecules).price.nats)


def test_molecules_of_which_no_two_are_alike_in_size_have_no_price():
    x = [np.eye(3)[:n] for n in (2, 3)]
    alone = PackedMolecules(np.concatenate(x).astype(np.float32), np.full(5, 6, np.uint8), offsets_of([2, 3]))
    with pytest.raises(InvalidInput, match="no number of atoms has two molecules"):
        measured(alone)
    space = FeatureSpace((1, 6), centred_features=False)
    moments = estimate_moments(alone, space)
    with pytest.raises(InvalidInput, match="centred types"):
        price(alone, space, SCHEDULE, moments, CONFIG)


def test_two_molecules_have_a_price_though_a_resample_may_hold_one_alone():
    result = measured(bent(np.random.default_rng(9), 400).take([0, 1]))
    assert np.isfinite([result.price.nats, result.price.low, result.price.high]).all()


def test_one_element_has_positions_alone():
    space = FeatureSpace((6,))
    molecules = packed(gaussian(np.random.default_rng(8), 100, 4), np.full((100, 4), 6))
    result = price(molecules, space, SCHEDULE, estimate_moments(molecules, space), CONFIG)
    assert np.isfinite(result.price.nats).all()
    np.testing.assert_array_equal(result.by_term[:, 1:], 0.0)


def test_the_first_step_is_between_steps_and_lasts():
    curve = np.exp(-np.arange(11.0))
    assert first_step(curve, np.exp(-3.5)) == pytest.approx(3.5)
    assert first_step(curve, 2.0) == 0.0
    assert first_step(curve, 1e-9) is None
    again = curve.copy()
    again[8] = 1.0  # above once more
    assert 8 < first_step(again, 0.05) < 9
    assert first_step(np.array([1.0, -1.0, 0.0]), 0.5) == pytest.approx(0.25)


def test_t_star_has_an_interval_and_tolerances_are_nats():
    result = measured(bent(np.random.default_rng(9), 400))
    t, low, high = tstar_by_price(result.price, 0.3)
    assert 0 < low < t < high < result.T
    assert tstar_by_price(result.price, 0.03).t > t
    assert tstar_by_price(result.price, 0.3).text == f"{t:.0f} ({low:.0f} to {high:.0f})"
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidInput, match="above 0"):
            tstar_by_price(result.price, bad)


def test_proposition_contracts_and_its_order_depends_on_units():
    result = measured(bent(np.random.default_rng(10), 400))
    for units in ("columns", "whitened", "standard"):
        h = proposition(result, units=units)
        assert all(np.all(np.diff(values) <= 1e-12) for values in h.values())
    standard = proposition(result, (0.0, 0.0, 1.0), "standard")["positions"]
    np.testing.assert_allclose(standard[500] / standard[0], (SCHEDULE.alpha2[500] / SCHEDULE.alpha2[0]) ** 2)
    with pytest.raises(InvalidInput, match="unknown units"):
        proposition(result, units="feet")


def test_the_plot_is_a_picture(tmp_path):
    result = measured(several_sizes(np.random.default_rng(11)))
    plot_price(result, (0.3, 1.0), tmp_path / "p.svg", bound={550: 0.8})
    picture = (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert "<svg" in picture


def test_qm9_has_the_cumulants_that_are_published_here(qm9, space, qm9_moments):
    """docs/TSTAR.md: ||C4|| / v^2 = 15 to 18 at 18 atoms, types 9, 19 and 105, price at 550 of these 0.8 to 1.1."""
    chosen = np.flatnonzero(qm9.n_atoms == 18)[::4]
    config = PriceConfig(n_pairs=150_000, n_resamples=20)
    result = price(qm9.take(chosen), space, SCHEDULE, qm9_moments, config, seed=1)
    assert 13 < np.sqrt(result.squares[0, C4]) < 20
    assert np.sqrt(result.squares[0, 0]) == pytest.approx(9.2, abs=0.1)
    assert 14 < np.sqrt(result.squares[0, 4]) < 23
    assert 0.6 < result.price.nats[550] < 1.3


def ellipsoids(rng: np.random.Generator, raw: np.ndarray) -> PackedMolecules:
    """Molecules with these places as frames, on long axes of random lengths; half hydrogens, at random."""
    n, n_atoms, _ = raw.shape
    frames, _ = np.linalg.qr(raw - raw.mean(axis=1, keepdims=True))
    axes = np.sqrt(np.exp(0.4 * rng.normal(size=(n, 3))) * (4, 1, 0.5))
    return packed(np.sqrt(n_atoms - 1) * frames * axes[:, None], random_elements(rng, n, n_atoms))


def test_random_shapes_cost_nothing_against_shapes_but_for_the_library():
    rng = np.random.default_rng(12)
    molecules = ellipsoids(rng, rng.normal(size=(1500, 8, 3)))
    matched, shape = measured(molecules), measured(molecules, against="shape")
    assert (matched.terms, shape.terms) == (TERMS, (*TERMS, "library"))
    assert (matched.against, shape.against) == ("matched", "shape")
    left = shape.by_term[:, :5].sum(axis=1)
    for t in (300, 550, 700):
        assert matched.price.nats[t] > 4 * shape.price.spread[t]
        assert abs(left[t]) < 2 * shape.price.spread[t]
        assert shape.price.nats[t] == pytest.approx(left[t] + shape.by_term[t, 5])
        assert 0 < shape.by_term[t, 5] < 0.1 * matched.price.nats[t]
    np.testing.assert_array_equal(shape.squares, matched.squares)  # of the data alone
    with pytest.raises(InvalidInput, match="unknown start"):
        measured(molecules, against="block")


def test_shapes_save_what_random_shapes_with_these_eigenvalues_differ_from_gaussians_by():
    """KL(q || shape) = KL(q || Gaussian) - KL(shape || Gaussian), of molecules whose frames are no random ones."""
    rng = np.random.default_rng(13)
    clumps = rng.choice([-1.0, 1.0], size=(1500, 8, 3)) + 0.2 * rng.normal(size=(1500, 8, 3))
    of_clumps, random_frames = ellipsoids(rng, clumps), ellipsoids(rng, rng.normal(size=(1500, 8, 3)))
    matched, shape = measured(of_clumps), measured(of_clumps, against="shape")
    of_shapes = measured(random_frames)
    saved = (matched.by_term - shape.by_term[:, :5])[:, 0]
    assert np.all(shape.by_term[[300, 550], 0] > 2 * shape.price.spread[[300, 550]])
    for t in (300, 550, 700):
        assert saved[t] == pytest.approx(of_shapes.by_term[t, 0], abs=2 * of_shapes.price.spread[t])


def test_the_kernel_of_shapes_is_the_mean_over_all_mixings_of_free_rows():
    rng, n_atoms = np.random.default_rng(14), 4
    free = n_atoms - 1
    x, y = rng.normal(size=(2, free, 3)) * (1.5, 1, 0.5)
    mixing, _ = np.linalg.qr(rng.normal(size=(60_000, free, free)))
    mixing *= np.sign(rng.normal(size=(len(mixing), 1, free)))
    m = np.einsum("ia,kij,jb->kab", x, mixing, y, optimize=True)
    a = m @ m.swapaxes(1, 2)
    trace, square = np.trace(a, axis1=1, axis2=2), (a**2).sum(axis=(1, 2))
    even, fourth = trace.mean() / 3, (2 * trace**2 - square).mean() / 5
    p, q, d = (x**2).sum(), (y**2).sum(), 3 * free
    constant = 6 * p * q + 3 * (p**2 + q**2) - 6 * (d + 2) * (p + q) + 3 * d * (d + 2)
    rows = np.linalg.qr(np.column_stack([np.ones(n_atoms), rng.normal(size=(n_atoms, free))]))[0][:, 1:]
    left, right = laguerre(np.stack([(rows @ x).T, (rows @ y).T]))
    assert left @ right == pytest.approx(fourth + 6 * (d + 4 - p - q) * even + constant, rel=0.04)


def test_against_shapes_a_noise_is_named_before_which_bonds_show(tmp_path):
    result = measured(several_sizes(np.random.default_rng(11)), against="shape")
    t = result.bonds_show
    noise = np.sqrt((1 - result.alpha2) / result.alpha2)
    assert noise[t - 1] < 0.75 <= noise[t]
    plot_price(result, (0.3,), tmp_path / "p.svg")
    assert "<!-- bonds show: too small here -->" in (tmp_path / "p.svg").read_text(encoding="utf-8")
