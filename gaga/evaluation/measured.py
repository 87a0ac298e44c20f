"""Bond lengths and angles of many molecules, in files: there are too many of them for memory."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int32

from gaga.chem.geometry import Measured
from gaga.storage.blocks import FiledColumn


class FiledMeasured:
    """Values of several kinds mixed, as `Measured`, in two nameless files that go with this object."""

    def __init__(self) -> None:
        self._codes, self._values = FiledColumn(np.int32), FiledColumn(np.float32)

    def __len__(self) -> int:
        return self._codes.shape[0]

    def append(self, part: "Measured | FiledMeasured") -> None:
        """Add values.

        Raises:
            Unavailable: the disk is full.
        """
        self._codes.append(part.codes)
        self._values.append(part.values)

    @property
    def codes(self) -> Int32[np.ndarray, " n"]:
        """The code of each value's kind."""
        return np.concatenate([np.zeros(0, np.int32), *self._codes])

    @property
    def values(self) -> Float32[np.ndarray, " n"]:
        """All values."""
        return np.concatenate([np.zeros(0, np.float32), *self._values])

    def of_kind(self, code: int) -> Float32[np.ndarray, " m"]:
        """The values of one kind, in their order; only they are in memory."""
        return np.concatenate([np.zeros(0, np.float32), *(v[c == code] for c, v in self._pieces())])

    def _pieces(self) -> Iterator[tuple[Int32[np.ndarray, " p"], Float32[np.ndarray, " p"]]]:
        return zip(self._codes, self._values, strict=True)
