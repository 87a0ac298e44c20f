"""Numbers that depend on their key alone."""

import numpy as np
import pytest
from scipy.stats import kstest

from gaga.core.rng import MAX_SEED, STREAM_SIZE, STREAM_START, normals, philox, uniforms

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ONES,) * 4, (ONES, ONES), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: str) -> None:
    """The known-answer vectors that come with Random123 (Salmon et al. 2011)."""
    out = philox(np.array(counter, dtype=np.uint64)[:, None], key)
    assert " ".join(f"{int(word):08x}" for word in out[:, 0]) == words


@pytest.mark.parametrize("columns", [1, 3, 8, 9])
def test_a_molecule_does_not_depend_on_its_batch(columns: int) -> None:
    keys, sizes = np.array([7, 2, 2**40, 0]), np.array([1, 5, 29, 2])
    together = np.split(normals(3, keys, sizes, columns, 550), np.cumsum(sizes)[:-1])
    for i, part in enumerate(together):
        alone = normals(3, keys[i : i + 1], sizes[i : i + 1], columns, 550)
        np.testing.assert_array_equal(part, alone)
    order = np.array([2, 0, 3, 1])
    shuffled = normals(3, keys[order], sizes[order], columns, 550)
    np.testing.assert_array_equal(shuffled, np.concatenate([together[i] for i in order]))


def test_a_longer_molecule_starts_with_the_shorter_ones_numbers() -> None:
    short = normals(0, np.array([5]), np.array([3]), 8, 1)
    np.testing.assert_array_equal(normals(0, np.array([5]), np.array([9]), 8, 1)[:3], short)


def test_every_part_of_the_key_counts() -> None:
    def draw(seed: int = 0, molecule: int = 0, stream: int = 0) -> bytes:
        return normals(seed, np.array([molecule]), np.array([4]), 3, stream).tobytes()

    others = [draw(seed=1), draw(seed=MAX_SEED), draw(molecule=1), draw(molecule=2**32), draw(molecule=2**33)]
    others += [draw(stream=1), draw(stream=STREAM_START), draw(stream=STREAM_SIZE)]
    assert len({draw(), *others}) == len(others) + 1


def test_nothing_draws_nothing() -> None:
    empty = np.zeros(0, np.int64)
    assert normals(0, empty, empty, 8, 0).shape == (0, 8)
    assert uniforms(0, empty, 0).shape == (0,)


def test_normals_are_normal_and_independent() -> None:
    sizes = np.full(4000, 17)
    draws = normals(11, np.arange(4000), sizes, 3, 42)
    n = draws.size
    assert kstest(draws.ravel(), "norm").pvalue > 1e-3
    assert abs(draws.mean()) < 4 / np.sqrt(n)
    assert abs(draws.var() - 1) < 4 * np.sqrt(2 / n)
    # Neighbours in a row (a Box-Muller pair), in a molecule, and between molecules.
    flat = draws.ravel()
    for lag in (1, 2, 3, 51):
        assert abs(np.mean(flat[lag:] * flat[:-lag])) < 4 / np.sqrt(n)
        assert abs(np.corrcoef(flat[lag:] ** 2, flat[:-lag] ** 2)[0, 1]) < 4 / np.sqrt(n)


def test_uniforms_are_uniform_and_inside() -> None:
    draws = uniforms(5, np.arange(20_000), STREAM_SIZE)
    assert draws.min() > 0.0
    assert draws.max() < 1.0
    assert kstest(draws, "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(uniforms(5, np.array([123]), STREAM_SIZE), draws[123:124])
