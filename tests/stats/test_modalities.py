"""Arrays [M, N, C] under noise: what each statistic sees of fields whose law is known."""

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.noise import make_schedule
from gaga.stats.arrays import arrays_of, measure_arrays, mutual_information
from gaga.stats.modalities import Modalities, joined
from gaga.stats.modality_config import ModalityConfig
from gaga.stats.pixels import array_cumulants, pairs_of, reduced
from gaga.storage.partial import PartialResults

SCHEDULE, GRID = make_schedule(), (8, 8, 1)
NONE = ModalityConfig(centre="none", n_resamples=5)


def field(rng: np.random.Generator, n: int) -> np.ndarray:
    """Gaussian random fields, 8 x 8, of spectrum 1 / f^2."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(8), np.fft.fftfreq(8)))
    f[0, 0] = 1 / 8
    waves = np.fft.fft2(rng.normal(size=(n, 8, 8))) / f
    x = np.real(np.fft.ifft2(waves))
    return (x / x.std()).reshape(n, 64, 1)


def measured(values, config=NONE, grid=GRID, name="field", **more) -> Modalities:
    cumulants = array_cumulants(values, grid, config)
    return measure_arrays(
        name, values, SCHEDULE, cumulants, config, pairs=pairs_of(values, grid), timesteps=(0, 500, 1000), **more
    )  # fmt: skip


def test_a_gaussian_field_passes_by_its_entries_and_depends():
    found = measured(field(np.random.default_rng(0), 500))
    assert found.distances[0, :, 1].max() < 0.015
    assert np.all(found.information[0, 0] > [0.1, 0.01])
    assert found.information[0, 2].max() < 2 / 500
    assert found.norms[0, 0] > 10
    assert found.null_distances[0, 0, 1] < 0.015


def test_independent_uniform_pixels_fail_by_their_entries_and_do_not_depend():
    found = measured(np.random.default_rng(0).uniform(-1, 1, size=(500, 64, 1)))
    assert found.distances[0, 0, 1] > 0.05
    assert found.null_distances[0, 0, 1] < 0.015
    assert found.information[0, 0].max() < 2 / 500
    assert abs(found.norms[0, 0]) < 2


def test_what_is_free_of_scale_and_what_is_not():
    values = np.random.default_rng(0).exponential(size=(100, 10, 2))
    one, ten = (measured(scale * values, ModalityConfig(n_resamples=5), None) for scale in (1, 10))
    assert np.allclose(one.norms, ten.norms)
    assert np.allclose(100 * one.snr, ten.snr)
    assert ten.distances[0, 1, 0] > 2 * one.distances[0, 1, 0]
    assert np.allclose(one.proposition()[0, 1], one.norms[0] @ (one.alpha2[1] ** np.array([1, 1.5, 2]) / [1, 6, 24]))


def test_centring():
    values = np.random.default_rng(0).normal(size=(400, 6, 2)) + [5, -3] + np.linspace(0, 1, 400)[:, None, None]
    sample, data, none = (arrays_of(values, centre, 3) for centre in ("sample", "data", "none"))
    assert np.allclose(sample.x.reshape(400, 6, 2).mean(axis=1), 0)
    assert np.allclose(data.x.reshape(-1, 2).mean(axis=0), 0)
    assert np.array_equal(none.x.reshape(values.shape), values)
    assert sample.variance == pytest.approx(1, abs=0.05)  # per degree of freedom
    assert data.variance == pytest.approx(1 + 1 / 12, abs=0.06)
    assert none.variance == pytest.approx(1 + 1 / 12 + 5.5**2 / 2 + 2.5**2 / 2, rel=0.02)
    noise = sample.noised(slice(0, 400), 0.0, np.random.default_rng(1)).reshape(400, 6, 2)
    assert np.allclose(noise.mean(axis=1), 0)
    assert noise.var() == pytest.approx(5 / 6, abs=0.03)


def test_information_is_that_of_the_correlation_at_every_noise():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 1))
    values = np.stack([x, 0.6 * x + 0.8 * rng.normal(size=x.shape)], axis=1)
    alpha2 = np.array([1.0, 0.5, 0.0])
    found = mutual_information(arrays_of(values, "none", 2), {"random": np.array([[0, 1]])}, alpha2)
    assert found[:, 1] == pytest.approx([-0.5 * np.log(1 - 0.36), -0.5 * np.log(1 - 0.09), 0], abs=0.005)
    assert np.isnan(found[:, 0]).all()
    # Noise of two entries with a mean of zero is (e, -e): r is -1 of each column, 0 of two columns.
    two = arrays_of(rng.normal(size=(20_000, 3, 2)), "sample", 2)
    same, other = (mutual_information(two, {"random": np.array([pair])}, alpha2[2:])[0, 1] for pair in ([0, 2], [0, 3]))
    assert same == pytest.approx(-0.5 * np.log(1 - 0.25))
    assert other == 0


def test_threads_and_pieces_do_not_show():
    class Kept(PartialResults):
        def __init__(self):
            self.pieces = {}

        def get(self, name):
            return self.pieces.get(name)

        def put(self, name, piece):
            self.pieces[name] = piece

    values, kept, seen = field(np.random.default_rng(1), 100), Kept(), []
    first = measured(values, pieces=kept, progress=lambda done, total, note="": seen.append((done, total)))
    assert (len(kept.pieces), seen[-1]) == (6, (6, 6))
    kept.pieces.pop("0/500")
    for again in (measured(values, pieces=kept), measured(values, threads=3)):
        assert all(
            np.array_equal(vars(again)[n], v, equal_nan=True) for n, v in vars(first).items() if n in first.arrays()
        )


def test_an_equal_number_of_values():
    values = np.random.default_rng(0).exponential(size=(300, 200, 1)) - 1
    found = measured(values, ModalityConfig(centre="none", n_values=20, n_resamples=2), None)
    assert (found.tested.tolist(), found.values.tolist(), found.columns.tolist()) == ([20], [200], [64])
    assert found.passes[0, 0, 0] < 0.5 < found.passes[0, 0, 1]
    chosen = arrays_of(values, "none", 20).chosen
    assert all(len(set(row)) == 20 for row in chosen.tolist())
    assert len({tuple(sorted(row)) for row in chosen.tolist()}) == 300
    assert arrays_of(values, "none", 200).chosen is None


def test_neighbours_and_the_middle_of_an_image():
    ramp = np.arange(2 * 4 * 3, dtype=float).reshape(1, -1, 1)
    adjacent = {tuple(pair) for pair in pairs_of(ramp, (2, 4, 3))["adjacent"].tolist()}
    assert adjacent == {(i, i + 12) for i in range(12)} | {
        (12 * r + i, 12 * r + i + 3) for r in range(2) for i in range(9)
    }
    assert "adjacent" not in pairs_of(ramp, None)
    assert np.all(np.diff(pairs_of(ramp, None)["random"], axis=1) != 0)
    image = np.zeros((1, 20, 18, 2))
    image[0, 2:4, 1:3] = [1, 3]
    small = reduced(image.reshape(1, -1, 1), (20, 18, 2)).reshape(8, 8)
    assert (small[0, 0], np.count_nonzero(small)) == (2, 1)
    assert reduced(image.reshape(1, -1, 1), None).shape == (1, 64, 1)


def test_several_as_one():
    parts = [measured(field(np.random.default_rng(s), 20), name=f"m{s}") for s in range(3)]
    whole = joined(parts)
    assert whole.names == ("m0", "m1", "m2")
    assert whole.distances.shape == (3, 3, 2)
    assert whole.select([2, 0]).names == ("m2", "m0")
    assert np.array_equal(whole.select([2]).passes, parts[2].passes)
    holds = np.array([[True, False, True], [False, False, False], [True, True, True]])
    assert whole.first_step(holds) == [1000, None, 0]
    other = measured(field(np.random.default_rng(0), 20), ModalityConfig(centre="none", n_resamples=5, level=0.9))
    with pytest.raises(InvalidInput, match="same schedule"):
        joined([parts[0], other])


@pytest.mark.parametrize(
    ("values", "centre"),
    [
        (np.zeros((9, 4, 1)), "none"),
        (np.zeros((10, 4, 1)), "none"),
        (np.ones((10, 4, 1)), "sample"),
        (np.random.default_rng(0).normal(size=(10, 1, 3)), "sample"),
    ],
)
def test_what_has_nothing_to_test_is_refused(values, centre):
    with pytest.raises(InvalidInput):
        arrays_of(values, centre, 2)
