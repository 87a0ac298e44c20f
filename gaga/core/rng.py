"""Random numbers keyed by (seed, molecule, step): a sample depends on its key, not on its batch.

Philox-4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), a
counter-based generator: the same numbers come out whatever the order or the batch they are asked for in.
"""

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ROUNDS = 10
MAX_SEED = 2**32 - 1

# What a number is drawn for. Streams keep a molecule's draws apart, whatever the number of steps.
STREAM_SIZE = 0xFFFFFFFF
STREAM_START = 0xFFFFFFFE
STREAM_FURTHER = 0xFFFFFFFC  # what a start draws besides a number for each atom and column


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Philox-4x32-10 of counters [4, n] (32-bit words held in uint64) under a 64-bit key -> words [4, n]."""
    c0, c1, c2, c3 = (np.ascontiguousarray(word) for word in counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def _words(seed: int, molecules: NDArray[np.int64], elements: NDArray[np.int64], stream: int) -> NDArray[np.uint64]:
    counter = np.empty((4, len(elements)), dtype=np.uint64)
    counter[0] = elements
    counter[1] = stream & 0xFFFFFFFF
    counter[2] = molecules & 0xFFFFFFFF
    counter[3] = molecules >> 32
    return philox(counter, (seed & 0xFFFFFFFF, seed >> 32))


def uniforms(seed: int, molecules: Int64[np.ndarray, " n"], stream: int) -> Float64[np.ndarray, " n"]:
    """One uniform number in (0, 1) for each molecule key."""
    words = _words(seed, molecules, np.zeros(len(molecules), np.int64), stream)
    draws: NDArray[np.float64] = (words[0].astype(np.float64) + 0.5) / 2.0**32
    return draws


def normals(
    seed: int, molecules: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"], columns: int, stream: int
) -> Float64[np.ndarray, "A columns"]:
    """Standard normal numbers for the packed atoms of molecules with these keys and sizes.

    Element e of a molecule depends on (seed, molecule key, stream, e) alone; Box-Muller, two from two words.
    """
    counts = sizes * columns
    pairs = (counts + 1) // 2
    blocks = (pairs + 1) // 2
    firsts = np.concatenate([[0], np.cumsum(blocks)])
    element = np.arange(firsts[-1]) - np.repeat(firsts[:-1], blocks)
    words = _words(seed, np.repeat(molecules, blocks), element, stream).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[[0, 2]] + 0.5) / 2.0**32))
    angle = words[[1, 3]] * (2.0 * np.pi / 2.0**32)
    # [blocks, 4]: two numbers from each pair of words, in the order of the elements.
    waves = [radius[0] * np.cos(angle[0]), radius[0] * np.sin(angle[0])]
    waves += [radius[1] * np.cos(angle[1]), radius[1] * np.sin(angle[1])]
    draws: NDArray[np.float64] = np.stack(waves, axis=1).reshape(-1)
    skipped = 4 * firsts[:-1] - np.concatenate([[0], np.cumsum(counts)[:-1]])
    kept: NDArray[np.float64] = draws[np.arange(counts.sum()) + np.repeat(skipped, counts)]
    return kept.reshape(-1, columns)
