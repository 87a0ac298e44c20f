"""Of images and other arrays: which values are neighbours, and the cumulants of at most 64 values of each sample."""

import numpy as np
from jaxtyping import Float, Float64, Int64

from gaga.stats.arrays import arrays_of
from gaga.stats.cumulants import CumulantNorms, cumulant_norms
from gaga.stats.modality_config import ModalityConfig

SIDE = 8  # of the grid that an image is reduced to
_RANDOM_PAIRS = 4096


def pairs_of(
    values: Float[np.ndarray, "M N C"], grid: tuple[int, int, int] | None
) -> dict[str, Int64[np.ndarray, "P 2"]]:
    """Pairs of the N C values: `random` ones and, in images, `adjacent` ones.

    Of a grid of rows, columns and channels those are neighbours in a row or a column, of the same channel; of each at
    most 4,096, drawn with the seed 0.
    """
    rng = np.random.default_rng(0)
    d = values.shape[1] * values.shape[2]
    if d < 2:
        return {}
    first = rng.integers(d, size=_RANDOM_PAIRS)
    pairs = {"random": np.stack([first, (first + rng.integers(1, d, size=_RANDOM_PAIRS)) % d], axis=1)}
    if grid is not None:
        index = np.arange(d).reshape(grid)
        sides = ((index[:-1], index[1:]), (index[:, :-1], index[:, 1:]))
        every = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in sides])
        pairs["adjacent"] = every[np.sort(rng.permutation(len(every))[:_RANDOM_PAIRS])]
    return pairs


def reduced(values: Float[np.ndarray, "M N C"], grid: tuple[int, int, int] | None) -> Float64[np.ndarray, "M n 1"]:
    """At most 64 values of each sample: an image in grey, its middle as means over 8 x 8 squares; else values drawn at
    random with the seed 0, the same of all samples."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    if grid is not None and min(grid[:2]) >= SIDE:
        image = flat.reshape(len(flat), *grid).mean(axis=3)
        pool = min(grid[:2]) // SIDE
        top, left = ((n - SIDE * pool) // 2 for n in grid[:2])
        middle = image[:, top : top + SIDE * pool, left : left + SIDE * pool]
        flat = middle.reshape(-1, SIDE, pool, SIDE, pool).mean(axis=(2, 4)).reshape(len(flat), -1)
    elif flat.shape[1] > SIDE**2:
        flat = flat[:, np.sort(np.random.default_rng(0).permutation(flat.shape[1])[: SIDE**2])]
    return flat[..., None]


def array_cumulants(
    values: Float[np.ndarray, "M N C"], grid: tuple[int, int, int] | None, config: ModalityConfig, *, seed: int = 0
) -> CumulantNorms:
    """Norms of the cumulants of at most 64 values of each sample (`reduced`), centred as the samples are.

    Raises:
        InvalidInput: as `arrays_of`.
    """
    small = arrays_of(reduced(values, grid), config.centre, SIDE**2)
    found = cumulant_norms(small.x, seed=seed, n_resamples=config.n_resamples, level=config.level)
    return CumulantNorms(**{**vars(found), "variance": found.variance / small.freedom})
