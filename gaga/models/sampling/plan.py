"""Which molecules are drawn together: molecules of like sizes from windows of the keys, in batches of equal work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Int64

from gaga.chem.elements import atoms_of_formula, symbol_of
from gaga.core.errors import InvalidInput
from gaga.core.rng import STREAM_SIZE, uniforms
from gaga.data.features import FeatureSpace, require_features
from gaga.data.shapes import ReferenceShape
from gaga.models.conditioning import ConditionedGaussian, ConditionedShape
from gaga.models.model import Model
from gaga.models.network.layout import Capacity
from gaga.models.network.tiles import SHIFTS, TILE, TileCapacity
from gaga.models.sampling.config import SampleConfig
from gaga.noise import SHAPE, Moments, Reference, ReferenceGaussian, ReferenceKind

_WINDOW = 16  # batches whose molecules are sorted by size together
_QM9_MOLECULE = 388  # mean of n (n + 3) over QM9
# Molecules of QM9 at a time: as many as stay in a processor's cache, or as keep a GPU busy.
_CPU, _DEVICE = 16, 2048


@dataclass(frozen=True, eq=False)
class Batch:
    """Molecules drawn together, from small to large.

    Attributes:
        number: of this batch among those of its seed.
        places: of its molecules among the indices asked for.
        keys: their numbers under the seed.
        sizes: their numbers of atoms.
    """

    number: int
    places: Int64[np.ndarray, " B"]
    keys: Int64[np.ndarray, " B"]
    sizes: Int64[np.ndarray, " B"]


@dataclass(frozen=True, eq=False)
class Plan:
    """The batches of one seed. They depend on what is asked for and the kind of device alone, not on what is done.

    Attributes:
        indices: keys of the molecules.
        moments: where the histogram of sizes is.
        config: how to sample.
        seed: of the run.
        device: what the molecules are drawn on.
    """

    indices: Sequence[int]
    moments: Moments
    config: SampleConfig
    seed: int
    device: torch.device

    def batches(self) -> Iterator[Batch]:
        """The batches in their order; no more than a window of molecules is looked at together."""
        number = 0
        for first in range(0, len(self.indices), self.window):
            keys = np.asarray(self.indices[first : first + self.window], dtype=np.int64)
            sizes = draw_sizes(keys, self.moments, self.config.only_sizes, self.seed)
            order = np.argsort(sizes, kind="stable")
            for members in self._cut(order, sizes[order]):
                yield Batch(number, first + members, keys[members], sizes[members])
                number += 1

    @property
    def window(self) -> int:
        """Molecules that are sorted by size together: those of sixteen batches."""
        return _WINDOW * (self.config.batch_size or max(1, int(self._budget / self._mean_work())))

    @property
    def _budget(self) -> int:
        return _QM9_MOLECULE * (_CPU if self.device.type == "cpu" else _DEVICE)

    def _mean_work(self) -> float:
        if self.config.only_sizes is not None:
            return float(work(np.array(self.config.only_sizes)).mean())
        counts = self.moments.counts
        return float(work(np.arange(len(counts))) @ counts / counts.sum())

    def _cut(self, order: Int64[np.ndarray, " W"], sizes: Int64[np.ndarray, " W"]) -> list[Int64[np.ndarray, " B"]]:
        """Batches of as equal work, or of as equal numbers of molecules, as can be."""
        if self.config.batch_size is not None:
            return list(np.array_split(order, -(-len(order) // self.config.batch_size)))
        upto = np.cumsum(work(sizes))
        parts = -(-int(upto[-1]) // self._budget)
        cuts = np.searchsorted(upto, upto[-1] * np.arange(1, parts) / parts)
        return [part for part in np.split(order, cuts) if len(part)]


def work(n_atoms: Int64[np.ndarray, " M"]) -> Int64[np.ndarray, " M"]:
    """n (n + 3), the work and memory of a molecule: n (n - 1) edges, and atoms that cost about four edges each.

    Of EDM's network at 256 features: 2.36 MFLOP an edge and 8.3 MFLOP an atom over its nine layers.
    """
    done: Int64[np.ndarray, " M"] = n_atoms * (n_atoms + 3)
    return done


def room_for(n_atoms: Int64[np.ndarray, " M"], largest: int) -> Capacity:
    """A capacity that holds this batch, sorted by size, and is the same for batches much like it.

    Rows that are too many cost time, an eighth at most; room for edges costs only memory. Sizes grow along a tile's
    rows, so that over all tiles the largest sizes exceed the means by no more than the largest size of all; the last
    tile, which is not full, adds that much again.

    Args:
        n_atoms: sizes of the batch, growing.
        largest: the largest molecule of the run.
    """
    rows = -(-_rung(int(n_atoms.sum()), 8) // TILE) * TILE
    blocks = _rung(int(work(n_atoms).sum()), 2) // TILE + 2 * largest + 1
    items = blocks // SHIFTS + rows // TILE + 1
    return Capacity(rows + 1, rows, TileCapacity(rows, blocks, items))


def _rung(number: int, rungs: int) -> int:
    """The next number on a ladder of so many rungs, a power of two, from each power of two to the next."""
    step = 1 << max(0, number.bit_length() - rungs.bit_length())
    return -(-number // step) * step


def start_reference(model: Model, config: SampleConfig) -> Reference:
    """What sampling starts from.

    Raises:
        InvalidInput: the model holds no moments, or no shapes; or it knows no molecules of the composition asked for.
    """
    moments = model.known_moments()
    if config.started_from == SHAPE:
        space = require_features(model.space)
        counts = None if config.formula is None else composition_of(config.formula, space, moments)
        if model.conditioning is not None:
            library = model.conditioning.shapes
            return ConditionedShape(library, moments, space, config.shape, counts, conditioning=model.conditioning)
        return ReferenceShape(model.known_shapes(), moments, space, config.shape, counts)
    if config.dataset_var is not None:
        moments = replace(moments, scalar=config.dataset_var, published=config.dataset_var)
    plain = ReferenceGaussian(cast(ReferenceKind, config.started_from), moments)
    return plain if model.conditioning is None else ConditionedGaussian(plain, model.conditioning)


def composition_of(formula: str, space: FeatureSpace, moments: Moments) -> tuple[int, ...]:
    """Atoms of each element of the vocabulary.

    Raises:
        InvalidInput: an element is not in it, or there are more atoms than in any molecule of the data.
    """
    counts = atoms_of_formula(formula)
    if unknown := [symbol_of(z) for z in counts if z not in space.vocabulary]:
        known = ", ".join(map(symbol_of, space.vocabulary))
        raise InvalidInput(f"the model does not know {', '.join(unknown)}", received=formula, remedy=f"use {known}")
    if (n_atoms := sum(counts.values())) >= len(moments.counts):
        largest = len(moments.counts) - 1
        raise InvalidInput(
            f"the largest molecule that the model knows has {largest} atoms", received=f"{formula}, {n_atoms} atoms"
        )
    return tuple(counts.get(z, 0) for z in space.vocabulary)


def draw_sizes(
    indices: Int64[np.ndarray, " M"], moments: Moments, sizes: Sequence[int] | None, seed: int
) -> Int64[np.ndarray, " M"]:
    """Number of atoms of each molecule key, from the data's histogram or evenly from `sizes`."""
    u = uniforms(seed, indices, STREAM_SIZE)
    if sizes is not None:
        return np.asarray(sizes, dtype=np.int64)[(u * len(sizes)).astype(np.int64)]
    cumulative = np.cumsum(moments.counts) / moments.counts.sum()
    return np.searchsorted(cumulative, u, side="left").astype(np.int64)
