"""The figure of gaga truncation."""

import numpy as np
import pytest
from matplotlib.image import imread

from gaga.core.errors import InvalidInput
from gaga.stats.truncation_plot import plot_nats


def test_nats_by_step_where_they_are_positive(tmp_path):
    t = np.array([250.0, 400.0, 550.0])
    path = tmp_path / "nats.png"
    plot_nats(t, {"matched": np.array([8.0, 1.0, 0.0]), "published": np.array([60.0, 30.0, 10.0])}, path)
    both = imread(path)
    plot_nats(t, {"matched": np.array([8.0, 1.0, -2.0]), "published": np.array([60.0, 30.0, 10.0])}, path)
    np.testing.assert_array_equal(imread(path), both)
    plot_nats(t, {"matched": np.array([8.0, 1.0, 0.5]), "published": np.array([60.0, 30.0, 10.0])}, path)
    assert np.any(imread(path) != both)
    with pytest.raises(InvalidInput, match="cannot be drawn"):
        plot_nats(t, {"matched": t}, tmp_path / "nats.sdf")


def test_where_a_model_knows_nothing_is_drawn(tmp_path):
    t = np.array([250.0, 400.0])
    curves = {"matched": np.array([8.0, 1.0])}
    plot_nats(t, curves, tmp_path / "all.svg")
    plot_nats(t, curves, tmp_path / "some.svg", unknown_from=550)
    plot_nats(t[:0], {"matched": t[:0]}, tmp_path / "none.svg", unknown_from=550)
    pictures = [(tmp_path / f"{name}.svg").read_text() for name in ("all", "some", "none")]
    for comment in ("<!-- not measured beyond -->", "<!-- T* of this model = 550 -->"):  # beside outlines of letters
        assert [picture.count(comment) for picture in pictures] == [0, 1, 1]


def test_curves_that_lie_on_one_another_show_all(tmp_path):
    """The wider is drawn before the narrower, whatever their order."""
    t, same = np.array([250.0, 400.0, 550.0]), np.array([8.0, 1.0, 0.5])
    kinds = ("block", "size", "matched")
    plot_nats(t, dict.fromkeys(kinds, same), tmp_path / "a.png")
    plot_nats(t, dict.fromkeys(kinds[::-1], same), tmp_path / "b.png")
    picture = imread(tmp_path / "a.png")
    np.testing.assert_array_equal(imread(tmp_path / "b.png"), picture)
    left = (picture[:, : picture.shape[1] // 2, :3] * 255).round()  # without the legend
    for colour in ((0xBB, 0xBB, 0xBB), (0x56, 0xB4, 0xE9), (0x00, 0x72, 0xB2)):
        assert (left == colour).all(axis=2).sum() > 200
