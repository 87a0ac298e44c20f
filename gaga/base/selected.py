"""Some of the molecules of a data set, which are taken from it when somebody asks for them."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import index
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray

from gaga.base.molecules import PackedMolecules, offsets_of

_PIECE = 1_000  # molecules that are taken together


class SelectedMolecules(PackedMolecules):
    """The molecules of `whole` at these indices, in that order, as `whole.take` gives them but nothing is copied.

    What is taken comes from `whole`; `positions` and `atomic_numbers` are made when they are first asked for, and kept.

    Args:
        whole: molecules, in memory or in a file.
        chosen: indices of some of them, none negative.
    """

    def __init__(self, whole: PackedMolecules, chosen: Int64[np.ndarray, " n"]) -> None:
        offsets = offsets_of(whole.offsets[chosen + 1] - whole.offsets[chosen])
        vars(self).update(whole=whole, chosen=chosen, offsets=offsets)

    @cached_property
    def positions(self) -> Float32[np.ndarray, "A 3"]:
        """Positions of all atoms in Å, [A, 3]; in memory from now on."""
        return np.concatenate([*self.position_pieces(), np.zeros((0, 3), np.float32)])

    @cached_property
    def atomic_numbers(self) -> UInt8[np.ndarray, " A"]:
        """Atomic numbers of all atoms, [A]; in memory from now on."""
        whole, chosen = self._parent
        sizes = np.diff(self.offsets)
        atoms = np.arange(self.offsets[-1]) + np.repeat(whole.offsets[chosen] - self.offsets[:-1], sizes)
        numbers: UInt8[np.ndarray, " A"] = whole.atomic_numbers[atoms]
        return numbers

    def __getitem__(self, i: SupportsIndex) -> tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]:
        whole, chosen = self._parent
        return whole[int(chosen[index(i)])]

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> PackedMolecules:
        """The molecules at these indices, in that order and in memory; negative ones count from the end."""
        whole, chosen = self._parent
        return whole.take(chosen[np.asarray(indices, dtype=np.int64)])

    def position_pieces(self) -> Iterator[Float32[np.ndarray, "a 3"]]:
        """All positions, a few at a time."""
        for first in range(0, len(self), _PIECE):
            yield self.take(np.arange(first, min(first + _PIECE, len(self)))).positions

    @property
    def _parent(self) -> tuple[PackedMolecules, Int64[np.ndarray, " n"]]:
        return vars(self)["whole"], vars(self)["chosen"]

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedMolecules, (self.positions, self.atomic_numbers, self.offsets)
